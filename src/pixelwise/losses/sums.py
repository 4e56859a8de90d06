"""Losses of several batches together: of a whole split, of all processes, of the batches of one step.

The mean of the batches' losses is not the loss of all their pixels where batches differ in size or in their
share of ignored pixels. A loss therefore has two steps: sums over a batch (`SummedLoss.sums`), and a pure
function from sums to the loss (`SummedLoss.finish`). The sums of batches, images and processes can be added.

| loss | sums | so the loss of a split is |
|---|---|---|
| `MeanLoss`: cross-entropy, focal, binary cross-entropy | a total and its weight | of all its pixels |
| `RegionLoss` with per_image=False | (3, K) region statistics | of its regions, as of one large image |
| `RegionLoss` with per_image=True | losses of images, and their number | the mean over images |
| any other `nn.Module`: Lovász, OHEM | its value for each image alone | the mean over images |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, distributed, nn

from pixelwise.losses.reduction import mean_over, weights_for, weights_tensor
from pixelwise.types import IGNORE, ignored_label


class Labels(NamedTuple):
    """Numbers of labelled pixels and images in one batch, or in all batches of an optimizer step."""

    by_class: Tensor
    """Labelled pixels (or images) of each class (K,); with several labels per image, the known ones."""
    images: Tensor
    """Number of images with any label ()."""


class SummedLoss(nn.Module):
    """A loss that is a function of sums over the labelled pixels or images of a batch."""

    by_image = False
    """True if the sums count images, False if they count pixels."""
    soft_targets = False
    """Whether the loss accepts a soft target, see `pixelwise.losses.soft_targets`."""

    def sums(self, logits: Tensor, target: Tensor) -> Tensor:
        """Sums over a batch of (B, K[, H, W]) logits and a (B[, H, W]) target, in float32 at least."""
        raise NotImplementedError

    def finish(self, sums: Tensor) -> Tensor:
        """Scalar loss from sums over any number of batches; 0 if nothing is labelled."""
        raise NotImplementedError

    def weight(self, labels: Labels) -> Tensor:
        """Weight () of a batch among the batches of its optimizer step."""
        raise NotImplementedError

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Scalar loss of (B, K[, H, W]) logits and a (B[, H, W]) target."""
        return self.finish(self.sums(logits, target))


class MeanLoss(SummedLoss):
    """A mean over labelled pixels, from sums (2,): a total, and the weight of the pixels in it.

    Args:
        class_weights: one weight for each class; None gives all pixels the same weight.
    """

    class_weights: Tensor | None

    def __init__(self, class_weights: Sequence[float] | None = None) -> None:
        super().__init__()
        self.register_buffer("class_weights", weights_tensor(class_weights), persistent=False)

    def finish(self, sums: Tensor) -> Tensor:
        """The mean."""
        return mean_over(*sums)

    def weight(self, labels: Labels) -> Tensor:
        """The weight of all labelled pixels."""
        weights = weights_for(labels.by_class[None].float(), self.class_weights)
        return labels.by_class.sum() if weights is None else (weights * labels.by_class).sum()


def counts_images(loss: nn.Module) -> bool:
    """Whether a loss is a mean over images; every loss that is no `SummedLoss` is."""
    return loss.by_image if isinstance(loss, SummedLoss) else True


def sums_of(loss: nn.Module, logits: Tensor, target: Tensor, each_image: bool = False) -> Tensor:
    """Sums of any loss over a batch.

    Args:
        loss: a `SummedLoss`; for any other loss the sums are its value times the number of labelled images,
            and this number.
        logits: (B, K[, H, W]).
        target: (B[, H, W]) with `IGNORE`, or in the shape of the logits.
        each_image: compute a loss that is no `SummedLoss` for each image alone, so that the result does not
            depend on how images are grouped into batches.
    """
    if isinstance(loss, SummedLoss):
        return loss.sums(logits, target)
    if each_image:
        pairs = zip(logits.split(1), target.split(1), strict=True)
        return torch.stack([sums_of(loss, *pair) for pair in pairs]).sum(0)
    value = loss(logits, target)
    ignored = ignored_label(logits.shape[1]) if target.ndim < logits.ndim else IGNORE
    images = target.reshape(len(target), -1).ne(ignored).any(1).sum()
    return torch.stack([value * images, images.to(value.dtype)])


def finish(loss: nn.Module, sums: Tensor) -> Tensor:
    """Scalar value of any loss, from added results of `sums_of`."""
    return loss.finish(sums) if isinstance(loss, SummedLoss) else mean_over(*sums)


def share_of_step(loss: nn.Module, batch: Labels, step: Labels) -> Tensor:
    """Share () of a batch's loss in the loss of its step; the shares of a step's batches sum to 1."""
    if isinstance(loss, SummedLoss):
        return mean_over(loss.weight(batch), loss.weight(step))
    return mean_over(batch.images, step.images)


def over_processes(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Add tensors over all processes in one all-reduce; gradients flow into this process's own part.

    With L = f(S) of sums S = S_1 + … + S_n, the gradient of L is f'(S) times the sum of the dS_i: each
    process computes its own term, without communication in the backward pass. DDP and FSDP average the
    gradients of the processes, so L must be multiplied by the number of processes.

    Args:
        tensors: floating or integer, of the same shapes in every process.

    Returns:
        The sums, in the widest type among the tensors.
    """
    dtype = torch.get_default_dtype()
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    total = torch.cat([tensor.detach().flatten().to(dtype) for tensor in tensors])
    distributed.all_reduce(total)
    parts = total.split([tensor.numel() for tensor in tensors])
    # exactly the sum, with the gradient of this process's own part
    return [p.view_as(own) + (own - own.detach()) for own, p in zip(tensors, parts, strict=True)]
