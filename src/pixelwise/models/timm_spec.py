"""Find out how timm builds a model as a feature pyramid, and which image sizes the model accepts.

No model is treated by its name. What timm does not document is found by trying on the meta device, where
tensors have shapes but no values, so that even a large model takes a fraction of a second.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import timm
import torch
import torch.nn.functional as F
from timm.layers import Format
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pixelwise.errors import UserError

TIMM_ERRORS = (RuntimeError, AttributeError, TypeError, AssertionError, ValueError, KeyError, IndexError)
"""Exceptions that timm raises for unknown options and for image sizes that a model does not accept."""

ANY_SIZE: tuple[dict[str, Any], ...] = ({}, {"dynamic_img_size": True}, {"strict_img_size": False})
"""Options of timm that let a model accept images of any size, in the order in which they are tried."""


@dataclass(frozen=True)
class TimmSpec:
    """How to build a timm model, and which images it accepts.

    Attributes:
        name: name of the timm model.
        options: options for `timm.create_model`.
        size: (H, W) of the images that the model was designed for.
        multiple: image sides must be multiples of this number of pixels; None if only `size` is accepted.
        stride: stride of its coarsest feature map.
        single_scale: whether all its feature maps have the same stride.
    """

    name: str
    options: dict[str, Any]
    size: tuple[int, int]
    multiple: int | None
    stride: int
    single_scale: bool

    @property
    def sizes(self) -> str:
        """The accepted image sizes as text."""
        if self.multiple == 1:
            return "images of any size"
        if self.multiple is not None:
            return f"images of any size, padded to multiples of {self.multiple}"
        return f"images of {self.size[0]}×{self.size[1]} only"

    def build(self, **options: Any) -> nn.Module:
        """Build the model with `features_only`, so that it returns a list of feature maps."""
        return timm.create_model(self.name, features_only=True, **self.options, **options)

    def full_model(self) -> nn.Module:
        """Build the model with its classifier, on the meta device."""
        options = {key: value for key, value in self.options.items() if key != "out_indices"}
        with on_meta():
            return timm.create_model(self.name, **options)

    def padding(self, height: int, width: int) -> tuple[int, int]:
        """Return the rows and columns of padding that an image of this size needs.

        Raises:
            UserError: the model has a fixed size, and the image is larger, or smaller by a stride or more.
        """
        if self.multiple is not None:
            return -height % self.multiple, -width % self.multiple
        bottom, right = self.size[0] - height, self.size[1] - width
        if not (0 <= bottom < self.stride and 0 <= right < self.stride):
            raise UserError(
                f"encoder.name: {self.name!r} accepts {self.sizes}",
                found=f"an image of {height}×{width}",
                fix=self._another_size(height, width),
            )
        return bottom, right

    def _another_size(self, height: int, width: int) -> str:
        """Return the fix for an image that does not have the model's fixed size."""
        rounded = (height + -height % self.stride, width + -width % self.stride)
        for size in ((height, width), rounded):
            options = {**self.options, "img_size": size}
            with suppress(*TIMM_ERRORS):
                if accepts(_on_meta(self.name, options), size, options["in_chans"]):
                    return f"+encoder.img_size=[{size[0]},{size[1]}] builds it for this size"
        return "crop or resize the images to that size, or choose another encoder"


_cache: dict[str, TimmSpec] = {}
"""Results of `probe_timm` in this process, by its arguments."""


def probe_timm(name: str, in_chans: int = 3, **options: Any) -> TimmSpec:
    """Find the options with which a timm model accepts as many image sizes as possible.

    Args:
        name: name of a timm model.
        in_chans: number of image bands.
        **options: the user's options for `timm.create_model`.

    Raises:
        one of TIMM_ERRORS: timm cannot build this model as a feature pyramid.
    """
    key = repr((name, in_chans, sorted(options.items())))
    if key not in _cache:
        _cache[key] = _probe(name, {"in_chans": in_chans, **options})
    return _cache[key]


def _probe(name: str, options: dict[str, Any]) -> TimmSpec:
    plain: Any = _on_meta(name, options)
    strides = [entry["reduction"] for entry in plain.feature_info.info]
    stride = max(strides)
    single_scale = len(set(strides)) == 1
    if len(set(plain.feature_info.reduction())) == 1:
        options.setdefault("out_indices", _spread(len(strides)) if single_scale else _last_of_each(strides))
    native = options.get("img_size") or plain.pretrained_cfg["input_size"][1:]
    size = (native, native) if isinstance(native, int) else tuple(native)
    ways = [{**extra, **options} for extra in ANY_SIZE]
    built = cache(lambda way: _on_meta(name, ways[way]) if ANY_SIZE[way] else plain)
    for multiple in sorted({1, *strides, 3 * stride, *size}):
        unusual = (multiple * (3 * stride // multiple | 1), multiple * ((4 * stride // multiple | 1) + 2))
        for way, merged in enumerate(ways):
            with suppress(*TIMM_ERRORS):
                if accepts(built(way), unusual, options["in_chans"]):
                    return TimmSpec(name, merged, size, multiple, stride, single_scale)
    return TimmSpec(name, options, size, None, stride, single_scale)


def shapes_of(
    model: nn.Module, size: tuple[int, int], in_chans: int = 3, device: str = "meta"
) -> list[Tensor]:
    """Return the outputs of a model on the meta device for an image of this size, valid in shape only."""
    try:
        with torch.no_grad(), ShapesOnly():
            return model(torch.zeros(1, in_chans, *size, device=device))
    except RuntimeError as error:
        if "meta tensors" not in str(error):
            raise
    # its shapes depend on values: give it memory, with arbitrary weights
    return shapes_of(copy.deepcopy(model).to_empty(device="cpu"), size, in_chans, device="cpu")


def accepts(model: nn.Module, size: tuple[int, int], in_chans: int) -> bool:
    """Whether a model returns the feature maps that its `feature_info` lists, for an image of this size."""
    try:
        maps = channels_first(model, shapes_of(model, size, in_chans))
    except TIMM_ERRORS:
        return False
    info: Any = model.feature_info
    return all(
        x.shape[1] == channels
        and all(abs(n * stride - side) <= 4 * stride for n, side in zip(x.shape[2:], size, strict=True))
        for x, channels, stride in zip(maps, info.channels(), info.reduction(), strict=True)
    )


def channels_first(model: nn.Module, maps: list[Tensor]) -> list[Tensor]:
    """Return the maps as (B, C, h, w), also for a model that returns (B, h, w, C)."""
    if getattr(model, "output_fmt", None) != Format.NHWC:
        return maps
    return [x.permute(0, 3, 1, 2) for x in maps]


def _spread(depth: int) -> tuple[int, ...]:
    """Return the indices of the last block in each quarter of a transformer."""
    return tuple(-(-depth * k // 4) - 1 for k in (1, 2, 3, 4)) if depth >= 4 else (depth - 1,)


def _last_of_each(strides: list[int]) -> tuple[int, ...]:
    """Return the index of the deepest map of each stride."""
    return tuple(len(strides) - 1 - strides[::-1].index(stride) for stride in sorted(set(strides)))


def _on_meta(name: str, options: dict[str, Any]) -> nn.Module:
    with on_meta():
        return timm.create_model(name, features_only=True, **options).eval()


class ShapesOnly(TorchFunctionMode):
    """Skip functions that change only values, to save time: tensors on the meta device hold none."""

    IN_PLACE = frozenset(("uniform_", "normal_", "erfinv_", "clamp_", "mul_", "add_", "fill_", "zero_"))
    SAME_SHAPE = frozenset((F.batch_norm, F.layer_norm, F.group_norm, F.relu, F.gelu, F.silu, F.hardswish))

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Return the input tensor unchanged if only its values would change; otherwise call `func`."""
        keeps_shape = func in self.SAME_SHAPE or getattr(func, "__name__", "") in self.IN_PLACE
        if keeps_shape and args and isinstance(args[0], Tensor) and args[0].is_meta:
            return args[0]
        return func(*args, **(kwargs or {}))


@contextmanager
def on_meta() -> Iterator[None]:
    """Build modules on the meta device: without memory and without values."""
    with torch.device("meta"), ShapesOnly():
        yield
