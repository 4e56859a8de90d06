"""Drawing images with their labels, as arrays."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

from pixelwise.errors import UserError
from pixelwise.files import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LARGEST = 400
"""Side in pixels; images of at least twice this side are subsampled for mosaics."""


def colours(count: int, palette: Sequence[Sequence[int]] | None = None) -> np.ndarray:
    """A uint8 colour table (256, 3): the palette or distinct hues, and white for ignored pixels.

    It is longer for more classes, which only images have.
    """
    table = np.full((max(256, count), 3), 255, np.uint8)
    for index in range(count):
        hue = (index * 0.61803398875) % 1.0  # the golden angle gives neighbours distinct hues
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
    """Blend the class colours with the image: (H, W, 3) uint8 and (H, W) → (H, W, 3) uint8."""
    return np.round(image * (1 - opacity) + table[mask] * opacity).astype(np.uint8)


def rgb(image: np.ndarray) -> np.ndarray:
    """Image (H, W, C) in [0, 1] → (H, W, 3) uint8 for display: the first three bands, or one as grey."""
    bands = image[..., :3] if image.shape[-1] >= 3 else np.repeat(image[..., :1], 3, axis=-1)
    return np.round(np.clip(bands, 0, 1) * 255).astype(np.uint8)


def mosaic(tiles: Sequence[np.ndarray]) -> np.ndarray:
    """Arrange tiles (H, W, 3) uint8 in a nearly square grid on white; the largest tile sets the cell size."""
    gap = 4
    height, width = (max(tile.shape[axis] for tile in tiles) for axis in (0, 1))
    columns = max(1, round(math.sqrt(len(tiles) * height / width)))
    rows = math.ceil(len(tiles) / columns)
    canvas = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, 3), 255, np.uint8)
    for index, tile in enumerate(tiles):
        y, x = gap + index // columns * (height + gap), gap + index % columns * (width + gap)
        canvas[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
    return canvas


def in_words(labels: np.ndarray, classes: Sequence[str]) -> str:
    """Class names of an image's labels: one class index (), or 0 and 1 for each class (K,)."""
    indices = [int(labels)] if labels.ndim == 0 else np.flatnonzero(labels == 1).tolist()
    return ", ".join(classes[index] for index in indices) or "nothing"


def captioned(image: np.ndarray, text: str) -> np.ndarray:
    """Put a line of text above an image; the image is padded with white if the text is wider."""
    style = (cv2.FONT_HERSHEY_SIMPLEX, 0.42)
    wider = max(0, cv2.getTextSize(text, *style, 1)[0][0] + 8 - image.shape[1])
    image = np.pad(image, ((18, 0), (0, wider), (0, 0)), constant_values=255)
    cv2.putText(image, text, (3, 13), *style, (0, 0, 0), 1, cv2.LINE_AA)
    return image


def save_picture(picture: Image.Image | Figure, file: Path) -> None:
    """Write an image or a figure, in the format of the file's suffix, completely or not at all."""
    with whole_file(file) as part:
        if isinstance(picture, Image.Image):
            picture.save(part, quality=88)  # of a JPEG
        else:
            picture.savefig(part)
