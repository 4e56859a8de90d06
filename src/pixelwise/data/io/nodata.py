"""The definition of nodata for training, evaluation, audit and prediction.

A pixel is nodata if all its bands hold the nodata value, if any band is not finite, or if the mask or the
alpha band of a TIFF excludes it. The user's `nodata` replaces the value of the file. Labels of nodata pixels
are ignored, and the network gets the mean of the training images there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pixelwise.types import FULL_SCALE


def equals(stored: np.ndarray, nodata: float) -> np.ndarray:
    """Return where stored numbers are the nodata value, as bool in the shape of `stored`.

    Metadata holds the value of floats as text that may be rounded (-3.40282e+38), or as the smallest number
    of a longer type: for floats, the nearest value of their type is compared, to six digits.
    """
    if stored.dtype.kind != "f" or np.isnan(nodata) or nodata == 0:
        return stored == nodata
    limits = np.finfo(stored.dtype)
    nearest = float(np.clip(nodata, float(limits.min), float(limits.max)))
    close = abs(nearest) * 2e-6
    low, high = max(nearest - close, float(limits.min)), min(nearest + close, float(limits.max))
    return ((stored >= low) & (stored <= high)) | (stored == nodata)


def nodata_at(pixels: np.ndarray, nodata: float | None) -> np.ndarray:
    """Return which pixels are nodata by their values.

    Args:
        pixels: (H, W, C) as stored.
        nodata: the nodata value; None if there is none.

    Returns:
        (H, W) bool.
    """
    mask = np.zeros(pixels.shape[:2], bool)
    if nodata is not None:
        mask |= equals(pixels, nodata).all(-1)
    if pixels.dtype.kind == "f":  # a single NaN would spread to the whole batch
        mask |= ~np.isfinite(pixels).all(-1)
    return mask


def filled(pixels: np.ndarray, nodata: np.ndarray, mean: Sequence[float] | None = None) -> np.ndarray:
    """Replace nodata pixels by a mean.

    Args:
        pixels: (H, W, C) in any number type.
        nodata: (H, W) bool, True for nodata pixels.
        mean: mean of each channel in the units of `pixelwise.models.Normalize`; integers are rounded to the
            nearest stored value. None uses the mean of the other pixels, so that interpolation across the
            edge of a gap gives no extreme values.

    Returns:
        (H, W, C) in the same type; the input itself if no pixel is nodata.
    """
    if not nodata.any():
        return pixels
    if mean is None:
        valid = pixels[~nodata]
        values = valid.mean(0, dtype=np.float64) if len(valid) else np.zeros(pixels.shape[-1])
    else:
        values = np.asarray(mean, np.float64) * FULL_SCALE.get(pixels.dtype.name, 1.0)
    if pixels.dtype.kind in "iu":
        limits = np.iinfo(pixels.dtype)
        values = np.rint(values).clip(limits.min, limits.max)
    return np.where(nodata[..., None], values.astype(pixels.dtype), pixels)
