"""Images whose labels and changes are easy to see."""

import numpy as np
from scipy import ndimage

PALETTE = np.array([[0, 0, 0], [200, 30, 60], [40, 220, 90], [120, 60, 250]], np.uint8)


def labelled_scene(height: int, width: int, cell: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """An image of large cells, with one colour for each label of the mask."""
    rng = np.random.default_rng(height * width)
    cells = rng.integers(0, len(PALETTE), (height // cell + 1, width // cell + 1), dtype=np.uint8)
    mask = cells.repeat(cell, axis=0).repeat(cell, axis=1)[:height, :width].copy()
    return PALETTE[mask], mask


def noise(height: int, width: int, channels: int = 3, dtype: type = np.uint8) -> np.ndarray:
    values = np.random.default_rng(7).integers(0, 256, (height, width, channels))
    return values.astype(dtype)


def waves(height: int, width: int, channels: int, dtype: type = np.float32) -> np.ndarray:
    """Slopes of about 10 per pixel: half a pixel of shift gives 5, OpenCV's steps of 1/32 pixel give 0.3."""
    rows, columns, phase = np.ogrid[:height, :width, :channels]
    return (128 + 60 * np.sin(rows / 7 + phase) + 60 * np.cos(columns / 8 - phase)).astype(dtype)


def interior(mask: np.ndarray, radius: int = 2) -> np.ndarray:
    """Mark pixels whose neighbourhood has one label, so that interpolation cannot mix two colours."""
    side = 2 * radius + 1
    same = ndimage.minimum_filter(mask, side) == ndimage.maximum_filter(mask, side)
    same[:radius] = same[-radius:] = same[:, :radius] = same[:, -radius:] = False  # unknown neighbours
    return same
