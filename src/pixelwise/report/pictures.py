"""Images with their labels drawn on them."""

from __future__ import annotations

import colorsys
import logging
import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import lightning as L
import numpy as np
from PIL import Image
from torch import Tensor

from pixelwise.errors import UserError
from pixelwise.module import Module
from pixelwise.report.onlooker import Onlooker, batches_of
from pixelwise.types import IGNORE, Batch

log = logging.getLogger(__name__)

LARGEST = 400
"""Images of twice this side and more are thinned out for the mosaics."""


def colours(count: int, palette: Sequence[Sequence[int]] | None = None) -> np.ndarray:
    """A (256, 3) uint8 colour table: the palette, or hues far apart; white for ignored pixels."""
    table = np.full((256, 3), 255, np.uint8)
    for index in range(count):
        hue = (index * 0.61803398875) % 1.0  # the golden angle keeps neighbours apart
        table[index] = [round(255 * v) for v in colorsys.hsv_to_rgb(hue, 0.75, 0.95)]
    if palette is not None:
        if isinstance(palette, str) or len(palette) < count or not all(map(_is_colour, palette)):
            expected = f"[red, green, blue], each 0…255, for each of the {count} classes; or null"
            raise UserError("data.palette", found=palette, expected=expected)
        table[: len(palette)] = np.asarray(palette, np.uint8)
    return table


def _is_colour(colour: object) -> bool:
    return (
        isinstance(colour, Sequence)
        and len(colour) == 3
        and all(isinstance(part, int) and 0 <= part <= 255 for part in colour)
    )


def overlay(image: np.ndarray, mask: np.ndarray, table: np.ndarray, opacity: float = 0.5) -> np.ndarray:
    """The class colours over the image: (H, W, 3) uint8 and (H, W) → (H, W, 3) uint8."""
    return np.round(image * (1 - opacity) + table[mask] * opacity).astype(np.uint8)


def rgb(image: np.ndarray) -> np.ndarray:
    """(H, W, C) of any band count in [0, 1] → (H, W, 3) uint8 for display: the first three bands, or grey."""
    bands = image[..., :3] if image.shape[-1] >= 3 else np.repeat(image[..., :1], 3, axis=-1)
    return np.round(np.clip(bands, 0, 1) * 255).astype(np.uint8)


def mosaic(tiles: Sequence[np.ndarray], gap: int = 4) -> np.ndarray:
    """Tiles (H, W, 3) uint8 in a nearly square grid on white; the largest gives the cells their size."""
    height, width = (max(tile.shape[axis] for tile in tiles) for axis in (0, 1))
    columns = max(1, round(math.sqrt(len(tiles) * height / width)))
    rows = math.ceil(len(tiles) / columns)
    canvas = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, 3), 255, np.uint8)
    for index, tile in enumerate(tiles):
        y, x = gap + index // columns * (height + gap), gap + index % columns * (width + gap)
        canvas[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
    return canvas


def in_words(labels: np.ndarray, classes: Sequence[str]) -> str:
    """The names of an image's labels: one class index (), or yes and no for each class (K,)."""
    indices = [int(labels)] if labels.ndim == 0 else np.flatnonzero(labels == 1).tolist()
    return ", ".join(classes[index] for index in indices) or "nothing"


def captioned(image: np.ndarray, text: str) -> np.ndarray:
    """The image under a line of text, on white where the text is wider."""
    style = (cv2.FONT_HERSHEY_SIMPLEX, 0.42)
    wider = max(0, cv2.getTextSize(text, *style, 1)[0][0] + 8 - image.shape[1])
    image = np.pad(image, ((18, 0), (0, wider), (0, 0)), constant_values=255)
    cv2.putText(image, text, (3, 13), *style, (0, 0, 0), 1, cv2.LINE_AA)
    return image


class Pictures(Onlooker):
    """Draw what the network is fed and what it answers, into the run folder's `pictures/`.

    `batch_<phase>.png`: the first training batch of each phase, augmented, with its labels.
    `<split>.png`: samples of the final evaluation, with truth and prediction side by side.

    Args:
        classes: names of the classes.
        palette: their colours, or None for a default.
        most: number of samples shown.
    """

    def __init__(
        self, classes: Sequence[str], palette: Sequence[Sequence[int]] | None = None, most: int = 16
    ) -> None:
        self.classes = tuple(classes)
        self.table = colours(len(classes), palette)
        self.most = most
        self._phase: str | None = None
        self._answers: list[np.ndarray] = []

    def on_train_batch_start(
        self, trainer: L.Trainer, module: L.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Draw the batch that is about to be trained on, where its phase is a new one."""
        assert isinstance(module, Module)
        if module.phase != self._phase:
            self._phase = module.phase
            self._save(trainer, f"batch_{module.phase}", self._tiles(module, batch, self.most))

    def on_batch(
        self, trainer: L.Trainer, module: Module, split: str, logits: Tensor, batch: Batch, index: int
    ) -> None:
        """Keep samples from all over the split, where this is the final evaluation."""
        total = batches_of(trainer, split)
        if trainer.state.fn != "fit" and index % math.ceil(total / self.most) == 0:
            self._answers += self._tiles(module, batch, math.ceil(self.most / total), logits)

    def on_end(self, trainer: L.Trainer, module: Module, split: str) -> None:
        """Draw what was kept."""
        if self._answers:
            self._save(trainer, split, self._answers)

    def _tiles(
        self, module: Module, batch: Batch, most: int, logits: Tensor | None = None
    ) -> list[np.ndarray]:
        """Images with their labels and, if there are logits, the predictions."""
        count = min(most, int(batch["valid"].sum()))
        step = max(1, max(batch["image"].shape[-2:]) // LARGEST)
        pixels = module.model.normalize.undo(batch["image"][:count, :, ::step, ::step])
        images = pixels.float().cpu().permute(0, 2, 3, 1).numpy()
        answers = [batch["target"]]
        if logits is not None:
            answers.append(module.decide(logits))
        labels = np.stack([answer[:count].cpu().numpy().astype(np.uint8) for answer in answers], axis=1)
        labels = labels[..., ::step, ::step] if labels.ndim == 4 else labels
        return [self.tile(rgb(image), label) for image, label in zip(images, labels, strict=True)]

    def tile(self, image: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """An image with its labels (truth, then prediction): as masks beside it, or as names above it."""
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
            file.parent.mkdir(exist_ok=True)
            Image.fromarray(mosaic(tiles[: self.most])).save(file)
            log.info("picture: %s", file)
