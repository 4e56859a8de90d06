"""Any timm model as an encoder that returns feature maps, or its final features for a classifier."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import timm
import torch
import torch.nn.functional as F
from torch import Tensor

from pixelwise.errors import UnknownName, UserError, nearest
from pixelwise.kinds import Count, FilePath, Fraction, Stride
from pixelwise.models.download import require_download, resolve_hub
from pixelwise.models.encoder_weights import load_encoder_weights
from pixelwise.models.freezing import FrozenNorms, freeze_batchnorm, parameters_to_buffers, unused_parameters
from pixelwise.models.neck import SimplePyramid
from pixelwise.models.readout import Readout
from pixelwise.models.timm_head import classifiers, split
from pixelwise.models.timm_spec import TIMM_ERRORS, TimmSpec, probe_timm

log = logging.getLogger(__name__)


class Encoder(FrozenNorms):
    """A timm model that returns its feature maps, finest first, with the channels first.

    The maps of a model with a single scale, such as a plain vision transformer, are those of
    `forward_intermediates(norm=True)`: under the final norm that was trained with the model. A
    `SimplePyramid` makes four scales of them for decoders that want a pyramid.

    timm parts each model into `forward_features` and `forward_head`. The encoder holds the layers of the
    first, for classifiers and segmenters alike, so that both have the same state. A `ClassifierHead` takes
    those of the second.

    Attributes:
        channels: number of channels of each feature map, or of the final features.
        strides: stride of each feature map, in input pixels.
        mean: mean of each input channel that the loaded weights expect; None if it is not known.
        std: standard deviation of each input channel, likewise.
        expected_by: where mean and std come from, as text for messages.
        spec: how timm builds the model, and which image sizes it accepts.
        head_layers: timm's model with the layers of `forward_head` only, inside a tuple, since they are not
            part of the encoder. It is empty without `final`.

    Args:
        name: a name from `timm.list_models()`, or `hf_hub:owner/name` for a timm model on the hub.
        pretrained: load timm's weights from the Hugging Face hub (or its local cache).
        weights: load weights from here instead: a run folder, one of its checkpoints, a hub folder, or a
            `.pth` or `.safetensors` file from timm or from the model's authors.
        allow_missing: accept `weights` that leave more than 1 % of the timm model's weights random, or that
            hold tensors of another model.
        in_chans: number of input bands; the first layer of pretrained weights is adapted to it.
        output_stride: stride of the coarsest map. Below 32 the last stages are dilated instead of strided,
            as in DeepLab, so that the last strides are equal. A model that timm cannot dilate keeps its own
            stride, which is logged.
        frozen_batchnorm: keep the statistics, scale and shift of all batch-norms fixed, as is usual for a
            pretrained encoder with small batches.
        drop_rate: dropout before the classifier, or where timm's model has it; None: the model's default.
        drop_path_rate: probability that a residual branch is dropped in training, in most models that of the
            last block (stochastic depth, Huang et al., ECCV 2016, arXiv:1603.09382); None: the model's
            default.
        blocks: of a model with a single scale, the blocks that give maps: the last n, or a list of indices;
            None: four blocks, at each quarter of the depth. Other models ignore it.
        neck: make four scales of the maps of a single scale. Without it, they keep the model's stride.
        readout: how the class token of a single-scale model is added to its maps (Ranftl et al., ICCV 2021,
            arXiv:2103.13413). "ignore": not at all; "add": by addition at each position; "project": as
            further channels, which the decoder projects.
        final: return `[forward_features(image)]` for a `ClassifierHead`, in timm's own layout: tokens
            (B, N, D) of a transformer with the class token, or a map.
        **options: options for `timm.create_model`, such as `img_size` for a model that accepts images of one
            size only.

    Raises:
        UserError: timm cannot build this model with these options, or the weights cannot be loaded.
    """

    def __init__(
        self,
        name: str,
        pretrained: bool = False,
        weights: FilePath | None = None,
        allow_missing: bool = False,
        in_chans: int = 3,
        output_stride: Stride = 32,
        frozen_batchnorm: bool = False,
        drop_rate: Fraction | None = None,
        drop_path_rate: Fraction | None = None,
        blocks: Count | Sequence[int] | None = None,
        neck: bool = True,
        readout: Literal["ignore", "add", "project"] = "ignore",
        final: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        architecture, hub_options = resolve_hub(name)
        options = {**hub_options, **options}
        rates = {"drop_rate": drop_rate, "drop_path_rate": drop_path_rate}
        options |= {key: rate for key, rate in rates.items() if rate is not None}
        if not timm.is_model(architecture):
            near = nearest(name, timm.list_models(), 5)
            raise UnknownName(
                f"encoder.name: timm {timm.__version__} has no model {name!r}",
                expected=f"one of {', '.join(near)} …" if near else None,
                fix=f"encoder.name=hf_hub:{name} names a model of the Hugging Face hub"
                if "/" in name and ":" not in name
                else 'list them all with `python -c "import timm; print(*timm.list_models())"`',
            )
        if pretrained and weights is not None:
            raise UserError("encoder.pretrained and encoder.weights are both set", fix="keep one of them")
        if pretrained:
            require_download(architecture, options)
        self.spec = _spec(architecture, in_chans, output_stride, {"blocks": blocks, **options})
        if final and not self.spec.head:
            raise UserError(
                f"encoder.name: timm's {name} has no head for classification", fix="another encoder"
            )
        self.body, head = split(self.spec.build(pretrained=pretrained), self.spec.head)
        self.head_layers: tuple[Any, ...] = (head,) if final else ()
        self.final = final
        self.readout = Readout(readout)
        self.readout.check(self.body, name)
        self.channels = tuple(count * self.readout.factor for count in self.spec.channels)
        self.strides = self.spec.strides
        self.neck: SimplePyramid | None = None
        if final:
            self.channels, self.strides = (self.body.num_features,), (self.spec.stride,)
        elif self.spec.single_scale and neck:
            stride = self.spec.stride
            self.neck = SimplePyramid(self.channels, stride, pool=2 * stride <= output_stride)
            self.channels, self.strides = self.neck.channels, self.neck.strides
        if output_stride != 32 and self.strides[-1] > output_stride:
            log.info(
                "encoder %s cannot be dilated to stride %d: its last map keeps stride %d",
                name, output_stride, self.strides[-1],
            )  # fmt: skip
        stored = load_encoder_weights(self, Path(weights), allow_missing) if weights else None
        config: Any = self.body.pretrained_cfg
        timm_name = ".".join(config[key] for key in ("architecture", "tag") if config.get(key))
        mean, std, self.expected_by = stored or (config["mean"], config["std"], f"timm's {timm_name}")
        is_known = (pretrained or weights) and len(mean) == len(std) == in_chans
        self.mean = tuple(mean) if is_known else None
        self.std = tuple(std) if is_known else None
        self.frozen_batchnorm = frozen_batchnorm
        self.frozen = freeze_batchnorm(self) if frozen_batchnorm else []

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, C, H, W) → [(B, channels[i], ~H / strides[i], ~W / strides[i])], or the final features.

        If the model needs multiples of some size, the image is padded with zeros (the mean colour) at the
        right and at the bottom, and the padding is cut off the feature maps. Final features keep it.

        Raises:
            UserError: the model does not accept images of this size.
        """
        if self.spec.multiple == 1:
            return self._features(image)
        height, width = image.shape[-2:]
        bottom, right = self.spec.padding(height, width)
        features = self._features(F.pad(image, (0, right, 0, bottom)))
        if self.final:
            return features
        rows = [_unpadded(x.shape[-2], height, height + bottom) for x in features]
        columns = [_unpadded(x.shape[-1], width, width + right) for x in features]
        return [_first(_first(x, 2, h), 3, w) for x, h, w in zip(features, rows, columns, strict=True)]

    def _features(self, image: Tensor) -> list[Tensor]:
        if self.final:
            return [self.body.forward_features(image)]
        maps = self.readout.maps(self.spec, self.body, image)
        return maps if self.neck is None else self.neck(maps)

    def tensors(self) -> dict[str, Tensor]:
        """Return what a file may hold: timm's tensors by timm's names, without classifiers, and the neck."""
        tensors = self.body.state_dict()
        for layers in self.head_layers:
            new = tuple(f"{name}." for name in classifiers(layers))
            tensors |= {n: t for n, t in layers.state_dict().items() if not n.startswith(new)}
        neck = {} if self.neck is None else self.neck.state_dict()
        return tensors | {f"neck.{name}": tensor for name, tensor in neck.items()}

    def keep(self, used: Collection[int]) -> None:
        """Exclude from training the weights that do not influence the maps which the decoder reads.

        No gradient would reach them. The neck drops the layers; timm's layers stay, such as HRNet's last
        fusions or the layers between the last map and the pool, but their weights become buffers.

        Args:
            used: indices of the maps that the decoder reads; the others are undefined afterwards.
        """
        if self.neck is not None:
            self.neck.keep(used)
        unused = unused_parameters(self, used, (self.spec.options["in_chans"], *self.spec.size))
        parameters_to_buffers(self, unused)
        if unused:
            count = sum(self.get_buffer(name).numel() for name in unused) / 1e6
            log.info("encoder: %.2f M weights do not influence the maps that the decoder reads", count)

    def train(self, mode: bool = True) -> Self:
        """Set the training mode; frozen batch-norms, and a frozen timm model, stay in evaluation mode."""
        super().train(mode)
        if not any(parameter.requires_grad for parameter in self.body.parameters()):
            self.body.eval()
        return self


def _unpadded(length: int, pixels: int, padded: int) -> int:
    """Side of a feature map without padding, rounded up: `length` belongs to `padded` pixels of input."""
    return -(-length * pixels // padded)


def _first(x: Tensor, axis: int, count: int) -> Tensor:
    """Return the first rows or columns of a map; an exported graph cannot infer the length of a slice."""
    if torch.compiler.is_exporting():
        return x.index_select(axis, torch.arange(count, device=x.device))
    return x.narrow(axis, 0, count)


def _spec(name: str, in_chans: int, output_stride: int, options: dict[str, Any]) -> TimmSpec:
    """Find out how to build the model, dilated if `output_stride` is below 32 and timm supports it."""
    try:
        spec = probe_timm(name, in_chans, **options)
    except TIMM_ERRORS as error:
        raise UserError(
            f"encoder.name: timm cannot build {name!r}",
            found=error,
            expected="a model such as resnet18, convnext_tiny or vit_base_patch16_224, "
            "and only options that this model has",
        ) from error
    if spec.multiple != 1:
        log.info("encoder %s accepts %s", name, spec.sizes)
    if output_stride == 32 or spec.single_scale:
        return spec
    try:
        return probe_timm(name, in_chans, output_stride=output_stride, **options)
    except TIMM_ERRORS:
        return spec
