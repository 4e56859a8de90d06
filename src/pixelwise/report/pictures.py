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

from pixelwise.module import Module
from pixelwise.types import IGNORE, Batch

log = logging.getLogger(__name__)


def colours(count: int, palette: Sequence[Sequence[int]] | None = None) -> np.ndarray:
    """A (256, 3) uint8 colour table: the palette, or hues far apart; white for ignored pixels."""
    table = np.full((256, 3), 255, np.uint8)
    for index in range(count):
        hue = (index * 0.61803398875) % 1.0  # the golden angle keeps neighbours apart
        table[index] = [round(255 * v) for v in colorsys.hsv_to_rgb(hue, 0.75, 0.95)]
    if palette is not None:
        table[: len(palette)] = np.asarray(palette, np.uint8)
    return table


def overlay(image: np.ndarray, mask: np.ndarray, table: np.ndarray, opacity: float = 0.5) -> np.ndarray:
    """The class colours over the image: (H, W, 3) uint8 and (H, W) → (H, W, 3) uint8."""
    return np.round(image * (1 - opacity) + table[mask] * opacity).astype(np.uint8)


def rgb(image: np.ndarray) -> np.ndarray:
    """(H, W, C) of any band count in [0, 1] → (H, W, 3) uint8 for display: the first three bands, or grey."""
    bands = image[..., :3] if image.shape[-1] >= 3 else np.repeat(image[..., :1], 3, axis=-1)
    return np.round(np.clip(bands, 0, 1) * 255).astype(np.uint8)


def mosaic(tiles: Sequence[np.ndarray], gap: int = 4) -> np.ndarray:
    """Tiles of one size, (H, W, 3) uint8, in a nearly square grid on white."""
    height, width = tiles[0].shape[:2]
    columns = math.ceil(math.sqrt(len(tiles) * height / width))
    rows = math.ceil(len(tiles) / columns)
    canvas = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, 3), 255, np.uint8)
    for index, tile in enumerate(tiles):
        y, x = gap + index // columns * (height + gap), gap + index % columns * (width + gap)
        canvas[y : y + height, x : x + width] = tile
    return canvas


def labelled(image: np.ndarray, target: np.ndarray, table: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """The image beside its mask, or under the name of its class."""
    if target.ndim == 2:
        mask = overlay(image, target, table)
        mask[target == IGNORE] = 255
        return np.concatenate([image, mask], axis=1)
    caption = np.full((18, image.shape[1], 3), 255, np.uint8)
    cv2.putText(caption, classes[int(target)], (3, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([caption, image], axis=0)


class BatchPictures(L.Callback):
    """Save what the network is fed: `pictures/batch_<phase>.png`, before each phase's first step.

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
        self._drawn: str | None = None

    def on_train_batch_start(
        self, trainer: L.Trainer, module: L.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Draw the batch that is about to be trained on."""
        assert isinstance(module, Module)
        if module.phase == self._drawn or not trainer.is_global_zero:
            return
        self._drawn = module.phase
        images = module.model.normalize.undo(batch["image"][: self.most]).float().cpu().permute(0, 2, 3, 1)
        targets = batch["target"][: self.most].cpu().numpy().astype(np.uint8)
        tiles = [
            labelled(rgb(image.numpy()), target, self.table, self.classes)
            for image, target in zip(images, targets, strict=True)
        ]
        file = Path(trainer.default_root_dir) / "pictures" / f"batch_{self._drawn}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(mosaic(tiles)).save(file)
        log.info("first batch of phase %r: %s", self._drawn, file)
