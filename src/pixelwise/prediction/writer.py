"""The interface of prediction writers, and the options of maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol

from pixelwise.data.io.images import ImageReader
from pixelwise.inference import Forward, Tiling


class PredictionCost(NamedTuple):
    """Expected cost of predicting one image."""

    windows: int
    disk: int
    """Upper bound in bytes."""
    memory: int
    """Bytes in addition to those of the network."""


@dataclass(frozen=True)
class MapOptions:
    """Options of maps.

    Args:
        tiling: how an image is divided into windows; None gives the network the whole image, resized as in
            evaluation.
        probabilities: also write the probability of each class.
        reader: reads image files as in training.
        mean: mean of each channel in units of `pixelwise.models.Normalize`; it replaces nodata pixels.
    """

    tiling: Tiling | None
    probabilities: bool
    reader: ImageReader
    mean: Sequence[float] | None


class Writer(Protocol):
    """Predicts images and writes the results; the config of a task names a class with this interface."""

    IGNORED_KEYS: ClassVar[tuple[str, ...]]
    """Keys of conf/predict.yaml that have no effect on this writer."""

    def done(self, name: str) -> bool:
        """Whether this image's prediction is complete already."""
        ...

    def plan(self, name: str, file: Path) -> PredictionCost:
        """Cost of an image, from the file's header; raises `UserError` if it cannot be predicted."""
        ...

    def predict(self, name: str, file: Path, forward: Forward, advance: Callable[[], None]) -> None:
        """Predict one image and write the result, completely or not at all.

        Args:
            name: path of the image below the common folder, without suffix.
            file: the image file.
            forward: computes raw images → logits.
            advance: called after each window.
        """
        ...

    def close(self) -> None:
        """Finish writing; called once, also when the job is interrupted."""
        ...
