"""Pictures of training batches and predictions."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path

import lightning as L
import numpy as np
from PIL import Image
from torch import Tensor

from pixelwise.kinds import Colour, Count
from pixelwise.reports.drawing import (
    LARGEST,
    captioned,
    colours,
    in_words,
    mosaic,
    overlay,
    rgb,
    save_picture,
)
from pixelwise.training.callbacks.evaluation import EvaluationCallback, batches_of, pixels_of
from pixelwise.training.module import Module
from pixelwise.types import IGNORE, Batch

log = logging.getLogger(__name__)


class Pictures(EvaluationCallback):
    """Draw training batches and predictions into `pictures/` of the run folder.

    `batch_<phase>.png`: the first training batch of each phase, augmented and mixed, with its labels. Soft
    targets are drawn as the two targets that they are blended from, with their shares.
    `<split>.png`: samples of the final evaluation, with ground truth and prediction side by side.

    Args:
        classes: names of the classes.
        palette: colours of the classes; None for the default colours.
        most: largest number of samples in a picture.
    """

    def __init__(
        self, classes: Sequence[str], palette: Sequence[Colour] | None = None, most: Count = 16
    ) -> None:
        self.classes = tuple(classes)
        self.table = colours(len(classes), palette)
        self.most = most
        self._phase: str | None = None
        self._kept: list[np.ndarray] = []

    def on_train_batch_start(
        self, trainer: L.Trainer, module: L.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Draw the first batch of each phase."""
        assert isinstance(module, Module)
        if module.phase != self._phase:
            self._phase = module.phase
            self._save(trainer, f"batch_{module.phase}", self._tiles(module, batch, self.most))

    def on_evaluation_batch(
        self, trainer: L.Trainer, module: Module, split: str, logits: Tensor, batch: Batch, index: int
    ) -> None:
        """Keep evenly spread samples of the final evaluation."""
        total = batches_of(trainer, split)
        if trainer.state.fn != "fit" and index % math.ceil(total / self.most) == 0:
            self._kept += self._tiles(module, batch, math.ceil(self.most / total), logits)

    def on_evaluation_end(self, trainer: L.Trainer, module: Module, split: str) -> None:
        """Draw the kept samples."""
        if self._kept:
            self._save(trainer, split, self._kept)

    def _tiles(
        self, module: Module, batch: Batch, most: int, logits: Tensor | None = None
    ) -> list[np.ndarray]:
        """Return the images of a batch with their labels and, if logits are given, the predictions."""
        count = min(most, int(batch["valid"].sum()))
        images = pixels_of(module, batch["image"][:count], batch["target"])
        step = max(1, max(images.shape[1:3]) // LARGEST)
        images = images[:, ::step, ::step]
        columns, shares = [batch["target"]], None
        if logits is not None:
            columns.append(module.predict_labels(logits))
        elif "second" in batch:
            columns.append(batch["second"])
            shares = batch["share"][:count].tolist()
        labels = np.stack([column[:count].cpu().numpy().astype(np.uint8) for column in columns], axis=1)
        labels = labels[..., ::step, ::step] if labels.ndim == 4 else labels
        tiles = [self.tile(rgb(image), label) for image, label in zip(images, labels, strict=True)]
        if shares is None:
            return tiles
        if labels.ndim == 4:
            return [captioned(tile, f"{s:.2f} + {1 - s:.2f}") for tile, s in zip(tiles, shares, strict=True)]
        return [
            captioned(rgb(image), self._in_shares(label, share))
            for image, label, share in zip(images, labels, shares, strict=True)
        ]

    def _in_shares(self, labels: np.ndarray, share: float) -> str:
        """Names of two targets with the share of the first: "0.70 cat + 0.30 dog"."""
        first, second = (in_words(target, self.classes) for target in labels)
        return f"{share:.2f} {first} + {1 - share:.2f} {second}"

    def tile(self, image: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return an image with its labels (truth, then prediction): masks beside it or names above it."""
        if labels.ndim == 1:
            return captioned(image, " > ".join(self.classes[label] for label in labels))
        if labels.ndim == 2:
            for sign, row in reversed([*zip(("", "> "), labels, strict=False)]):
                image = captioned(image, sign + in_words(row, self.classes))
            return image
        masks = [
            np.where(mask[..., None] == IGNORE, 255, overlay(image, mask, self.table)).astype(np.uint8)
            for mask in labels
        ]
        return np.concatenate([image, *masks], axis=1)

    def _save(self, trainer: L.Trainer, name: str, tiles: list[np.ndarray]) -> None:
        if trainer.is_global_zero:
            file = Path(trainer.default_root_dir) / "pictures" / f"{name}.png"
            save_picture(Image.fromarray(mosaic(tiles[: self.most])), file)
            log.info("picture: %s", file)
