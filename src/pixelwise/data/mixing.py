"""Mixing the rows of training batches, reproducibly."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pixelwise.augmentation import Mixing
from pixelwise.data.samplers import SampleIndex, generator
from pixelwise.errors import UserError
from pixelwise.types import Batch


class MixRows:
    """Mixes the rows of a batch; all randomness is a function of (seed, phase, epoch, sample).

    Args:
        mixings: the mixing of each phase.
        seed: seed of the run.
    """

    def __init__(self, mixings: Sequence[Mixing], seed: int) -> None:
        self.mixings = mixings
        self.seed = seed

    def check(self, rows: int) -> None:
        """Raise a `UserError` if batches of so many rows cannot be mixed."""
        if rows < 2 and any(mixing.choices for mixing in self.mixings):
            raise UserError(
                "mixing: a batch needs two images or more",
                found=f"{rows} in a training batch of each process",
                fix="a larger data.batch_size, or mixing=none",
            )

    def __call__(self, batch: Batch, indices: Sequence[SampleIndex]) -> Batch:
        """Mix a batch of the samples with these indices, which belong to one phase."""
        mixing = self.mixings[indices[0].phase]
        if not mixing.choices:
            return batch
        target = batch["target"]
        has_masks = target.ndim == 3
        mixed = mixing(
            batch["image"].permute(0, 2, 3, 1).numpy(),
            target.numpy() if has_masks else None,
            [generator(self.seed, index, stream=1) for index in indices],
        )
        result: Batch = {**batch, "image": torch.from_numpy(mixed.images).permute(0, 3, 1, 2)}
        if mixed.masks is not None:
            result["target"] = target = torch.from_numpy(mixed.masks)
        if mixing.is_soft(has_masks):
            share = torch.from_numpy(mixed.share)
            unmixed = (share == 1).view(-1, *[1] * (target.ndim - 1))
            result["second"] = torch.where(unmixed, target, batch["target"][torch.from_numpy(mixed.partner)])
            result["share"] = share
        return result
