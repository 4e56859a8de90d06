"""Predictions of whole images, as a table."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pixelwise.augmentation import CenterCrop
from pixelwise.data.io.images import ImageReader
from pixelwise.data.io.nodata import filled
from pixelwise.files import write_rows
from pixelwise.inference import Forward
from pixelwise.prediction.writer import MapOptions, Plan


class ProbabilityWriter:
    """`probabilities.csv`: file, predicted class, and the probability of each class."""

    IDLE = ("window", "overlap", "batch_size", "probabilities")

    def __init__(
        self,
        output: Path,
        classes: Sequence[str],
        palette: Sequence[Sequence[int]] | None,
        channels: int,
        view: CenterCrop,
        maps: MapOptions | None = None,
    ) -> None:
        self.file = output / "probabilities.csv"
        self.classes = list(classes)
        self.channels = channels
        self.view = view
        self.reader = (maps and maps.reader) or ImageReader(channels)
        self.mean = maps.mean if maps else None
        self.rows: dict[str, list[str]] = {}
        if self.file.exists():
            with self.file.open(newline="") as stream:
                self.rows = {row[0]: row for row in list(csv.reader(stream))[1:]}

    def done(self, name: str) -> bool:
        """There is a row for it."""
        return name in self.rows

    def plan(self, name: str, file: Path) -> Plan:
        """One image at a time, at its own size."""
        (height, width), _ = self.reader.describe(file)
        return Plan(windows=1, disk=len(name) + 10 * (len(self.classes) + 2), memory=8 * height * width)

    def predict(self, name: str, file: Path, forward: Forward, advance: Callable[[], None]) -> None:
        """Add a row."""
        image, _ = self.view(self.read(file))
        logits = forward(torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None])
        answer, probabilities = self.decide(logits[0].cpu())
        self.rows[name] = [name, answer, *(f"{p:.6f}" for p in probabilities.tolist())]
        advance()

    def read(self, file: Path) -> np.ndarray:
        """(H, W, C) pixels as training read them."""
        image, nothing = self.reader.read(file)
        return image if nothing is None else filled(image, nothing, self.mean)

    def decide(self, logits: Tensor) -> tuple[str, Tensor]:
        """The class's name and all probabilities (K,), which sum to 1."""
        return self.classes[int(logits.argmax())], logits.softmax(0)

    def close(self) -> None:
        """Write the table at once."""
        rows = [["file", "class", *self.classes], *(self.rows[name] for name in sorted(self.rows))]
        write_rows(self.file, rows)


class TagWriter(ProbabilityWriter):
    """The same table for several classes at once: all whose own probability exceeds one half."""

    def decide(self, logits: Tensor) -> tuple[str, Tensor]:
        """The classes' names with a space between, and the probability of each (K,)."""
        found = [name for name, logit in zip(self.classes, logits.tolist(), strict=True) if logit > 0]
        return " ".join(found), logits.sigmoid()
