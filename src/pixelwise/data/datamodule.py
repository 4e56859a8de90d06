"""The data module: loaders for the splits of a source."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Literal

import lightning as L
import numpy as np

from pixelwise.augmentation import CenterCrop, Mixing, Transform
from pixelwise.checks import checked, class_indices
from pixelwise.data.loader import Collate, EvaluationLoader, Loader, Samples, raise_error
from pixelwise.data.mixing import MixRows
from pixelwise.data.rare import RareCrops, check_sampling, class_order
from pixelwise.data.samplers import (
    EvaluationBatches,
    Permutation,
    Rank,
    SampleIndex,
    TrainingBatches,
)
from pixelwise.data.splits import SPLITS, get_split, missing_split
from pixelwise.data.statistics import Histogram, fingerprint
from pixelwise.data.subset import InMemory, random_subset
from pixelwise.data.workers import worker_settings
from pixelwise.errors import UserError
from pixelwise.inference.tiling import Tiling
from pixelwise.kinds import Count, Share, Size, Whole
from pixelwise.protocols import EvaluationProtocol
from pixelwise.runtime.device import workers
from pixelwise.types import Source, Split

log = logging.getLogger(__name__)


@checked
class DataModule(L.LightningDataModule):
    """Train, validation and test loaders over a `Source`.

    Args:
        source: source of the splits; "train" and "val" are required, "test" is optional.
        classes: names in the order of their indices.
        batch_size: samples per training batch, over all processes together; in evaluation, samples per batch
            of each process.
        num_workers: number of processes that read and augment; results do not depend on it. "auto" depends
            on the machine.
        eval_size: None keeps the full image in evaluation; a size crops its centre. Not for masks.
        eval: how images are resized, and in which windows masks are predicted; None: unchanged, as a whole.
        verify: read every image once before training, to find damaged ones and leakage between splits.
        cache: keep every item in memory after it was read; for data sets that are small or slow to read.
        target: function that turns an augmented mask into the target; None uses the mask itself.
        train_samples: number of training samples to use, chosen by the seed; None uses all.
        balance: 0 uses each training image once per epoch, 1 all classes equally often; see
            `pixelwise.data.samplers.Balanced`. For images with one label.
        rare: names of classes that a share of the training crops must contain. For images with masks.
        rare_share: this share.
        seed: seed of the sample order and of the augmentation.
    """

    def __init__(
        self,
        source: Source,
        classes: Sequence[str],
        batch_size: Count,
        num_workers: Whole | Literal["auto"] = 0,
        eval_size: Size | None = None,
        eval: EvaluationProtocol | None = None,
        train_samples: Count | None = None,
        verify: bool = False,
        cache: bool = False,
        target: Callable[[np.ndarray], np.ndarray] | None = None,
        balance: Share = 0.0,
        rare: Sequence[str] = (),
        rare_share: Share = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        names = list(map(str, classes))
        if len(names) < 2 or len(set(names)) < len(names):
            expected = "two or more different names; [background, road] for a binary task"
            raise UserError("data.classes", found=classes, expected=expected)
        self.source = source
        self.classes = tuple(classes)
        self.batch_size = batch_size
        self.num_workers = workers(num_workers)
        self.protocol = eval or EvaluationProtocol()
        self.view = CenterCrop(eval_size, eval)
        self.verify = verify
        self.target = target
        self.balance = balance
        self.rare = class_indices("data.rare", rare, self.classes)
        self.rare_share = rare_share
        self.seed = seed
        self.splits = {name: get_split(source, name) for name in SPLITS}
        for name in ("train", "val"):
            if not self.splits[name]:
                raise missing_split(source, name)
        self._check_evaluation()
        if train_samples is not None:
            self.splits["train"] = random_subset(self["train"], train_samples, seed)
        if cache:
            if any(split.tile_of for split in self.splits.values() if split):
                raise UserError(
                    "data.cache: tiles are memory-mapped already, and crops may lie anywhere in them",
                    found=True,
                    fix="data.cache=false",
                )
            self.splits = {name: split and InMemory(split) for name, split in self.splits.items()}
        check_sampling(self["train"], self.balance, self.rare, self.rare_share)
        self.histograms: dict[str, Histogram] = {}  # by split; set when the survey has read the labels
        self._augmentations: Sequence[Transform] = ()
        self._mixings: Sequence[Mixing] = ()
        self._phase_of: Callable[[int, int], int] = lambda epoch, batch: 0
        self._in_step: Callable[[int], int] | None = None
        self._mean: Callable[[], Sequence[float]] | None = None

    def _check_evaluation(self) -> None:
        """Refuse a protocol that contradicts the data."""
        has_tiles = self["val"].tile_of is not None
        if self.view.size is not None and self.has_masks:
            raise UserError(
                "data.eval_size: labels of pixels are scored at their own size",
                found=list(self.view.size),
                fix="data.eval_size=null; data.eval.resize resizes images and keeps their labels",
            )
        for key in ("window", "resize"):
            value = getattr(self.protocol, key)
            if value is None:
                continue
            if key == "window" and not self.has_masks:
                raise UserError(
                    "data.eval.window: windows are for labels of pixels",
                    found=value,
                    fix="data.eval.window=null",
                )
            if has_tiles and self.has_masks:
                raise UserError(
                    f"data.eval.{key}: tiles are scored at their own size, in the windows of the data set",
                    found=value,
                    fix=f"data.eval.{key}=null; data.source.window and overlap set the windows",
                )

    def __getitem__(self, name: str) -> Split:
        """A split that exists."""
        split = self.splits[name]
        assert split is not None, name
        return split

    @property
    def has_masks(self) -> bool:
        """Whether the target of an image is a mask."""
        return self.target is None and isinstance(self["train"].target(0), np.ndarray)

    def evaluation_cost(self, name: str) -> str:
        """What the protocol costs on a split in words: windows, and pixels compared with whole images."""
        sizes = [self[name].size(i) for i in range(len(self[name]))]
        seen = [self.view.size or self.protocol.size(size) for size in sizes]
        window, windows, pixels = self.protocol.window, len(seen), sum(h * w for h, w in seen)
        if window is not None:
            tiling = Tiling(window, stride=self.protocol.steps)
            spans = [tiling.spans(size) for size in seen]
            windows = sum(len(rows) * len(columns) for rows, columns in spans)
            pixels = sum(sum(r.size for r in rows) * sum(c.size for c in columns) for rows, columns in spans)
        ratio = pixels / sum(h * w for h, w in sizes)
        counted = f"{windows} windows of " if window is not None else ""
        return f"{counted}{len(sizes)} images, {ratio:.3g} times the pixels of unchanged images"

    @property
    def final_split(self) -> str:
        """The split that the best model is evaluated on: "test" if it exists, else "val"."""
        return "test" if self.splits["test"] else "val"

    @property
    def fingerprint(self) -> dict[str, Any]:
        """Fingerprint of the data, in plain containers; None for a split that does not exist."""
        return dict.fromkeys(self.splits) | fingerprint(self.splits, self.classes)

    @property
    def samples_per_epoch(self) -> int:
        """Training samples per epoch: the items of the split, or the number of its random crops."""
        return self["train"].draws or len(self["train"])

    @property
    def batches_per_epoch(self) -> int:
        """Full training batches per epoch."""
        return max(1, self.samples_per_epoch // self.batch_size)

    @property
    def rank(self) -> Rank:
        """This process among the processes of the trainer."""
        return Rank(self.trainer.global_rank, self.trainer.world_size) if self.trainer else Rank()

    def follow(
        self,
        augmentations: Sequence[Transform],
        phase_of: Callable[[int, int], int],
        in_step: Callable[[int], int] | None = None,
        mean: Callable[[], Sequence[float]] | None = None,
        mixings: Sequence[Mixing] = (),
    ) -> None:
        """Set what the training loader needs from the schedule and the network.

        Args:
            augmentations: one transform per phase.
            phase_of: (epoch, batch) → index of the phase.
            in_step: see `TrainingBatches`.
            mean: function that returns the mean of each channel; nodata pixels are set to it.
            mixings: one mixing per phase; empty mixes nothing.
        """
        self._mixings = mixings
        self._augmentations = augmentations
        self._phase_of = phase_of
        self._in_step = in_step
        self._mean = mean

    def train_dataloader(self) -> Loader:
        """Return the loader of shuffled and augmented training batches, which can be resumed.

        Raises:
            UserError: the batches cannot be divided or mixed, or no training image has a class of `rare`.
        """
        order = Permutation(self.samples_per_epoch, self.seed)
        if self.balance:
            order = class_order(self["train"], self.seed, self.balance, len(self.classes))
        batches = TrainingBatches(order, self.batch_size, self._phase_of, self.rank, self._in_step)
        mix = MixRows(self._mixings, self.seed) if self._mixings else None
        if mix is not None:
            mix.check(batches.batch_size // self.rank.processes)
        return Loader(
            self._training_samples,
            batch_sampler=batches,
            collate_fn=Collate(classes=len(self.classes) if self._in_step else 0, mix=mix),
            **worker_settings(self.num_workers, self.seed),
        )

    def check_augmentations(self) -> None:
        """Augment one training sample in each phase; raise the `UserError` of a transform that refuses it."""
        for phase in range(len(self._augmentations)):
            raise_error(self._training_samples[SampleIndex(phase, 0, 0)])

    @cached_property
    def _training_samples(self) -> Samples:
        split = self["train"]
        return Samples(
            RareCrops(split, self.classes, self.rare, self.rare_share) if self.rare_share else split,
            self._augmentations,
            self.seed,
            self.target,
            training=True,
            mean=self._mean and self._mean(),
        )

    def val_dataloader(self) -> EvaluationLoader:
        """Return the loader of every validation sample, once."""
        return self.evaluation_loader("val")

    def test_dataloader(self) -> EvaluationLoader:
        """Return the loader of every test sample, once."""
        return self.evaluation_loader("test")

    def evaluation_loader(self, name: str) -> EvaluationLoader:
        """Return the loader of every sample of a split, once, as in evaluation."""
        split = self[name]
        sizes = [self.view.size or split.size(i) for i in range(len(split))]
        return EvaluationLoader(
            Samples(split, [self.view], self.seed, self.target, mean=self._mean and self._mean()),
            batch_sampler=EvaluationBatches(sizes, self.batch_size, self.rank, split.tile_of),
            collate_fn=Collate(self.batch_size),
            **worker_settings(self.num_workers, self.seed),
        )
