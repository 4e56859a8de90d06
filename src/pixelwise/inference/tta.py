"""Test-time augmentation: the mean of the logits over several views of an image.

A view object takes a network and images, shows the network each view, turns the answers back and averages
them. `with_tta` nests them: scales in flips give the product of both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, reduce
from operator import add
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor

from pixelwise import checks
from pixelwise.errors import UserError

Network = Callable[[Tensor], Tensor]
"""Normalised images (B, C, H, W) → logits (B, K) or (B, K, H, W)."""


class View(Protocol):
    """A way to look several times. A new one is a class of this shape and a line in conf/views.yaml."""

    def __call__(self, network: Network, image: Tensor) -> Tensor:
        """Mean logits, of the shape that the network gives for these images."""
        ...


class Symmetries:
    """Views under symmetries of the square, each a transposition (or none) followed by flips.

    Args:
        views: (transpose, dimensions to flip) of each; dimensions are counted from the end.
    """

    def __init__(self, views: Sequence[tuple[bool, tuple[int, ...]]]) -> None:
        self.views = tuple(views)

    def __call__(self, network: Network, image: Tensor) -> Tensor:
        """Mean over the views; logits of whole images need no turning back."""
        return reduce(add, (self._look(network, image, *view) for view in self.views)) / len(self.views)

    def _look(self, network: Network, image: Tensor, transpose: bool, flips: tuple[int, ...]) -> Tensor:
        logits = network((image.mT if transpose else image).flip(flips)).float()
        if logits.ndim == 4:
            logits = logits.flip(flips)
            logits = logits.mT if transpose else logits
        return logits


FLIPS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))


class Flips(Symmetries):
    """As it is, left-right, upside down, and both."""

    def __init__(self) -> None:
        super().__init__([(False, flips) for flips in FLIPS])


class D4(Symmetries):
    """All eight symmetries of the square, for images that have no upper side, such as aerial ones."""

    def __init__(self) -> None:
        super().__init__([(transpose, flips) for transpose in (False, True) for flips in FLIPS])


class Scales:
    """Views at several sizes, with bilinear resizing there and back.

    Args:
        factors: of height and width; 1 is the image as it is.

    Raises:
        UserError: one of them is not a positive number.
    """

    def __init__(self, factors: Sequence[float]) -> None:
        key, expected = "views.scales.factors", "numbers above 0, at most 8, as in [0.75,1,1.25]"
        if not factors:
            raise UserError(key, found=factors, expected=expected)
        self.factors = [checks.number(key, each, high=8, above=0, expected=expected) for each in factors]

    def __call__(self, network: Network, image: Tensor) -> Tensor:
        """Mean over the sizes."""
        return reduce(add, (self._look(network, image, f) for f in self.factors)) / len(self.factors)

    def _look(self, network: Network, image: Tensor, factor: float) -> Tensor:
        if factor == 1:
            return network(image).float()
        size = image.shape[-2:]
        logits = network(_resize(image, [max(1, round(side * factor)) for side in size])).float()
        return _resize(logits, size) if logits.ndim == 4 else logits


def with_tta(network: Network, views: Sequence[View]) -> Network:
    """The network with all these views, the first outermost."""
    return reduce(lambda inner, view: partial(view, inner), reversed(views), network)


def _resize(values: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear; smoothed before it shrinks."""
    shrinks = size[0] < values.shape[-2] or size[1] < values.shape[-1]
    return F.interpolate(values.float(), tuple(size), mode="bilinear", align_corners=False, antialias=shrinks)
