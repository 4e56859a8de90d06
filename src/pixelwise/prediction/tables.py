"""Tables of image-level predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from pixelwise.augmentation import CenterCrop
from pixelwise.data.io.nodata import filled
from pixelwise.files import read_cells, write_rows
from pixelwise.inference import Forward
from pixelwise.prediction.writer import MapOptions, PredictionCost


class ProbabilityWriter:
    """Writes `probabilities.csv`: file, predicted class, and the probability of each class."""

    IGNORED_KEYS: ClassVar[tuple[str, ...]] = ("window", "overlap", "batch_size", "probabilities")

    def __init__(
        self,
        output: Path,
        classes: Sequence[str],
        palette: Sequence[Sequence[int]] | None,
        view: CenterCrop,
        maps: MapOptions,
    ) -> None:
        self.file = output / "probabilities.csv"
        self.classes = list(classes)
        self.view = view
        self.reader, self.mean = maps.reader, maps.mean
        self.rows: dict[str, list[str]] = {}
        if self.file.exists():
            complete = (row for row in read_cells(self.file)[1:] if len(row) == len(self.classes) + 2)
            self.rows = {row[0]: row for row in complete}

    def done(self, name: str) -> bool:
        """Whether the table has a row for this image."""
        return name in self.rows

    def plan(self, name: str, file: Path) -> PredictionCost:
        """One window and the memory of the whole image."""
        (height, width), _ = self.reader.describe(file)
        disk = len(name) + 10 * (len(self.classes) + 2)
        return PredictionCost(windows=1, disk=disk, memory=8 * height * width)

    def predict(self, name: str, file: Path, forward: Forward, advance: Callable[[], None]) -> None:
        """Predict one image and add its row."""
        image, _ = self.view(self.read(file))
        logits = forward(torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None])
        label, probabilities = self.predict_labels(logits[0].cpu())
        self.rows[name] = [name, label, *(f"{p:.6f}" for p in probabilities.tolist())]
        advance()

    def read(self, file: Path) -> np.ndarray:
        """Read (H, W, C) pixels as in training."""
        image, nodata = self.reader.read(file)
        return image if nodata is None else filled(image, nodata, self.mean)

    def predict_labels(self, logits: Tensor) -> tuple[str, Tensor]:
        """Name of the most probable class, and the probabilities (K,), which sum to 1."""
        return self.classes[int(logits.argmax())], logits.softmax(0)

    def close(self) -> None:
        """Write the table."""
        rows = [["file", "class", *self.classes], *(self.rows[name] for name in sorted(self.rows))]
        write_rows(self.file, rows)


class TagWriter(ProbabilityWriter):
    """The same table for multi-label classification: the classes with a probability above 0.5."""

    def predict_labels(self, logits: Tensor) -> tuple[str, Tensor]:
        """Names of the predicted classes, separated by spaces, and the probability of each class (K,)."""
        names = [name for name, logit in zip(self.classes, logits.tolist(), strict=True) if logit > 0]
        return " ".join(names), logits.sigmoid()
