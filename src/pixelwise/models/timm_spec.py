"""How timm gives the feature maps of a model, and which image sizes it takes.

Nothing here knows a model by its name. What timm does not say is found out by trying, on the meta
device, where a model has shapes but no numbers, so that even a large one takes a fraction of a second.
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
"""What timm raises for options that a model does not know and for images that it does not take."""

ANY_SIZE: tuple[dict[str, Any], ...] = ({}, {"dynamic_img_size": True}, {"strict_img_size": False})
"""Ways to ask for images of any size, in the order in which they are tried."""


@dataclass(frozen=True)
class TimmSpec:
    """How to build a model.

    Attributes:
        name: of the model.
        options: of `timm.create_model`.
        size: (H, W) that it was made for.
        multiple: takes images of any multiple of this height and width; None: of `size` only.
        stride: of its coarsest map.
        single_scale: all its maps have the same stride.
    """

    name: str
    options: dict[str, Any]
    size: tuple[int, int]
    multiple: int | None
    stride: int
    single_scale: bool

    @property
    def sizes(self) -> str:
        """The sizes of images that it takes, in words."""
        if self.multiple == 1:
            return "images of any size"
        if self.multiple is not None:
            return f"images of any size, padded to multiples of {self.multiple}"
        return f"images of {self.size[0]}×{self.size[1]} only"

    def build(self, **options: Any) -> nn.Module:
        """The model as `timm.create_model` makes it, giving a list of maps."""
        return timm.create_model(self.name, features_only=True, **self.options, **options)

    def whole(self) -> nn.Module:
        """The model with its classifier, on the meta device: it knows the layers of its parameters."""
        options = {key: value for key, value in self.options.items() if key != "out_indices"}
        with on_meta():
            return timm.create_model(self.name, **options)

    def padding(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns to add to an image of this size.

        Raises:
            UserError: the model has a fixed size, from which less than a stride may be missing.
        """
        if self.multiple is not None:
            return -height % self.multiple, -width % self.multiple
        bottom, right = self.size[0] - height, self.size[1] - width
        if not (0 <= bottom < self.stride and 0 <= right < self.stride):
            raise UserError(
                f"encoder.name: {self.name!r} takes {self.sizes}",
                found=f"an image of {height}×{width}",
                fix=self._another_size(height, width),
            )
        return bottom, right

    def _another_size(self, height: int, width: int) -> str:
        """What the user can do about a fixed size."""
        rounded = (height + -height % self.stride, width + -width % self.stride)
        for size in ((height, width), rounded):
            options = {**self.options, "img_size": size}
            with suppress(*TIMM_ERRORS):
                if takes(_on_meta(self.name, options), size, options["in_chans"]):
                    return f"+encoder.img_size=[{size[0]},{size[1]}] builds it for this size"
        return "crop or resize the images to that size, or choose another encoder"


_found: dict[str, TimmSpec] = {}
"""What was tried once in this process, by the arguments."""


def probe_timm(name: str, in_chans: int = 3, **options: Any) -> TimmSpec:
    """Try until the model takes as many sizes as it can.

    Args:
        name: of a timm model.
        in_chans: bands of the images.
        **options: of `timm.create_model`, as the user gave them.

    Raises:
        one of TIMM_ERRORS: timm cannot build this model with features.
    """
    key = repr((name, in_chans, sorted(options.items())))
    if key not in _found:
        _found[key] = _find_recipe(name, {"in_chans": in_chans, **options})
    return _found[key]


def _find_recipe(name: str, options: dict[str, Any]) -> TimmSpec:
    plain: Any = _on_meta(name, options)
    strides = [entry["reduction"] for entry in plain.feature_info.info]
    stride = max(strides)
    single_scale = len(set(strides)) == 1
    if len(set(plain.feature_info.reduction())) == 1:
        options.setdefault("out_indices", _spread(len(strides)) if single_scale else _last_of_each(strides))
    native = options.get("img_size") or plain.pretrained_cfg["input_size"][1:]
    size = (native, native) if isinstance(native, int) else tuple(native)
    ways = [{**extra, **options} for extra in ANY_SIZE]
    probe = cache(lambda way: _on_meta(name, ways[way]) if ANY_SIZE[way] else plain)
    for multiple in sorted({1, *strides, 3 * stride, *size}):
        unusual = (multiple * (3 * stride // multiple | 1), multiple * ((4 * stride // multiple | 1) + 2))
        for way, merged in enumerate(ways):
            with suppress(*TIMM_ERRORS):
                if takes(probe(way), unusual, options["in_chans"]):
                    return TimmSpec(name, merged, size, multiple, stride, single_scale)
    return TimmSpec(name, options, size, None, stride, single_scale)


def shapes_of(
    model: nn.Module, size: tuple[int, int], in_chans: int = 3, device: str = "meta"
) -> list[Tensor]:
    """What a model on the meta device gives for an image of this size; of the tensors only shapes count."""
    try:
        with torch.no_grad(), ShapesOnly():
            return model(torch.zeros(1, in_chans, *size, device=device))
    except RuntimeError as error:
        if "meta tensors" not in str(error):
            raise
    # its shapes depend on numbers: give it memory, though no weights
    return shapes_of(copy.deepcopy(model).to_empty(device="cpu"), size, in_chans, device="cpu")


def takes(model: nn.Module, size: tuple[int, int], in_chans: int) -> bool:
    """Whether a model gives the maps that it speaks of for an image of this size."""
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
    """Maps (B, C, h, w), also from a model that gives (B, h, w, C)."""
    if getattr(model, "output_fmt", None) != Format.NHWC:
        return maps
    return [x.permute(0, 3, 1, 2) for x in maps]


def _spread(depth: int) -> tuple[int, ...]:
    """The blocks that end each quarter of a transformer."""
    return tuple(-(-depth * k // 4) - 1 for k in (1, 2, 3, 4)) if depth >= 4 else (depth - 1,)


def _last_of_each(strides: list[int]) -> tuple[int, ...]:
    """The deepest map of each stride."""
    return tuple(len(strides) - 1 - strides[::-1].index(stride) for stride in sorted(set(strides)))


def _on_meta(name: str, options: dict[str, Any]) -> nn.Module:
    with on_meta():
        return timm.create_model(name, features_only=True, **options).eval()


class ShapesOnly(TorchFunctionMode):
    """Skip what changes numbers alone, most of the work: tensors on the meta device hold none."""

    IN_PLACE = frozenset(("uniform_", "normal_", "erfinv_", "clamp_", "mul_", "add_", "fill_", "zero_"))
    OF_SAME_SHAPE = frozenset((F.batch_norm, F.layer_norm, F.group_norm, F.relu, F.gelu, F.silu, F.hardswish))

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Give a tensor back as it is, or do what is asked."""
        idle = func in self.OF_SAME_SHAPE or getattr(func, "__name__", "") in self.IN_PLACE
        if idle and args and isinstance(args[0], Tensor) and args[0].is_meta:
            return args[0]
        return func(*args, **(kwargs or {}))


@contextmanager
def on_meta() -> Iterator[None]:
    """Build modules without memory and without numbers."""
    with torch.device("meta"), ShapesOnly():
        yield
