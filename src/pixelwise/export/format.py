"""The interface of export formats, and the object that they export."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor

from pixelwise.build.restore import Predictor

Network = Callable[[Tensor], Tensor]
"""Raw images (B, C, H, W) → logits."""


@dataclass(frozen=True)
class Subject:
    """A model to export, with a sample image and scores."""

    model: Predictor
    image: Tensor
    """Raw image (1, C, H, W) to try the export on. Exported graphs accept images of its dtype only."""
    scores: Mapping[str, float]
    """Final scores of these weights by flat name, such as "test/miou"."""
    base_model: str | None = None
    """Name of the encoder's pretrained weights on the Hugging Face hub."""


class Format(Protocol):
    """An export format. To add one, write a class like this and name it in conf/export.yaml."""

    def write(self, subject: Subject, folder: Path) -> None:
        """Write the files into an empty folder."""
        ...

    def open(self, folder: Path) -> Network:
        """Load the exported model from the files alone."""
        ...
