"""Any timm model as an encoder that returns a feature pyramid."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelwise.errors import UnknownName, UserError, nearest
from pixelwise.kinds import Stride
from pixelwise.models.download import require_download, resolve_hub
from pixelwise.models.encoder_weights import load_encoder_weights
from pixelwise.models.freezing import freeze_batchnorm, parameters_to_buffers, unused_parameters
from pixelwise.models.neck import SimplePyramid
from pixelwise.models.timm_spec import TIMM_ERRORS, TimmSpec, channels_first, probe_timm

log = logging.getLogger(__name__)


class Encoder(nn.Module):
    """A timm model that returns its feature maps, finest first, with the channels first.

    A model with a single scale, such as a plain vision transformer, gets a `SimplePyramid` on top.

    Attributes:
        channels: number of channels of each feature map.
        strides: stride of each feature map, in input pixels.
        mean: mean of each input channel that the loaded weights expect; None if it is not known.
        std: standard deviation of each input channel, likewise.
        expected_by: where mean and std come from, as text for messages.
        spec: how timm builds the model, and which image sizes it accepts.

    Args:
        name: a name from `timm.list_models()`, or `hf_hub:owner/name` for a timm model on the hub.
        pretrained: load timm's weights from the Hugging Face hub (or its local cache).
        weights: load weights from here instead: a run folder, one of its checkpoints, a hub folder, or a
            `.pth` or `.safetensors` file from timm or from the model's authors.
        allow_missing: accept `weights` that leave more than 1 % of the timm model's weights random, or that
            hold tensors of another model.
        in_chans: number of input bands; the first layer of pretrained weights is adapted to it.
        output_stride: stride of the coarsest map. Below 32 the last stages are dilated instead of strided,
            as in DeepLab, so that the last strides are equal. Not every model supports it.
        frozen_batchnorm: keep the statistics, scale and shift of all batch-norms fixed, as is usual for a
            pretrained encoder with small batches.
        **options: options for `timm.create_model`, such as `drop_path_rate`, or `img_size` for a model
            that accepts images of one size only.

    Raises:
        UserError: timm cannot build this model with these options, or the weights cannot be loaded.
    """

    def __init__(
        self,
        name: str,
        pretrained: bool = False,
        weights: str | Path | None = None,
        allow_missing: bool = False,
        in_chans: int = 3,
        output_stride: Stride = 32,
        frozen_batchnorm: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        architecture, hub_options = resolve_hub(name)
        options = {**hub_options, **options}
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
        self.spec = _spec(architecture, in_chans, output_stride, options)
        self.body = body = self.spec.build(pretrained=pretrained)
        info: Any = body.feature_info
        self.channels: tuple[int, ...] = tuple(info.channels())
        self.strides: tuple[int, ...] = tuple(info.reduction())
        self.neck: SimplePyramid | None = None
        if self.spec.single_scale:
            stride = self.strides[0]
            self.neck = SimplePyramid(self.channels, stride, pool=2 * stride <= output_stride)
            self.channels, self.strides = self.neck.channels, self.neck.strides
        if output_stride != 32 and self.strides[-1] > output_stride:
            raise _cannot_dilate(name, output_stride, f"strides {self.strides}")
        stored = load_encoder_weights(self, self.spec, Path(weights), allow_missing) if weights else None
        config: Any = body.pretrained_cfg
        timm_name = ".".join(config[key] for key in ("architecture", "tag") if config.get(key))
        mean, std, self.expected_by = stored or (config["mean"], config["std"], f"timm's {timm_name}")
        is_known = (pretrained or weights) and len(mean) == len(std) == in_chans
        self.mean = tuple(mean) if is_known else None
        self.std = tuple(std) if is_known else None
        self.frozen = freeze_batchnorm(self) if frozen_batchnorm else []

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, C, H, W) → [(B, channels[i], ~H / strides[i], ~W / strides[i])].

        If the model needs multiples of some size, the image is padded with zeros (the mean colour) at the
        right and at the bottom, and the padding is cut off the feature maps.

        Raises:
            UserError: the model does not accept images of this size.
        """
        if self.spec.multiple == 1:
            return self._maps(image)
        height, width = image.shape[-2:]
        bottom, right = self.spec.padding(height, width)
        maps = self._maps(F.pad(image, (0, right, 0, bottom)))
        rows = [_unpadded(x.shape[-2], height, height + bottom) for x in maps]
        columns = [_unpadded(x.shape[-1], width, width + right) for x in maps]
        return [_first(_first(x, 2, h), 3, w) for x, h, w in zip(maps, rows, columns, strict=True)]

    def _maps(self, image: Tensor) -> list[Tensor]:
        maps = channels_first(self.body, self.body(image))
        return maps if self.neck is None else self.neck(maps)

    def keep(self, used: Collection[int]) -> None:
        """Exclude from training the weights that only make maps which the decoder does not read.

        No gradient would reach them. The neck drops the layers; timm's layers stay, such as HRNet's last
        fusions, but their weights become buffers.

        Args:
            used: indices of the maps that the decoder reads; the others are undefined afterwards.
        """
        if self.neck is not None:
            self.neck.keep(used)
        elif len(used) < len(self.strides):
            unused = unused_parameters(self, used, (self.spec.options["in_chans"], *self.spec.size))
            parameters_to_buffers(self, unused)
            if unused:
                count = sum(self.get_buffer(name).numel() for name in unused) / 1e6
                log.info("encoder: %.2f M weights only make maps that the decoder does not read", count)

    def train(self, mode: bool = True) -> Encoder:
        """Set the training mode; frozen batch-norms stay in evaluation mode."""
        super().train(mode)
        for norm in self.frozen:
            norm.training = False
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
    """Find out how to build the model, dilated if `output_stride` is below 32."""
    try:
        spec = probe_timm(name, in_chans, **options)
    except TIMM_ERRORS as error:
        raise UserError(
            f"encoder.name: timm cannot build {name!r} as a feature pyramid",
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
    except TIMM_ERRORS as error:
        raise _cannot_dilate(name, output_stride, error) from error


def _cannot_dilate(name: str, output_stride: int, found: object) -> UserError:
    return UserError(
        f"encoder.output_stride: timm cannot dilate {name!r} to stride {output_stride}",
        found=found,
        expected="a model that timm can dilate, such as a resnet, convnext or efficientnet",
        fix="decoder.encoder_output_stride=32 keeps the strides as they are (or another encoder)",
    )
