"""Crop and warp an image and its mask with one resampling, exactly aligned.

Points are (x, y) in *edge* coordinates: pixel i covers [i, i + 1), an image covers [0, W] × [0, H], and
scaling is a multiplication. OpenCV's *centre* coordinates, in which pixel i is at i, are half a pixel less.
Only `_backward_matrix` uses them.

OpenCV drops the axis of a single channel, therefore results are reshaped.
"""

from __future__ import annotations

import cv2
import numpy as np

from pixelwise.augmentation.transform import Pair
from pixelwise.types import IGNORE

# Outside the image, continue with its mirror image: a model would learn a black frame, and the frame would
# shift the batch statistics. The mask is IGNORE there.
IMAGE_BORDER = cv2.BORDER_REFLECT_101


def crop_and_warp(
    image: np.ndarray, mask: np.ndarray | None, linear: np.ndarray, centre: np.ndarray, size: tuple[int, int]
) -> Pair:
    """Crop a window of `size` pixels from an image and its mask, transformed by a linear map.

    Flips, quarter turns and crops at whole pixels copy pixels exactly. All other maps are one affine
    resampling, bilinear for the image and nearest-neighbour for the mask.

    Args:
        image: (H, W, C) uint8, uint16 or float32.
        mask: (H, W) uint8, or None.
        linear: (2, 2) matrix from offsets in the image to offsets in the window.
        centre: (x, y) of the point in the image that becomes the centre of the window.
        size: (height, width) of the window.

    Returns:
        The image (height, width, C) and the mask (height, width), as new contiguous arrays; outside the
        image the mask is `IGNORE`.
    """
    new_mask = None if mask is None else crop_mask(mask, linear, centre, size)
    if moves_whole_pixels(linear):
        return _copy(image, linear, centre, size, IMAGE_BORDER), new_mask
    region, corner = _region(image.shape, linear, centre, size)
    return _warp_image(np.ascontiguousarray(image[region]), linear, centre - corner, size), new_mask


def crop_mask(mask: np.ndarray, linear: np.ndarray, centre: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the mask of `crop_and_warp` alone."""
    if moves_whole_pixels(linear):
        return _copy(mask, linear, centre, size, cv2.BORDER_CONSTANT)
    region, corner = _region(mask.shape, linear, centre, size)
    return _warp_mask(np.ascontiguousarray(mask[region]), linear, centre - corner, size)


def _region(
    shape: tuple[int, ...], linear: np.ndarray, centre: np.ndarray, size: tuple[int, int]
) -> tuple[tuple[slice, slice], np.ndarray]:
    """Return the part of an image that a window needs, and its corner (x, y), to read less of tiles on disk.

    If the window extends beyond the image by some distance, the part extends by the same distance into the
    image, for the mirror image. A small margin is added for the interpolation at the border.
    """
    extent = np.array(shape[1::-1])
    half = footprint(linear, size) / 2
    beyond = np.maximum(half - centre, half + centre - extent).clip(0).max()
    margin = beyond + 2 + np.ceil(1 / np.sqrt(abs(np.linalg.det(linear))))
    low = np.floor(centre - half - margin).clip(0).astype(int)
    high = np.minimum(np.ceil(centre + half + margin).astype(int), extent)
    return np.s_[low[1] : high[1], low[0] : high[0]], low


def moves_whole_pixels(linear: np.ndarray) -> bool:
    """Whether a (2, 2) matrix consists of flips and quarter turns only."""
    magnitude = np.abs(linear)
    return np.array_equal(magnitude, np.eye(2)) or np.array_equal(magnitude, np.eye(2)[::-1])


def footprint(linear: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return (width, height), in the image, of the bounding box of a window of `size` = (height, width)."""
    return np.abs(np.linalg.inv(linear)) @ size[::-1]


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an image (H, W, C) to `size` = (h, w): by area averaging if it shrinks, else bilinearly."""
    method = cv2.INTER_AREA if size[0] < image.shape[0] else cv2.INTER_LINEAR
    channels = image.shape[2]
    # OpenCV's area averaging accepts at most four channels.
    parts = [image] if channels <= 4 else cv2.split(image)
    resized = [cv2.resize(part, size[::-1], interpolation=method) for part in parts]
    return np.dstack(resized).reshape(*size, channels)


def _copy(
    array: np.ndarray, linear: np.ndarray, centre: np.ndarray, size: tuple[int, int], border: int
) -> np.ndarray:
    """Cut the window out, and flip or turn it, without interpolation."""
    box = footprint(linear, size)
    left, top = np.rint(centre - box / 2).astype(int).tolist()
    width, height = box.astype(int).tolist()

    overhang = (-top, top + height - array.shape[0], -left, left + width - array.shape[1])
    above, below, before, after = (max(0, rows) for rows in overhang)
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
    """Resample an image, without aliasing even if it becomes much smaller."""
    height, width = image.shape[:2]
    zoom = np.sqrt(abs(np.linalg.det(linear)))
    if zoom < 0.5:
        # Bilinear interpolation uses 2 × 2 pixels and would skip the others: average k × k pixels first.
        k = int(1 / zoom)
        image = resize(image, (max(1, height // k), max(1, width // k)))
    shrunk = np.array([image.shape[1] / width, image.shape[0] / height])
    matrix = _backward_matrix(linear / shrunk, centre * shrunk, size)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(image, matrix, size[::-1], flags=flags, borderMode=IMAGE_BORDER)
    return warped.reshape(*size, -1)


def _warp_mask(mask: np.ndarray, linear: np.ndarray, centre: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resample an index mask by nearest neighbour, with `IGNORE` outside of it."""
    matrix = _backward_matrix(linear, centre, size)
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(mask, matrix, size[::-1], flags=flags, borderValue=IGNORE)


def _backward_matrix(linear: np.ndarray, centre: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the (2, 3) matrix from window to image pixels, in OpenCV's centre coordinates."""
    backward = np.linalg.inv(linear)
    middle = np.array(size[::-1]) / 2
    offset = centre - 0.5 + backward @ (0.5 - middle)
    return np.column_stack([backward, offset])
