"""Image files of every format and mode that is read, with the pixels that viewers show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rasterio
from PIL import Image
from PIL.Image import Transpose

Writer = Callable[[Path, np.ndarray], np.ndarray]
"""Writes colours (H, W, 3) uint8 into a file; returns the pixels (H, W, C) that it shows, before any loss."""

UNDO = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_90,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_270,
}
"""How a shown image is stored with each orientation tag (CIPA DC-008, section 4.6.4)."""


def grey_of(colours: np.ndarray) -> np.ndarray:
    return colours[..., :1].copy()


def through_pillow(mode: str, **options: Any) -> Writer:
    """Return a writer that saves with Pillow in a mode."""

    def write(path: Path, colours: np.ndarray) -> np.ndarray:
        alpha = np.full(colours.shape[:2], 100, np.uint8)
        if mode in ("L", "LA", "1"):
            grey = grey_of(colours)
            grey = np.where(grey > 120, 255, 0).astype(np.uint8) if mode == "1" else grey
            image = Image.fromarray(np.dstack([grey, alpha]), "LA") if mode == "LA" else None
            image = image or Image.fromarray(grey[..., 0]).convert(mode)
            image.save(path, **options)
            return np.dstack([grey, alpha]) if mode == "LA" else grey
        image = Image.fromarray(colours)
        if mode == "RGBA":
            image.putalpha(Image.fromarray(alpha))
        elif mode == "P":
            image = image.quantize(64)
        else:
            image = image.convert(mode)
        image.save(path, **options)
        return np.array(image if mode in ("RGB", "RGBA") else image.convert("RGB"))

    return write


def turned(tag: int, **options: Any) -> Writer:
    """Return a writer that stores the image rotated, with its orientation tag."""

    def write(path: Path, colours: np.ndarray) -> np.ndarray:
        exif = Image.Exif()
        exif[0x0112] = tag
        words = {"tiffinfo": {274: tag}} if path.suffix == ".tif" else {"exif": exif}
        Image.fromarray(colours).transpose(UNDO[tag]).save(path, **words, **options)
        return colours

    return write


def white_is_zero(bits: int) -> Writer:
    """A grey TIFF whose 0 is white, of 1, 8 or 16 bits."""

    def write(path: Path, colours: np.ndarray) -> np.ndarray:
        full = 2**bits - 1
        grey = grey_of(colours).astype(np.uint16)
        grey = grey * 257 if bits == 16 else (grey > 120) * np.uint16(255) if bits == 1 else grey
        dtype = "uint16" if bits == 16 else "uint8"
        stored = full - (grey > 0 if bits == 1 else grey).astype(dtype)
        height, width = grey.shape[:2]
        profile = {"driver": "GTiff", "height": height, "width": width, "count": 1, "dtype": dtype}
        with rasterio.open(path, "w", **profile, photometric="miniswhite", nbits=bits) as dataset:
            dataset.write(stored[..., 0].astype(dtype), 1)
        return grey.astype(dtype)

    return write


def through_gdal(dtype: str = "uint8", bands: int = 3, **options: Any) -> Writer:
    """Saved by GDAL; 16 bits and float hold other numbers than 8 bits."""

    def write(path: Path, colours: np.ndarray) -> np.ndarray:
        scale = {"uint8": 1, "uint16": 257, "float32": 1 / 255}[dtype]
        image = np.dstack([colours, colours[..., ::-1]])[..., :bands] * np.array(scale, dtype)
        image = image.astype(dtype)
        if options.get("nbits") == 4:
            image = image // 16
        height, width = image.shape[:2]
        profile = {"driver": "GTiff", "height": height, "width": width, "count": bands, "dtype": dtype}
        with rasterio.open(path, "w", **profile, **options) as dataset:
            dataset.write(np.moveaxis(image, -1, 0))
        return image * 17 if options.get("nbits") == 4 else image

    return write


def deep_png(channels: int) -> Writer:
    """A PNG of 16 bits."""

    def write(path: Path, colours: np.ndarray) -> np.ndarray:
        deep = np.dstack([colours, colours[..., :1]]).astype(np.uint16)[..., :channels] * 257
        order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[channels]
        cv2.imwrite(str(path), deep[..., order])
        return deep

    return write


TILED = {"tiled": True, "blockxsize": 16, "blockysize": 16}

LOSSLESS: dict[str, Writer] = {
    "rgb.png": through_pillow("RGB"),
    "grey.png": through_pillow("L"),
    "grey_alpha.png": through_pillow("LA"),
    "rgba.png": through_pillow("RGBA"),
    "palette.png": through_pillow("P"),
    "one_bit.png": through_pillow("1"),
    "rgb.bmp": through_pillow("RGB"),
    "grey.bmp": through_pillow("L"),
    "palette.gif": through_pillow("P"),
    "grey.gif": through_pillow("L"),
    "rgb.webp": through_pillow("RGB", lossless=True),
    "rgba.webp": through_pillow("RGBA", lossless=True, exact=True),
    "rgb.tif": through_pillow("RGB"),
    "grey.tif": through_pillow("L"),
    "grey_alpha.tif": through_pillow("LA"),
    "rgba.tif": through_pillow("RGBA"),
    "palette.tif": through_pillow("P"),
    "one_bit.tif": through_pillow("1"),
    "cmyk.tif": through_pillow("CMYK"),
    "white_is_zero_1.tif": white_is_zero(1),
    "white_is_zero_8.tif": white_is_zero(8),
    "tiled.tif": through_gdal(**TILED),
    "strips.tif": through_gdal(blockysize=7),
    "by_band.tif": through_gdal(interleave="band"),
    "by_pixel.tif": through_gdal(interleave="pixel", compress="deflate"),
    "big.tif": through_gdal(bigtiff="yes"),
    "big_endian.tif": through_gdal(endianness="big"),
    "four_bits.tif": through_gdal(bands=1, nbits=4),
    **{f"turned_{tag}.png": turned(tag) for tag in UNDO},
    **{f"turned_{tag}.tif": turned(tag) for tag in UNDO},
}
"""Files of 8 bits that show exactly what was drawn."""

LOSSY: dict[str, Writer] = {
    "rgb.jpg": through_pillow("RGB", quality=95),
    "grey.jpeg": through_pillow("L", quality=95),
    "cmyk.jpg": through_pillow("CMYK", quality=95),
    "lossy.webp": through_pillow("RGB", quality=95),
    "jpeg.tif": through_pillow("RGB", compression="jpeg", quality=95),
    "ycbcr.tif": through_pillow("YCbCr"),
    **{f"turned_{tag}.jpg": turned(tag, quality=95) for tag in UNDO},
}
"""Files of 8 bits that show approximately what was drawn."""

DEEP: dict[str, Writer] = {
    "grey16.png": deep_png(1),
    "rgb16.png": deep_png(3),
    "rgba16.png": deep_png(4),
    "white_is_zero_16.tif": white_is_zero(16),
    **{f"{bands}_bands_16.tif": through_gdal("uint16", bands) for bands in (1, 2, 3, 4, 6)},
    "tiled_16.tif": through_gdal("uint16", **TILED),
    **{f"{bands}_bands_float.tif": through_gdal("float32", bands) for bands in (1, 2, 3, 4, 6)},
    "predictor.tif": through_gdal("float32", compress="deflate", predictor=3),
    "by_band_float.tif": through_gdal("float32", interleave="band", **TILED),
}
"""Files of 16 bits and of floats."""
