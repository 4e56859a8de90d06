"""Test-time augmentation (TTA): average the logits over several transformed copies of an image.

A TTA object is called with a network and images. It transforms the images in several ways, applies the
network, undoes the transform on the logits and averages them. `with_tta` combines several TTA objects.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, reduce
from operator import add
from typing import Annotated, Protocol

import torch.nn.functional as F
from torch import Tensor

from pixelwise.checks import checked
from pixelwise.kinds import Range, Where

Network = Callable[[Tensor], Tensor]
"""Normalised images (B, C, H, W) → logits (B, K) or (B, K, H, W)."""


class TTA(Protocol):
    """A test-time augmentation. To add one, write a class like this and name it in conf/views.yaml.

    An attribute `name` replaces the name of the class in the names of scores.
    """

    def __call__(self, network: Network, image: Tensor) -> Tensor:
        """Return mean logits, in the shape that the network returns for these images."""
        ...


class Symmetries:
    """TTA with symmetries of the square, each an optional transposition followed by flips.

    Args:
        symmetries: for each, whether to transpose, and the dimensions to flip, as negative indices.
    """

    def __init__(self, symmetries: Sequence[tuple[bool, tuple[int, ...]]]) -> None:
        self.symmetries = tuple(symmetries)

    def __call__(self, network: Network, image: Tensor) -> Tensor:
        """Return the mean over the symmetries; only logits per pixel are transformed back."""
        logits = (self._apply(network, image, *symmetry) for symmetry in self.symmetries)
        return reduce(add, logits) / len(self.symmetries)

    def _apply(self, network: Network, image: Tensor, transpose: bool, flips: tuple[int, ...]) -> Tensor:
        logits = network((image.mT if transpose else image).flip(flips)).float()
        if logits.ndim == 4:
            logits = logits.flip(flips)
            logits = logits.mT if transpose else logits
        return logits


FLIPS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))


class HorizontalFlip(Symmetries):
    """TTA with two copies: unchanged and flipped horizontally, for photographs."""

    name = "hflip"

    def __init__(self) -> None:
        super().__init__([(False, flips) for flips in FLIPS[:2]])


class Flips(Symmetries):
    """TTA with four copies: unchanged, flipped horizontally, vertically, and both."""

    name = "flips"

    def __init__(self) -> None:
        super().__init__([(False, flips) for flips in FLIPS])


class D4(Symmetries):
    """TTA with all eight symmetries of the square, for images without an upper side, as aerial ones."""

    name = "d4"

    def __init__(self) -> None:
        super().__init__([(transpose, flips) for transpose in (False, True) for flips in FLIPS])


Factors = Annotated[
    Sequence[Annotated[float, Range(above=0, high=8)]],
    Where(lambda v: len(v) > 0, "numbers above 0 and at most 8, as in [0.75,1,1.25]"),
]


@checked
class Scales:
    """TTA at several scales: images are resized bilinearly, and logits per pixel are resized back.

    Args:
        factors: factors on height and width, above 0 and at most 8; 1 leaves the image unchanged.

    Raises:
        UserError: a factor is not a number in this range.
    """

    def __init__(self, factors: Factors) -> None:
        self.factors = [float(factor) for factor in factors]
        self.name = "scales" + "-".join(f"{factor:g}" for factor in self.factors)

    def __call__(self, network: Network, image: Tensor) -> Tensor:
        """Return the mean over the scales."""
        return reduce(add, (self._apply(network, image, f) for f in self.factors)) / len(self.factors)

    def _apply(self, network: Network, image: Tensor, factor: float) -> Tensor:
        if factor == 1:
            return network(image).float()
        size = image.shape[-2:]
        logits = network(_resize(image, [max(1, round(side * factor)) for side in size])).float()
        return _resize(logits, size) if logits.ndim == 4 else logits


def with_tta(network: Network, views: Sequence[TTA]) -> Network:
    """Return the network with all combinations of these TTAs; the first one is applied outermost."""
    return reduce(lambda inner, tta: partial(tta, inner), reversed(views), network)


def tta_name(views: Sequence[TTA]) -> str:
    """Return the name of these TTAs in the names of scores, such as "tta-d4-scales0.75-1"; "" without any."""
    names = [getattr(view, "name", type(view).__name__.lower()) for view in views]
    return "-".join(["tta", *names]) if names else ""


def _resize(values: Tensor, size: Sequence[int]) -> Tensor:
    """Resize bilinearly, with antialiasing if the size shrinks."""
    shrinks = size[0] < values.shape[-2] or size[1] < values.shape[-1]
    return F.interpolate(values.float(), tuple(size), mode="bilinear", align_corners=False, antialias=shrinks)
