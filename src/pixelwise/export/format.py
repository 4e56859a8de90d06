"""What is exported, and what a format has to do with it."""

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
    """What is exported."""

    model: Predictor
    image: Tensor
    """Raw (1, C, H, W): what the export is tried on. Exported graphs take images of its dtype."""
    scores: Mapping[str, float]
    """Final scores of these weights by flat name, such as "test/miou"."""
    base_model: str | None = None
    """Where the encoder's weights came from, as the Hugging Face hub names it."""


class Format(Protocol):
    """A way to write a model. A new one is a class of this shape and a line in conf/export.yaml."""

    def write(self, subject: Subject, folder: Path) -> None:
        """Write the files into a folder that is empty."""
        ...

    def open(self, folder: Path) -> Network:
        """Load what was written, from the files alone."""
        ...
