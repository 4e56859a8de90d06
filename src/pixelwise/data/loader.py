"""Data loaders whose position can be saved and resumed between any two training batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from pixelwise.augmentation import Transform
from pixelwise.data.io.nodata import filled
from pixelwise.data.mixing import MixRows
from pixelwise.data.samplers import SampleIndex, TrainingBatches, generator
from pixelwise.data.workers import shared
from pixelwise.errors import UserError
from pixelwise.types import IGNORE, NODATA, Batch, Raw, Sample, Split, ignored_label

Made = TypeVar("Made", Sample, Batch)


class Samples(Dataset[Sample | UserError]):
    """The augmented samples of one split.

    A `UserError` is returned, not raised: raised in a worker process it would lose its message.

    Args:
        split: the split that the items are read from.
        augmentations: one transform per phase.
        seed: seed of the augmentation.
        encode: function that turns an augmented mask into the target; None uses the mask itself.
        training: take random crops if the split offers them; otherwise take the items, with the additional
            arrays that scores of masks need.
        mean: mean of each channel in the units of `pixelwise.models.Normalize`; nodata pixels are set to it.
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

    def __getitem__(self, index: SampleIndex) -> Sample | UserError:
        try:
            return self._augmented(index)
        except UserError as error:
            return error

    def _augmented(self, index: SampleIndex) -> Sample:
        rng, augment = generator(self.seed, index), self.augmentations[index.phase]
        raw: Raw = self.draw(index.sample, rng) if self.draw else self.split[index.sample]
        has_mask = isinstance(raw.target, np.ndarray)
        mask = raw.target if isinstance(raw.target, np.ndarray) else None
        if raw.nodata is not None:
            mask = np.where(raw.nodata, NODATA, 0 if mask is None else mask).astype(np.uint8)
        focus = {} if raw.focus is None else {"focus": raw.focus}
        image = raw.image
        if (
            not self.training and mask is not None
        ):  # as in predict.py: an evaluation may resize the image alone
            image = filled(image, mask == NODATA, self.mean)
        image, mask = augment(image, mask, rng, **focus)
        if mask is not None and (nodata := mask == NODATA).any():
            image = filled(image, nodata, self.mean) if self.training else image
            mask = np.where(nodata, np.uint8(IGNORE), mask)
        sample: Sample = {
            "image": _tensor(image).permute(2, 0, 1),
            "target": _tensor(self._encoded(mask))
            if mask is not None and has_mask
            else torch.tensor(raw.target),
            "key": raw.key,
            "valid": index.valid,
        }
        if self.training:
            sample["index"] = index
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
    """Stack samples into a batch; fill it up to `rows` with copies of the last one, marked invalid.

    As all batches have one size, a score does not depend on how samples are grouped, to the last bit.

    Args:
        rows: minimum number of rows of a batch.
        classes: number of classes whose labels are counted; 0 counts nothing.
        mix: function that mixes the rows of a batch; None mixes nothing.
    """

    def __init__(self, rows: int = 0, classes: int = 0, mix: MixRows | None = None) -> None:
        self.rows = rows
        self.classes = classes
        self.mix = mix

    def __call__(self, samples: list[Sample | UserError]) -> Batch | UserError:
        """Stack samples of one size; return the first error instead, if there is one."""
        good: list[Sample] = []
        for sample in samples:
            if isinstance(sample, UserError):
                return sample
            good.append(sample)
        by_type = {str(s["image"].dtype).removeprefix("torch."): s["key"] for s in good}
        if len(by_type) > 1:  # stacking would convert uint8 to float without scaling
            return UserError(
                "the images of a batch have different number types",
                found=", ".join(f"{key} is {name}" for name, key in by_type.items()),
                expected="one type for all images",
                fix="convert them; scripts/audit.py with the same arguments lists images of each type",
            )
        count = len(good)
        good += [good[-1]] * (self.rows - count)
        # stacked as (B, H, W, C) and viewed as (B, C, H, W), which is the channels-last memory format
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
        if self.mix is not None:
            batch = self.mix(batch, [s["index"] for s in good])
        if self.classes:
            batch["labels"] = count_labels(
                batch["target"], self.classes, batch.get("second"), batch.get("share")
            )
        return shared(batch)


def count_labels(
    target: torch.Tensor,
    classes: int,
    second: torch.Tensor | None = None,
    share: torch.Tensor | None = None,
) -> torch.Tensor:
    """Count the labelled pixels (or images) of each class, then the images with a label.

    Args:
        target: (B, H, W) or (B,) class indices with the ignored label; or (B, K) with `IGNORE` where unknown.
        classes: number K of classes.
        second: the other target of soft targets, see `Batch`.
        share: (B,) share of the first target; given together with `second`.

    Returns:
        (K + 1,) int64; float32 for soft targets, whose pixels are counted by their shares.
    """
    ignored = IGNORE if target.ndim == 2 else ignored_label(classes)
    labelled = target != ignored
    if second is not None:
        labelled &= second != ignored
    if target.ndim == 2:
        by_class = labelled.sum(0)
    elif second is None or share is None:
        by_class = torch.bincount(target.flatten().long(), minlength=ignored + 1)[:classes]
    else:
        weight = share.double().view(-1, *[1] * (target.ndim - 1)).expand_as(target)
        parts = [
            torch.bincount(labels[labelled].long(), shares[labelled], minlength=classes)
            for labels, shares in ((target, weight), (second, 1 - weight))
        ]
        by_class = torch.stack(parts).sum(0).float()  # some devices have no float64
    return torch.cat([by_class, labelled.reshape(len(target), -1).any(1).sum()[None]])


class Loader(DataLoader[Any]):
    """A `DataLoader` that can be saved and resumed between any two training batches."""

    batch_sampler: TrainingBatches
    consumed = 0

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        self.consumed = self.batch_sampler.first
        batches = map(raise_error, super().__iter__())
        for batch in batches if self.batch_sampler.in_step is None else self._by_step(batches):
            self.consumed += 1  # before the step, so that a checkpoint written after the step includes it
            yield batch

    def _by_step(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Read all batches of an optimizer step before yielding the first, which needs all their labels."""
        assert self.batch_sampler.in_step is not None
        while step := list(islice(batches, self.batch_sampler.in_step(self.consumed))):
            labels = torch.stack([batch["labels"] for batch in step]).sum(0)
            for batch in step:
                yield {**batch, "labels": torch.stack([batch["labels"], labels])}

    def state_dict(self) -> dict[str, int]:
        """Return the position: the epoch, and the number of its batches consumed so far."""
        return {"epoch": self.batch_sampler.sampler.epoch, "batches_consumed": self.consumed}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Resume at a saved position; the end of an epoch is the start of the next one."""
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


def raise_error(made: Made | UserError) -> Made:
    """Return a batch or sample; raise an error that was returned instead, in the main process.

    A copy is raised: an error that its own traceback refers to would keep the workers of its loader alive
    until a garbage collection, which then waits five seconds for each.
    """
    if isinstance(made, UserError):
        raise copy(made)
    return made
