"""Channels and number types of images: which are accepted, and how other channels are converted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from pixelwise.errors import UserError, counted

NUMBER_TYPES = ("uint8", "uint16", "float32")


def check_type(file: Path, dtypes: Sequence[object]) -> None:
    """Raise an error for an image with an unsupported number type, or with several."""
    names = sorted({str(dtype) for dtype in dtypes})
    if len(names) > 1 or not {*names} <= {*NUMBER_TYPES}:
        raise UserError(
            f"{file} stores its pixels as {' and '.join(names)}",
            expected="uint8, uint16 or float32",
            fix=f"gdal_translate -ot Float32 {file.name} OUT.tif, for every image of the data set",
        )


def fit_channels(stored: int, channels: int) -> bool:
    """Whether `fit` can convert an image from `stored` to `channels` channels."""
    return stored == channels or (channels in (1, 3) and stored in (1, 2, 3, 4))


def fit(image: np.ndarray, channels: int) -> np.ndarray:
    """Convert an image (H, W, C) to another number of channels, if `fit_channels` allows it.

    A second or fourth channel is taken as alpha and dropped without compositing; grey is repeated into three
    channels; colour is converted to grey (ITU-R BT.601 luma).
    """
    image = without_alpha(image, channels)
    if image.shape[2] == 1 and channels == 3:
        image = np.repeat(image, 3, axis=2)
    if image.shape[2] == 3 and channels == 1:
        image = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)[..., None]
    return image


def without_alpha(image: np.ndarray, channels: int) -> np.ndarray:
    """Drop the second or fourth channel of an image (H, W, C) if one or three are needed."""
    stored = image.shape[2]
    return np.ascontiguousarray(image[..., :-1]) if stored in (2, 4) and channels in (1, 3) else image


def channel_error(
    file: Path, stored: int, channels: int, found: str, option: str = "", selectable: bool = False
) -> UserError:
    """Return the error for an image with the wrong number of channels.

    Args:
        file: the image.
        stored: its number of channels.
        channels: the number of channels that is needed.
        found: description of the bands of the file.
        option: config key that selects bands; "bands" for a finished run, whose channels are fixed.
        selectable: whether the first bands of the file, as stored, could be used.
    """
    first = ",".join(map(str, range(1, channels + 1)))
    fixes = [f"'{option}=[{first}]' reads these bands, for example"] * bool(option and selectable)
    fixes += [f"data.channels={stored}, if every image has that many"] * (option != "bands")
    return UserError(
        f"{file} gives {counted(stored, 'channel')}",
        found=found,
        expected=f"{channels} (data.channels)",
        fix="; or ".join(fixes) or "convert the image to the channels of the training images",
    )
