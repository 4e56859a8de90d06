"""Any timm model as a feature pyramid."""

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
from pixelwise.models.download import require_download, resolve_hub
from pixelwise.models.encoder_weights import load_encoder_weights
from pixelwise.models.freezing import freeze_batchnorm, parameters_to_buffers, unused_parameters
from pixelwise.models.neck import SimplePyramid
from pixelwise.models.timm_spec import TIMM_ERRORS, TimmSpec, channels_first, probe_timm

log = logging.getLogger(__name__)


class Encoder(nn.Module):
    """A timm model cut into feature maps, finest first.

    Three kinds of models give the same: pyramids as they are, those that put the channels last with
    the channels first, and those with a single scale through a `SimplePyramid`.

    Attributes:
        channels: of each feature map.
        strides: of each feature map, in input pixels.
        mean: of the input that the loaded weights expect, by channel; None where that is not known.
        std: likewise.
        expected_by: whose mean and std these are, in words.

    Args:
        name: any name that `timm.list_models()` knows, or `hf_hub:owner/name` of a timm model on the hub.
        pretrained: load timm's weights from the Hugging Face hub (or its local cache).
        weights: what to load instead: a run folder or one of its checkpoints, a hub folder, or a `.pth` or
            `.safetensors` file of timm or of the model's authors.
        allow_missing: accept `weights` that leave more than 1 % of the timm model's weights random.
        in_chans: bands of the input; the first layer of pretrained weights is adapted to them.
        output_stride: of the coarsest map; below 32 the last stages are dilated instead of strided, as
            DeepLab does. Then the last strides repeat, and not every model can do it.
        frozen_batchnorm: batch-norm keeps its statistics, scale and shift, as is usual with small
            batches of a pretrained encoder.
        **options: passed on to `timm.create_model`, such as `drop_path_rate`, or `img_size` for a model
            that takes images of one size only.
    """

    def __init__(
        self,
        name: str,
        pretrained: bool = False,
        weights: str | Path | None = None,
        allow_missing: bool = False,
        in_chans: int = 3,
        output_stride: int = 32,
        frozen_batchnorm: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        architecture, described = resolve_hub(name)
        options = {**described, **options}
        if not timm.is_model(architecture):
            near = nearest(name, timm.list_models(), 5)
            raise UnknownName(
                f"encoder.name: timm {timm.__version__} knows no model {name!r}",
                expected=f"one of {', '.join(near)} …" if near else None,
                fix=f"encoder.name=hf_hub:{name} names a model of the Hugging Face hub"
                if "/" in name and ":" not in name
                else 'list them all with `python -c "import timm; print(*timm.list_models())"`',
            )
        if pretrained and weights is not None:
            raise UserError("encoder.pretrained and encoder.weights are both set", fix="keep one of them")
        if pretrained:
            require_download(architecture, options)
        self.recipe = _recipe(architecture, in_chans, output_stride, options)
        self.body = body = self.recipe.build(pretrained=pretrained)
        info: Any = body.feature_info
        self.channels: tuple[int, ...] = tuple(info.channels())
        self.strides: tuple[int, ...] = tuple(info.reduction())
        self.neck: SimplePyramid | None = None
        if self.recipe.single_scale:
            stride = self.strides[0]
            self.neck = SimplePyramid(self.channels, stride, pool=2 * stride <= output_stride)
            self.channels, self.strides = self.neck.channels, self.neck.strides
        if output_stride != 32 and self.strides[-1] > output_stride:
            raise _cannot_dilate(name, output_stride, f"strides {self.strides}")
        kept = load_encoder_weights(self, self.recipe, Path(weights), allow_missing) if weights else None
        config: Any = body.pretrained_cfg
        timms = ".".join(config[key] for key in ("architecture", "tag") if config.get(key))
        self.expected_by = "the run that the weights are of" if kept else f"timm's {timms}"
        mean, std = kept or (config["mean"], config["std"])
        known = (pretrained or weights) and len(mean) == len(std) == in_chans
        self.mean = tuple(mean) if known else None
        self.std = tuple(std) if known else None
        self.frozen = freeze_batchnorm(self) if frozen_batchnorm else []

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, C, H, W) → [(B, channels[i], ~H / strides[i], ~W / strides[i])].

        Where a model needs multiples of some size, zeros (the mean colour) are added at the right and
        at the bottom, and what they became is cut off the maps.

        Raises:
            UserError: for a size that the model does not take.
        """
        if self.recipe.multiple == 1:
            return self._maps(image)
        height, width = image.shape[-2:]
        bottom, right = self.recipe.padding(height, width)
        maps = self._maps(F.pad(image, (0, right, 0, bottom)))
        rows = [_share(x.shape[-2], height, height + bottom) for x in maps]
        columns = [_share(x.shape[-1], width, width + right) for x in maps]
        return [_first(_first(x, 2, h), 3, w) for x, h, w in zip(maps, rows, columns, strict=True)]

    def _maps(self, image: Tensor) -> list[Tensor]:
        maps = channels_first(self.body, self.body(image))
        return maps if self.neck is None else self.neck(maps)

    def keep(self, used: Collection[int]) -> None:
        """Drop the layers that only make maps which a decoder does not read: no gradient would reach them.

        Of timm's own layers only the weights are taken out of the training, as with HRNet's last fusions.

        Args:
            used: indices of the maps that it reads; the others are of no use afterwards.
        """
        if self.neck is not None:
            self.neck.keep(used)
        elif len(used) < len(self.strides):
            idle = unused_parameters(self, used, (self.recipe.options["in_chans"], *self.recipe.size))
            parameters_to_buffers(self, idle)
            if idle:
                count = sum(self.get_buffer(name).numel() for name in idle) / 1e6
                log.info("encoder: %.2f M weights only make maps that the decoder does not read", count)

    def train(self, mode: bool = True) -> Encoder:
        """Switch everything but frozen batch-norm."""
        super().train(mode)
        for norm in self.frozen:
            norm.training = False
        return self


def _share(length: int, part: int, whole: int) -> int:
    """How much of a map's side the image covers, when it covers `part` of `whole` pixels; rounded up."""
    return -(-length * part // whole)


def _first(x: Tensor, axis: int, count: int) -> Tensor:
    """The first rows or columns of a map; a graph for any size cannot tell how long a slice is."""
    if torch.compiler.is_exporting():
        return x.index_select(axis, torch.arange(count, device=x.device))
    return x.narrow(axis, 0, count)


def _recipe(name: str, in_chans: int, output_stride: int, options: dict[str, Any]) -> TimmSpec:
    """How to build the model, dilated if asked."""
    try:
        recipe = probe_timm(name, in_chans, **options)
    except TIMM_ERRORS as error:
        raise UserError(
            f"encoder.name: timm cannot build {name!r} as a feature pyramid",
            found=error,
            expected="a model such as resnet18, convnext_tiny or vit_base_patch16_224, "
            "and no encoder options that it does not know",
        ) from error
    if recipe.multiple != 1:
        log.info("encoder %s takes %s", name, recipe.sizes)
    if output_stride == 32 or recipe.single_scale:
        return recipe
    try:
        return probe_timm(name, in_chans, output_stride=output_stride, **options)
    except TIMM_ERRORS as error:
        raise _cannot_dilate(name, output_stride, error) from error


def _cannot_dilate(name: str, output_stride: int, found: object) -> UserError:
    return UserError(
        f"encoder.output_stride: timm cannot dilate {name!r} to stride {output_stride}",
        found=found,
        expected="a model that can, such as those of the families resnet, convnext and efficientnet",
        fix="decoder.encoder_output_stride=32 keeps the strides as they are (or another encoder)",
    )
