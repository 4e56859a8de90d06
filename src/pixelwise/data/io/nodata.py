"""What nodata means, once for training, evaluation, audit and prediction.

A pixel is nodata where all its bands hold the nodata value, where any band is not finite, and where the mask
or the alpha band of a TIFF leaves it out. The user's `nodata` replaces the file's. Its label is ignored, and
the network sees the mean of the training images there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pixelwise.types import FULL_SCALE


def nodata_at(pixels: np.ndarray, nodata: float | None) -> np.ndarray:
    """Which pixels are nodata by their values.

    Args:
        pixels: (H, W, C) as stored.
        nodata: the value that says nothing; None where there is none.

    Returns:
        (H, W) bool.
    """
    nothing = np.zeros(pixels.shape[:2], bool)
    if nodata is not None:
        nothing |= (pixels == nodata).all(-1)
    if pixels.dtype.kind == "f":  # one NaN would spoil a whole batch
        nothing |= ~np.isfinite(pixels).all(-1)
    return nothing


def filled(pixels: np.ndarray, nothing: np.ndarray, mean: Sequence[float] | None = None) -> np.ndarray:
    """Pixels with a mean where they are nodata.

    Args:
        pixels: (H, W, C) in any number type.
        nothing: (H, W) bool.
        mean: of each channel in units of `pixelwise.models.Normalize`, integers being rounded to the nearest
            stored value. None takes the mean of the other pixels, so that what interpolates across the edge
            of a gap sees nothing strange.

    Returns:
        (H, W, C) in the same type; the array itself where nothing is nodata.
    """
    if not nothing.any():
        return pixels
    if mean is None:
        valid = pixels[~nothing]
        values = valid.mean(0, dtype=np.float64) if len(valid) else np.zeros(pixels.shape[-1])
    else:
        values = np.asarray(mean, np.float64) * FULL_SCALE.get(pixels.dtype.name, 1.0)
    if pixels.dtype.kind in "iu":
        limits = np.iinfo(pixels.dtype)
        values = np.rint(values).clip(limits.min, limits.max)
    return np.where(nothing[..., None], values.astype(pixels.dtype), pixels)
