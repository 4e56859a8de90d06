"""What the splits of a data set hold: pixels and images per class, and a fingerprint of the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from typing import Any

import numpy as np

from pixelwise.errors import UserError
from pixelwise.types import FULL_SCALE, IGNORE, Split


class Histogram:
    """Pixels and images by class; an image with one label counts as one pixel.

    Attributes:
        classes: class names in the order of their indices.
        pixels: (K,) int64.
        images: (K,) int64, images that hold the class.
        ignored: pixels labelled 255.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = [str(name) for name in classes]
        self.pixels, self.images = np.zeros((2, len(classes)), np.int64)
        self.ignored = 0

    def add(self, target: np.ndarray | int) -> None:
        """Count one (H, W) uint8 mask, or one class index."""
        counts = np.bincount(np.ravel(target), minlength=IGNORE + 1)
        of_classes = counts[: len(self.classes)]
        self.pixels += of_classes
        self.images += of_classes > 0
        self.ignored += int(counts[IGNORE])

    @property
    def shares(self) -> np.ndarray:
        """(K,) shares of the pixels that count; zeros when none do."""
        return self.pixels / max(int(self.pixels.sum()), 1)

    @property
    def ignored_share(self) -> float:
        """Share of all pixels that is labelled 255."""
        return self.ignored / max(int(self.pixels.sum()) + self.ignored, 1)

    @property
    def absent(self) -> list[str]:
        """Names of the classes without a pixel."""
        return [name for name, count in zip(self.classes, self.pixels, strict=True) if not count]


def class_histogram(split: Split, classes: Sequence[str]) -> Histogram:
    """Count the labels of a whole split; where it can give labels alone, no image is decoded.

    Raises:
        UserError: a label file is damaged or holds a value without a meaning.
    """
    histogram = Histogram(classes)
    for target in in_threads(split.target, len(split)):
        histogram.add(target)
    return histogram


def fingerprint(splits: Mapping[str, Split | None], classes: Sequence[str]) -> dict[str, Any]:
    """What tells two data sets apart without reading them through, in plain types.

    Returns:
        `{"classes": [...], "train": {"images": n, "hash": "..."}, ...}`; the hash covers the key, the size
        and the bytes of each of the split's `originals`.
    """
    result: dict[str, Any] = {"classes": [str(name) for name in classes]}
    for name, split in splits.items():
        if split is not None:
            originals = sorted(split.originals)
            digest = blake2b(repr(originals).encode(), digest_size=8).hexdigest()
            result[name] = {"images": len(originals), "hash": digest}
    return result


def in_threads(function: Callable[[int], Any], count: int) -> Iterator[Any]:
    """`function` of 0…count-1, in order; decoders and NumPy release the interpreter's lock, so threads help.

    Results wait in chunks, so that a large data set is never in memory as a whole.
    """
    with ThreadPoolExecutor() as pool:
        for start in range(0, count, 64):
            yield from pool.map(function, range(start, min(start + 64, count)))


def channel_statistics(split: Split, most: int = 256) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel over at most `most` images, spread evenly.

    In units of `Normalize`: integers scaled to [0, 1]. Pixels that are nodata are left out. A constant
    channel gets a deviation of 1.

    Raises:
        UserError: these images hold nothing but nodata.
    """
    indices = np.linspace(0, len(split) - 1, min(most, len(split))).round().astype(int)
    pixels = square = count = 0.0
    for index in indices:
        raw = split[int(index)]
        image = raw.image if raw.nodata is None else raw.image[~raw.nodata]
        values = image.reshape(-1, image.shape[-1]).astype(np.float64)  # sums of float32 lose whole pixels
        values /= FULL_SCALE.get(image.dtype.name, 1.0)
        pixels, square, count = pixels + values.sum(0), square + (values**2).sum(0), count + len(values)
    if not count:
        raise UserError("data.mean cannot be measured", found="nothing but nodata in the images of train")
    mean = np.asarray(pixels) / count
    std = np.sqrt(np.maximum(np.asarray(square) / count - mean**2, 0))
    return mean.tolist(), np.where(std > 1e-6, std, 1.0).tolist()
