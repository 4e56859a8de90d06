"""Where predictions go: the contract, and the table of those that are one row an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol

from pixelwise.data.io.images import ImageReader
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
        reader: how image files are read, as for training; None takes them as they are shown.
        mean: of each channel, in units of `pixelwise.models.Normalize`: what nodata pixels become.
    """

    tiling: Tiling
    probabilities: bool = False
    reader: ImageReader | None = None
    mean: Sequence[float] | None = None


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
