"""How far an exported model is from the one that was trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pixelwise.errors import UserError
from pixelwise.export.format import Network


@dataclass(frozen=True)
class Agreement:
    """Two models on the same images."""

    difference: float
    """Largest difference of two logits."""
    largest: float
    """Largest absolute logit of the reference."""
    share: float
    """Share of the decisions (pixels or images) that fall on the same class."""
    shapes: tuple[tuple[int, ...], ...]
    """Of the batches that were compared."""

    def within(self, tolerance: float) -> bool:
        """Whether no logit differs by more than this share of the largest, or of 1 where all are smaller."""
        return self.difference <= tolerance * max(1.0, self.largest)

    def __str__(self) -> str:
        shapes = " and ".join("×".join(map(str, shape)) for shape in self.shapes)
        return (
            f"largest logit difference {self.difference:.1e} (logits reach {self.largest:.3g}); "
            f"the same class on {self.share:.4%} of {shapes}"
        )


@torch.inference_mode()
def compare(reference: Network, other: Network, images: Sequence[Tensor]) -> Agreement:
    """Give both models each batch of raw images."""
    difference = largest = 0.0
    same = total = 0
    for image in images:
        wanted, found = reference(image), other(image)
        difference = max(difference, float((wanted - found).abs().max()))
        largest = max(largest, float(wanted.abs().max()))
        equal = wanted.max(1).indices == found.max(1).indices
        same, total = same + int(equal.sum()), total + equal.numel()
    return Agreement(difference, largest, same / total, tuple(tuple(image.shape) for image in images))


@torch.inference_mode()
def accepts(model: Network, image: Tensor) -> bool:
    """Whether the model takes images of this size; some encoders take only one."""
    try:
        model(image)
    except UserError:
        return False
    return True
