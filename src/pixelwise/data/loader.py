"""Loading that can be saved, and gone on with, between any two training batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from itertools import islice
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from pixelwise.augmentation import Transform
from pixelwise.data.io.nodata import filled
from pixelwise.data.samplers import Draw, TrainingBatches, generator
from pixelwise.errors import UserError
from pixelwise.types import IGNORE, NODATA, Batch, Raw, Sample, Split


class Samples(Dataset[Sample | UserError]):
    """One split, augmented.

    A `UserError` is returned, not raised: raised in a worker process it would lose its message.

    Args:
        split: where the items come from.
        augmentations: one for each phase.
        seed: of the augmentation.
        encode: turns a mask, once it was augmented, into the target; None takes the mask itself.
        training: take random crops from a split that offers them; else the items, with what scores of masks
            need besides.
        mean: of each channel, in units of `pixelwise.models.Normalize`: what nodata pixels become.
    """

    def __init__(
        self,
        split: Split,
        augmentations: Sequence[Transform],
        seed: int,
        encode: Callable[[np.ndarray], np.ndarray] | None = None,
        training: bool = False,
        mean: Sequence[float] | None = None,
    ) -> None:
        self.split = split
        self.augmentations = augmentations
        self.seed = seed
        self.encode = encode
        self.draw = split.draw if training and split.draws else None
        self.training = training
        self.mean = mean

    def __getitem__(self, draw: Draw) -> Sample | UserError:
        try:
            return self._augmented(draw)
        except UserError as error:
            return error

    def _augmented(self, draw: Draw) -> Sample:
        rng, augment = generator(self.seed, draw), self.augmentations[draw.phase]
        raw: Raw = self.draw(draw.sample, rng) if self.draw else self.split[draw.sample]
        has_mask = isinstance(raw.target, np.ndarray)
        mask = raw.target if isinstance(raw.target, np.ndarray) else None
        if raw.nodata is not None:
            mask = np.where(raw.nodata, NODATA, 0 if mask is None else mask).astype(np.uint8)
        focus = {} if raw.focus is None else {"focus": raw.focus}
        image, mask = augment(raw.image, mask, rng, **focus)
        if mask is not None and (nothing := mask == NODATA).any():
            image, mask = filled(image, nothing, self.mean), np.where(nothing, np.uint8(IGNORE), mask)
        sample: Sample = {
            "image": _tensor(image).permute(2, 0, 1),
            "target": _tensor(self._encoded(mask))
            if mask is not None and has_mask
            else torch.tensor(raw.target),
            "key": raw.key,
            "valid": draw.valid,
        }
        if self.training or self.encode is not None:
            return sample
        if raw.border is not None:
            sample["border"] = _tensor(augment(raw.image, raw.border.view(np.uint8), rng)[1]).bool()
        if raw.window is not None:
            sample["window"] = raw.window
        return sample

    def _encoded(self, mask: np.ndarray) -> np.ndarray:
        return mask if self.encode is None else self.encode(mask)


def _tensor(array: np.ndarray | None) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))


class Collate:
    """Stack samples, filling up to `rows` with copies of the last one, marked invalid.

    Batches of one size make a score independent of how the samples fell into them, to the last bit.

    Args:
        rows: of a batch at least.
        classes: their number, to count the labels of each; 0 counts none.
    """

    def __init__(self, rows: int = 0, classes: int = 0) -> None:
        self.rows = rows
        self.classes = classes

    def __call__(self, samples: list[Sample | UserError]) -> Batch | UserError:
        """Samples of one size → a batch; the first error among them instead, if there is one."""
        good: list[Sample] = []
        for sample in samples:
            if isinstance(sample, UserError):
                return sample
            good.append(sample)
        by_type = {str(s["image"].dtype).removeprefix("torch."): s["key"] for s in good}
        if len(by_type) > 1:  # stacked, bytes would become floats that nobody scales
            return UserError(
                "images of one batch differ in their number type",
                found=", ".join(f"{key} is {name}" for name, key in by_type.items()),
                expected="one type for all images",
                fix="convert them; scripts/audit.py with the same words names some of each type",
            )
        count = len(good)
        good += [good[-1]] * (self.rows - count)
        # stacked as (B, H, W, C) and viewed as (B, C, H, W): the batch is born channels-last
        image = torch.stack([s["image"].permute(1, 2, 0) for s in good]).permute(0, 3, 1, 2)
        batch: Batch = {
            "image": image,
            "target": torch.stack([s["target"] for s in good]),
            "valid": torch.tensor([s["valid"] and row < count for row, s in enumerate(good)]),
            "key": [s["key"] for s in good],
        }
        if all("border" in s for s in good):
            batch["border"] = torch.stack([s["border"] for s in good])
        if all("window" in s for s in good):
            batch["window"] = [s["window"] for s in good]
        if self.classes:
            batch["labels"] = count_labels(batch["target"], self.classes)
        return batch


def count_labels(target: torch.Tensor, classes: int) -> torch.Tensor:
    """Labelled pixels (or images) of each class, then the number of images with any label: (K + 1,) int64.

    Args:
        target: (B, H, W) or (B,) class indices with `IGNORE`; or (B, K), whose known entries count.
        classes: their number K.
    """
    known = target != IGNORE
    if target.ndim == 2:
        by_class = known.sum(0)
    else:
        by_class = torch.bincount(target.flatten().long(), minlength=IGNORE + 1)[:classes]
    return torch.cat([by_class, known.reshape(len(target), -1).any(1).sum()[None]])


class Loader(DataLoader[Any]):
    """A `DataLoader` that can be saved and resumed between any two training batches."""

    batch_sampler: TrainingBatches
    consumed = 0

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        self.consumed = self.batch_sampler.first
        batches = map(raise_error, super().__iter__())
        for batch in batches if self.batch_sampler.in_step is None else self._by_step(batches):
            self.consumed += 1  # before the step, so that a checkpoint made after it counts it
            yield batch

    def _by_step(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Read all batches of an optimizer step before the first is given, which has to know their labels."""
        assert self.batch_sampler.in_step is not None
        while step := list(islice(batches, self.batch_sampler.in_step(self.consumed))):
            labels = torch.stack([batch["labels"] for batch in step]).sum(0)
            for batch in step:
                yield {**batch, "labels": torch.stack([batch["labels"], labels])}

    def state_dict(self) -> dict[str, int]:
        """Position within the epoch, in plain numbers."""
        return {"epoch": self.batch_sampler.sampler.epoch, "batches_consumed": self.consumed}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on at a saved position; at the end of an epoch that is the next one's start."""
        epoch, consumed = state["epoch"], state["batches_consumed"]
        if consumed == len(self.batch_sampler):
            epoch, consumed = epoch + 1, 0
        self.batch_sampler.sampler.set_epoch(epoch)
        self.batch_sampler.first = self.consumed = consumed


class EvaluationLoader(DataLoader[Any]):
    """A `DataLoader` over `EvaluationBatches`."""

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        for batch in super().__iter__():
            yield raise_error(batch)


def raise_error(batch: Batch | UserError) -> Batch:
    """Raise, in the main process, what a worker could not read.

    A copy is raised: an error that its own traceback refers to would keep its loader's workers until a
    garbage collection, which then waits five seconds for each.
    """
    if isinstance(batch, UserError):
        raise copy(batch)
    return batch


def worker_settings(num_workers: int, seed: int) -> dict[str, Any]:
    """Arguments that every loader shares; the generator keeps torch's global one untouched."""
    if num_workers > 0:
        cv2.setNumThreads(1)  # before the fork: a child hangs ending threads that only its parent has
    return {
        "num_workers": num_workers,
        "persistent_workers": num_workers > 0,
        "pin_memory": torch.cuda.is_available(),
        "generator": torch.Generator().manual_seed(seed),
        "worker_init_fn": _one_thread,
    }


def _one_thread(worker: int) -> None:
    """Workers are parallel already; OpenCV's own threads would only compete."""
    cv2.setNumThreads(1)
