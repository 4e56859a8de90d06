"""Where predictions go: the contract, and the table of those that are one row an image."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from pixelwise.augmentation import CentreView
from pixelwise.data.images import read_image, read_size
from pixelwise.inference import Forward, Tiling


class Plan(NamedTuple):
    """What a prediction is going to take."""

    windows: int
    disk: int
    """Bytes at most."""
    memory: int
    """Bytes besides those of the network."""


@dataclass(frozen=True)
class MapOptions:
    """How maps are made.

    Args:
        tiling: windows of images that are larger.
        probabilities: write the probability of each class as well.
        bands: which bands of a TIFF are the image's, counted from 1; None takes all.
        nodata: a value of a TIFF that says nothing, besides what the file says of itself.
    """

    tiling: Tiling
    probabilities: bool = False
    bands: Sequence[int] | None = None
    nodata: float | None = None


class Writer(Protocol):
    """Predicts images and keeps the result; a task's config names a class of this shape."""

    IDLE: ClassVar[tuple[str, ...]]
    """Keys of conf/predict.yaml that have no effect here."""

    def done(self, name: str) -> bool:
        """Whether this image's prediction is complete already."""
        ...

    def plan(self, name: str, file: Path) -> Plan:
        """What is to come, from the file's header; raises `UserError` for one that cannot be predicted."""
        ...

    def predict(self, name: str, file: Path, forward: Forward, advance: Callable[[], None]) -> None:
        """Predict one image and write the result, whole or not at all.

        Args:
            name: path of the image below the common folder, without suffix.
            file: the image.
            forward: raw images → logits.
            advance: to be called after each window.
        """
        ...

    def close(self) -> None:
        """Called once, also when the job is interrupted."""
        ...


class ProbabilityWriter:
    """`probabilities.csv`: file, predicted class, and the probability of each class."""

    IDLE = ("window", "overlap", "batch_size", "probabilities", "bands", "nodata")

    def __init__(
        self,
        output: Path,
        classes: Sequence[str],
        palette: Sequence[Sequence[int]] | None,
        channels: int,
        view: CentreView,
        maps: MapOptions | None = None,
    ) -> None:
        self.file = output / "probabilities.csv"
        self.classes = list(classes)
        self.channels = channels
        self.view = view
        self.rows: dict[str, list[str]] = {}
        if self.file.exists():
            with self.file.open(newline="") as stream:
                self.rows = {row[0]: row for row in list(csv.reader(stream))[1:]}

    def done(self, name: str) -> bool:
        """There is a row for it."""
        return name in self.rows

    def plan(self, name: str, file: Path) -> Plan:
        """One image at a time, at its own size."""
        height, width = read_size(file)
        return Plan(windows=1, disk=len(name) + 10 * (len(self.classes) + 2), memory=8 * height * width)

    def predict(self, name: str, file: Path, forward: Forward, advance: Callable[[], None]) -> None:
        """Add a row."""
        image, _ = self.view(read_image(file, self.channels))
        logits = forward(torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None])
        answer, probabilities = self.decide(logits[0].cpu())
        self.rows[name] = [name, answer, *(f"{p:.6f}" for p in probabilities.tolist())]
        advance()

    def decide(self, logits: Tensor) -> tuple[str, Tensor]:
        """The class's name and all probabilities (K,), which sum to 1."""
        return self.classes[int(logits.argmax())], logits.softmax(0)

    def close(self) -> None:
        """Write the table at once."""
        rows = [["file", "class", *self.classes], *(self.rows[name] for name in sorted(self.rows))]
        with whole_files(self.file.with_suffix(""), [".csv"]) as part:  # noqa: SIM117, replaced when closed
            with part[".csv"].open("w", newline="") as stream:
                csv.writer(stream).writerows(rows)


class TagWriter(ProbabilityWriter):
    """The same table for several classes at once: all whose own probability exceeds one half."""

    def decide(self, logits: Tensor) -> tuple[str, Tensor]:
        """The classes' names with a space between, and the probability of each (K,)."""
        found = [name for name, logit in zip(self.classes, logits.tolist(), strict=True) if logit > 0]
        return " ".join(found), logits.sigmoid()


@contextmanager
def whole_files(stem: Path, suffixes: Sequence[str]) -> Iterator[dict[str, Path]]:
    """Where to write files that appear, in this order, when the block ends well; else nothing is left."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    parts = {suffix: stem.with_name(f"{stem.name}{suffix}.part") for suffix in suffixes}
    try:
        yield parts
        for suffix, part in parts.items():
            part.replace(stem.with_name(f"{stem.name}{suffix}"))
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
