"""Compare an exported model with the trained model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pixelwise.errors import UserError
from pixelwise.export.format import Network


@dataclass(frozen=True)
class Agreement:
    """The difference of two models on the same images."""

    difference: float
    """Largest absolute difference of two logits."""
    largest: float
    """Largest absolute logit of the reference."""
    share: float
    """Fraction of predictions (pixels or images) with the same class."""
    shapes: tuple[tuple[int, ...], ...]
    """Shapes of the compared batches."""

    def within(self, tolerance: float) -> bool:
        """Whether no difference exceeds `tolerance` times the largest logit (at least 1)."""
        return self.difference <= tolerance * max(1.0, self.largest)

    def __str__(self) -> str:
        shapes = " and ".join("×".join(map(str, shape)) for shape in self.shapes)
        return (
            f"largest logit difference {self.difference:.1e} (logits reach {self.largest:.3g}); "
            f"the same class on {self.share:.4%} of {shapes}"
        )


@torch.inference_mode()
def compare(reference: Network, other: Network, images: Sequence[Tensor]) -> Agreement:
    """Apply both models to each batch of raw images, and compare the logits."""
    difference = largest = 0.0
    same = total = 0
    for image in images:
        expected, actual = reference(image), other(image)
        difference = max(difference, float((expected - actual).abs().max()))
        largest = max(largest, float(expected.abs().max()))
        equal = expected.max(1).indices == actual.max(1).indices
        same, total = same + int(equal.sum()), total + equal.numel()
    return Agreement(difference, largest, same / total, tuple(tuple(image.shape) for image in images))


@torch.inference_mode()
def accepts(model: Network, image: Tensor) -> bool:
    """Whether the model accepts images of this size; some encoders accept one size only."""
    try:
        model(image)
    except UserError:
        return False
    return True
