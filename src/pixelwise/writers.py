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

from pixelwise.augmentation import CenterCrop
from pixelwise.data.io.images import read_image, read_size
from pixelwise.data.io.rasters import RasterReader, gdal
from pixelwise.errors import UserError
from pixelwise.files import whole_files
from pixelwise.inference import Forward, Tiling

RASTERS = frozenset({".tif", ".tiff"})
"""Endings of the files that are read by bands and windows, and whose maps are GeoTIFFs."""


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
        self.maps = maps
        self.rows: dict[str, list[str]] = {}
        if self.file.exists():
            with self.file.open(newline="") as stream:
                self.rows = {row[0]: row for row in list(csv.reader(stream))[1:]}

    def done(self, name: str) -> bool:
        """There is a row for it."""
        return name in self.rows

    def plan(self, name: str, file: Path) -> Plan:
        """One image at a time, at its own size."""
        with self._opened(file) as raster:
            height, width = read_size(file) if raster is None else raster.shape
        return Plan(windows=1, disk=len(name) + 10 * (len(self.classes) + 2), memory=8 * height * width)

    def predict(self, name: str, file: Path, forward: Forward, advance: Callable[[], None]) -> None:
        """Add a row."""
        image, _ = self.view(self.read(file))
        logits = forward(torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None])
        answer, probabilities = self.decide(logits[0].cpu())
        self.rows[name] = [name, answer, *(f"{p:.6f}" for p in probabilities.tolist())]
        advance()

    def read(self, file: Path) -> np.ndarray:
        """(H, W, C) pixels; of a TIFF the bands that were chosen."""
        with self._opened(file) as raster:
            if raster is None:
                return read_image(file, self.channels)
            pixels = raster.read(0, 0, *raster.shape)
            if pixels is None:
                raise UserError(f"{file}: every pixel is nodata", found=f"nodata={raster.nodata}")
            return pixels

    @contextmanager
    def _opened(self, file: Path) -> Iterator[RasterReader | None]:
        """The raster, where there are bands to choose or more of them than an image has; else None."""
        maps = self.maps
        if maps is None or not is_raster(file) or (maps.bands is None and self.channels <= 4):
            yield None
            return
        with gdal(), RasterReader(file, self.channels, maps.bands, maps.nodata) as raster:
            yield raster

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


def is_raster(file: Path) -> bool:
    """Whether a file is read by bands and windows."""
    return file.suffix.lower() in RASTERS
