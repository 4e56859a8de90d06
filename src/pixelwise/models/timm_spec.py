"""Find out which maps a timm model gives, which image sizes it accepts, and which layers are its head.

No model is treated by its name. What timm does not document is found by trying on the meta device, where
tensors have shapes but no values, so that even a large model takes a fraction of a second.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pixelwise.errors import UserError
from pixelwise.models.timm_head import head_names

TIMM_ERRORS = (RuntimeError, AttributeError, TypeError, AssertionError, ValueError, KeyError, IndexError)
"""Exceptions that timm raises for unknown options and for image sizes that a model does not accept."""

ANY_SIZE: tuple[dict[str, Any], ...] = ({}, {"dynamic_img_size": True}, {"strict_img_size": False})
"""Options of timm that let a model accept images of any size, in the order in which they are tried."""


@dataclass(frozen=True)
class TimmSpec:
    """How to build a timm model, which feature maps it gives, and which images it accepts.

    Attributes:
        name: name of the timm model.
        options: options for `timm.create_model`.
        size: (H, W) of the images that the model was designed for.
        multiple: image sides must be multiples of this number of pixels; None if only `size` is accepted.
        stride: stride of its coarsest feature map.
        single_scale: whether all its feature maps have the same stride, as in a plain transformer.
        indices: which of its feature maps are read: the last of each stride, or blocks of a single scale.
        channels: channels of these maps.
        strides: strides of these maps, finest first.
        head: names of its parameters, buffers and children that only `forward_head` reads; empty if the model
            cannot classify.
    """

    name: str
    options: dict[str, Any]
    size: tuple[int, int]
    multiple: int | None
    stride: int
    single_scale: bool
    indices: tuple[int, ...]
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    head: tuple[str, ...]

    @property
    def sizes(self) -> str:
        """The accepted image sizes as text."""
        if self.multiple == 1:
            return "images of any size"
        if self.multiple is not None:
            return f"images of any size, padded to multiples of {self.multiple}"
        return f"images of {self.size[0]}×{self.size[1]} only"

    def build(self, **options: Any) -> nn.Module:
        """Build the model with all its layers."""
        return timm.create_model(self.name, **self.options, **options)

    def full_model(self, **options: Any) -> nn.Module:
        """Build the model on the meta device."""
        with on_meta():
            return self.build(**options)

    def maps(self, model: nn.Module, image: Tensor) -> list[Tensor]:
        """Return the feature maps (B, C, h, w) of `indices`; of a single scale, each under the final norm."""
        return intermediates(model, image, self.indices, self.single_scale)

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
                if accepts(_on_meta(self.name, options), self, size):
                    return f"+encoder.img_size=[{size[0]},{size[1]}] builds it for this size"
        return "crop or resize the images to that size, or choose another encoder"


def intermediates(model: Any, image: Tensor, indices: Sequence[int], norm: bool) -> list[Tensor]:
    """Return feature maps of a timm model as (B, C, h, w); the layers after the last of them do not run."""
    return model.forward_intermediates(
        image, indices=[*indices], norm=norm, stop_early=True, output_fmt="NCHW", intermediates_only=True
    )


_cache: dict[str, TimmSpec] = {}
"""Results of `probe_timm` in this process, by its arguments."""


def probe_timm(
    name: str, in_chans: int = 3, blocks: int | Sequence[int] | None = None, **options: Any
) -> TimmSpec:
    """Find the options with which a timm model accepts as many image sizes as possible.

    Args:
        name: name of a timm model.
        in_chans: number of image bands.
        blocks: blocks of a single-scale model whose maps are read: the last n, or their indices; None: four,
            at each quarter of the depth.
        **options: the user's options for `timm.create_model`.

    Raises:
        one of TIMM_ERRORS: timm cannot build this model, or it has no such blocks.
    """
    key = repr((name, in_chans, blocks, sorted(options.items())))
    if key not in _cache:
        _cache[key] = _probe(name, {"in_chans": in_chans, **options}, blocks)
    return _cache[key]


def _probe(name: str, options: dict[str, Any], blocks: int | Sequence[int] | None) -> TimmSpec:
    plain: Any = _on_meta(name, options)
    info = getattr(plain.feature_info, "info", plain.feature_info)
    strides = [entry["reduction"] for entry in info]
    single_scale = len(set(strides)) == 1
    indices = _blocks(blocks, len(strides)) if single_scale else _pyramid(name, options, strides)
    width = "num_chs_norm" if single_scale else "num_chs"
    native = options.get("img_size") or plain.pretrained_cfg["input_size"][1:]
    size = (native, native) if isinstance(native, int) else tuple(native)
    spec = TimmSpec(
        name,
        options,
        size,
        multiple=None,
        stride=max(strides),
        single_scale=single_scale,
        indices=indices,
        channels=tuple(info[i].get(width, info[i]["num_chs"]) for i in indices),
        strides=tuple(strides[i] for i in indices),
        head=(),
    )
    with suppress(*TIMM_ERRORS):  # some models have no head
        spec = replace(spec, head=shapes_of(_Call(plain, head_names), size, options["in_chans"]))
    ways = [{**extra, **options} for extra in ANY_SIZE]
    built = cache(lambda way: _on_meta(name, ways[way]) if ANY_SIZE[way] else plain)
    for multiple in sorted({1, *strides, 3 * spec.stride, *size}):
        rows, columns = (count * spec.stride // multiple | 1 for count in (3, 4))
        unusual = (multiple * rows, multiple * (columns + 2))
        for way, merged in enumerate(ways):
            with suppress(*TIMM_ERRORS):
                if accepts(built(way), spec, unusual):
                    return replace(spec, options=merged, multiple=multiple)
    return spec


def _blocks(blocks: int | Sequence[int] | None, depth: int) -> tuple[int, ...]:
    """Return the indices of the blocks, counted from the first."""
    every = range(depth)
    if blocks is None:
        return _spread(depth)
    chosen = [*every][-blocks:] if isinstance(blocks, int) else [*blocks]
    if not chosen or len(chosen) != (blocks if isinstance(blocks, int) else len({*chosen} & {*every})):
        raise UserError(
            "encoder.blocks",
            found=blocks,
            expected=f"null, a number of last blocks from 1 to {depth}, or a list of indices below {depth}",
        )
    return tuple(sorted(chosen))


class _Call(nn.Module):
    """A function of a model and an image, as a module."""

    def __init__(self, model: nn.Module, function: Callable[[nn.Module, Tensor], Any]) -> None:
        super().__init__()
        self.model = model
        self.function = function

    def forward(self, image: Tensor) -> Any:
        return self.function(self.model, image)


def shapes_of(model: nn.Module, size: tuple[int, int], in_chans: int = 3, device: str = "meta") -> Any:
    """Return the outputs of a model on the meta device for an image of this size, valid in shape only."""
    try:
        with torch.no_grad(), ShapesOnly():
            return model(torch.zeros(1, in_chans, *size, device=device))
    except RuntimeError as error:
        if "meta tensors" not in str(error):
            raise
    # its shapes depend on values: give it memory, with arbitrary weights
    return shapes_of(copy.deepcopy(model).to_empty(device="cpu"), size, in_chans, device="cpu")


def accepts(model: nn.Module, spec: TimmSpec, size: tuple[int, int]) -> bool:
    """Whether a model gives the feature maps that `spec` describes, for an image of this size."""
    try:
        maps = shapes_of(_Call(model, spec.maps), size, spec.options["in_chans"])
    except TIMM_ERRORS:
        return False
    return all(
        x.shape[1] == channels
        and all(abs(n * stride - side) <= 4 * stride for n, side in zip(x.shape[2:], size, strict=True))
        for x, channels, stride in zip(maps, spec.channels, spec.strides, strict=True)
    )


def _spread(depth: int) -> tuple[int, ...]:
    """Return the indices of the last block in each quarter of a transformer."""
    return tuple(-(-depth * k // 4) - 1 for k in (1, 2, 3, 4)) if depth >= 4 else (depth - 1,)


def _pyramid(name: str, options: dict[str, Any], strides: list[int]) -> tuple[int, ...]:
    """Return the indices of the maps that timm gives with `features_only`, or one for each stride."""
    wrapped: Any = _on_meta(name, {**options, "features_only": True})
    if len(set(wrapped.feature_info.reduction())) == 1:
        return _last_of_each(strides)
    return tuple(index % len(strides) for index in wrapped.feature_info.out_indices)


def _last_of_each(strides: list[int]) -> tuple[int, ...]:
    """Return the index of the deepest map of each stride."""
    return tuple(len(strides) - 1 - strides[::-1].index(stride) for stride in sorted(set(strides)))


def _on_meta(name: str, options: dict[str, Any]) -> nn.Module:
    with on_meta():
        return timm.create_model(name, **options).eval()


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
