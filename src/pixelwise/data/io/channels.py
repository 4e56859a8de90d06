"""Channels and number types of images: which ones the network may get, and how others are made to fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from pixelwise.errors import UserError, counted

NUMBER_TYPES = ("uint8", "uint16", "float32")


def check_type(file: Path, dtypes: Sequence[object]) -> None:
    """Refuse an image in another number type, or in several."""
    names = sorted({str(dtype) for dtype in dtypes})
    if len(names) > 1 or not {*names} <= {*NUMBER_TYPES}:
        raise UserError(
            f"{file} stores its pixels as {' and '.join(names)}",
            expected="uint8, uint16 or float32",
            fix=f"gdal_translate -ot Float32 {file.name} OUT.tif, for every image of the data set",
        )


def fit_channels(stored: int, channels: int) -> bool:
    """Whether `fit` makes an image of `stored` channels one of `channels`."""
    return stored == channels or (channels in (1, 3) and stored in (1, 2, 3, 4))


def fit(image: np.ndarray, channels: int) -> np.ndarray:
    """An image (H, W, C) with another number of channels, where `fit_channels` says that it can be had.

    A second or fourth channel counts as alpha and is dropped without compositing; grey is repeated into three
    channels; colour becomes grey (ITU-R BT.601 luma).
    """
    image = without_alpha(image, channels)
    if image.shape[2] == 1 and channels == 3:
        image = np.repeat(image, 3, axis=2)
    if image.shape[2] == 3 and channels == 1:
        image = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)[..., None]
    return image


def without_alpha(image: np.ndarray, channels: int) -> np.ndarray:
    """An image (H, W, C) without its second or fourth channel, where one or three are asked for."""
    stored = image.shape[2]
    return np.ascontiguousarray(image[..., :-1]) if stored in (2, 4) and channels in (1, 3) else image


def misfit(
    file: Path, stored: int, channels: int, found: str, option: str = "", chooses: bool = False
) -> UserError:
    """The error for an image whose channels do not fit.

    Args:
        file: the image.
        stored: the channels that it gives.
        channels: those that are asked for.
        found: what the file says of its bands.
        option: config key that chooses bands: "bands" of a finished run, whose channels are fixed.
        chooses: whether the first of the file's bands, as they are stored, would do.
    """
    first = ",".join(map(str, range(1, channels + 1)))
    fixes = [f"'{option}=[{first}]' reads these bands, for example"] * bool(option and chooses)
    fixes += [f"data.channels={stored}, if every image has as many"] * (option != "bands")
    return UserError(
        f"{file} gives {counted(stored, 'channel')}",
        found=found,
        expected=f"{channels} (data.channels)",
        fix="; or ".join(fixes) or "convert the image to what the run was trained on",
    )
