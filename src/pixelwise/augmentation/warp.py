"""Image and mask seen through a window: one resampling, aligned to the pixel.

Points are (x, y) in *edge* coordinates: pixel i covers [i, i + 1), an image covers [0, W] × [0, H], and
scaling is a plain product. OpenCV's *centre* coordinates, in which pixel i lies at i, are half a pixel less;
they occur in `_backward_matrix` only.

OpenCV drops the axis of a single channel, which is why results are reshaped.
"""

from __future__ import annotations

import cv2
import numpy as np

from pixelwise.augmentation.transform import Pair
from pixelwise.types import IGNORE

# Beyond the image its mirror image continues: a black frame would be a shape to learn and would shift the
# batch statistics. The mask says IGNORE there, so no pixel of it is ever a label.
IMAGE_BORDER = cv2.BORDER_REFLECT_101


def look(
    image: np.ndarray, mask: np.ndarray | None, linear: np.ndarray, centre: np.ndarray, size: tuple[int, int]
) -> Pair:
    """Look at an image and its mask through a window of `size` pixels.

    Flips, quarter turns and crops at whole pixels copy pixels exactly. Everything else is one affine
    resampling, bilinear for the image and nearest for the mask.

    Args:
        image: (H, W, C) uint8, uint16 or float32.
        mask: (H, W) uint8, or None.
        linear: (2, 2) matrix from offsets in the image to offsets in the window.
        centre: (x, y) of the point in the image that the middle of the window shows.
        size: (height, width) of the window.

    Returns:
        The image (height, width, C) and the mask (height, width), both contiguous and new; outside of the
        image the mask is `IGNORE`.
    """
    if moves_whole_pixels(linear):
        seen = _copy(image, linear, centre, size, IMAGE_BORDER)
        labels = None if mask is None else _copy(mask, linear, centre, size, cv2.BORDER_CONSTANT)
        return seen, labels

    region, corner = _region(image.shape, linear, centre, size)
    seen = _warp_image(np.ascontiguousarray(image[region]), linear, centre - corner, size)
    labels = None
    if mask is not None:
        labels = _warp_mask(np.ascontiguousarray(mask[region]), linear, centre - corner, size)
    return seen, labels


def _region(
    shape: tuple[int, ...], linear: np.ndarray, centre: np.ndarray, size: tuple[int, int]
) -> tuple[tuple[slice, slice], np.ndarray]:
    """The part of an image that a window needs, and its corner (x, y): tiles on disk are not read as a whole.

    It reaches as far inside of the image as the window looks beyond the edge, for the mirror image there, and
    a little farther, for the pixels between which those at its rim are interpolated.
    """
    extent = np.array(shape[1::-1])
    half = footprint(linear, size) / 2
    beyond = np.maximum(half - centre, half + centre - extent).clip(0).max()
    margin = beyond + 2 + np.ceil(1 / np.sqrt(abs(np.linalg.det(linear))))
    low = np.floor(centre - half - margin).clip(0).astype(int)
    high = np.minimum(np.ceil(centre + half + margin).astype(int), extent)
    return np.s_[low[1] : high[1], low[0] : high[0]], low


def moves_whole_pixels(linear: np.ndarray) -> bool:
    """Whether a (2, 2) matrix is made of flips and quarter turns alone."""
    magnitude = np.abs(linear)
    return np.array_equal(magnitude, np.eye(2)) or np.array_equal(magnitude, np.eye(2)[::-1])


def footprint(linear: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(width, height), in the image, of the upright box around a window of `size` = (height, width)."""
    return np.abs(np.linalg.inv(linear)) @ size[::-1]


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an image (H, W, C) to `size` = (h, w): by averaging areas if it shrinks, else bilinearly."""
    method = cv2.INTER_AREA if size[0] < image.shape[0] else cv2.INTER_LINEAR
    channels = image.shape[2]
    # OpenCV averages areas of at most four channels at a time.
    parts = [image] if channels <= 4 else cv2.split(image)
    resized = [cv2.resize(part, size[::-1], interpolation=method) for part in parts]
    return np.dstack(resized).reshape(*size, channels)


def _copy(
    array: np.ndarray, linear: np.ndarray, centre: np.ndarray, size: tuple[int, int], border: int
) -> np.ndarray:
    """Cut the window out and flip or turn it, without any arithmetic on pixels."""
    box = footprint(linear, size)
    left, top = np.rint(centre - box / 2).astype(int).tolist()
    width, height = box.astype(int).tolist()

    around = (-top, top + height - array.shape[0], -left, left + width - array.shape[1])
    above, below, before, after = (max(0, rows) for rows in around)
    if above or below or before or after:
        padded = cv2.copyMakeBorder(array, above, below, before, after, border, value=IGNORE)
        array = padded.reshape(*padded.shape[:2], *array.shape[2:])
    top, left = top + above, left + before
    window = array[top : top + height, left : left + width]

    if linear[0, 0] == 0:  # a quarter turn: rows become columns
        window = window.swapaxes(0, 1)
    mirror_x, mirror_y = linear.sum(axis=1) < 0
    if mirror_x:
        window = cv2.flip(window, 1)
    if mirror_y:
        window = cv2.flip(window, 0)
    return window.reshape(*size, *array.shape[2:]).copy()


def _warp_image(
    image: np.ndarray, linear: np.ndarray, centre: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """Resample an image, free of aliasing also where it is made much smaller."""
    height, width = image.shape[:2]
    zoom = np.sqrt(abs(np.linalg.det(linear)))
    if zoom < 0.5:
        # A bilinear sample sees two pixels a side and would skip the others: average k × k of them first.
        k = int(1 / zoom)
        image = resize(image, (max(1, height // k), max(1, width // k)))
    shrunk = np.array([image.shape[1] / width, image.shape[0] / height])
    matrix = _backward_matrix(linear / shrunk, centre * shrunk, size)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    seen = cv2.warpAffine(image, matrix, size[::-1], flags=flags, borderMode=IMAGE_BORDER)
    return seen.reshape(*size, -1)


def _warp_mask(mask: np.ndarray, linear: np.ndarray, centre: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resample an index mask: every label is one that stood there, and `IGNORE` beyond the edge."""
    matrix = _backward_matrix(linear, centre, size)
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(mask, matrix, size[::-1], flags=flags, borderValue=IGNORE)


def _backward_matrix(linear: np.ndarray, centre: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(2, 3) matrix from pixels of the window to pixels of the image, in OpenCV's centre coordinates."""
    backward = np.linalg.inv(linear)
    middle = np.array(size[::-1]) / 2
    offset = centre - 0.5 + backward @ (0.5 - middle)
    return np.column_stack([backward, offset])
