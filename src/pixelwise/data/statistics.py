"""Statistics of a data set: pixels and images per class, mean and deviation per channel, fingerprint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from typing import Any

import numpy as np

from pixelwise.errors import UserError
from pixelwise.types import FULL_SCALE, Split, ignored_label


class Histogram:
    """Numbers of pixels and images per class; an image with a single label counts as one pixel.

    Attributes:
        classes: class names in the order of their indices.
        pixels: (K,) int64.
        images: (K,) int64, images that contain the class.
        ignored: pixels labelled 255.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = [str(name) for name in classes]
        self.pixels, self.images = np.zeros((2, len(classes)), np.int64)
        self.ignored = 0

    def add(self, target: np.ndarray | int) -> None:
        """Count one (H, W) uint8 mask, or one class index."""
        ignored = ignored_label(len(self.classes))
        counts = np.bincount(np.ravel(target), minlength=ignored + 1)
        by_class = counts[: len(self.classes)]
        self.pixels += by_class
        self.images += by_class > 0
        self.ignored += int(counts[ignored])

    @property
    def shares(self) -> np.ndarray:
        """(K,) share of each class in the labelled pixels; zeros if no pixel is labelled."""
        return self.pixels / max(int(self.pixels.sum()), 1)

    @property
    def ignored_share(self) -> float:
        """Share of the pixels labelled 255 in all pixels."""
        return self.ignored / max(int(self.pixels.sum()) + self.ignored, 1)

    @property
    def absent(self) -> list[str]:
        """Names of the classes without a pixel."""
        return [name for name, count in zip(self.classes, self.pixels, strict=True) if not count]


def class_histogram(split: Split, classes: Sequence[str]) -> Histogram:
    """Count the labels of a whole split; no image is decoded if the split can read labels alone.

    Raises:
        UserError: a label file is damaged or contains a value without a meaning.
    """
    histogram = Histogram(classes)
    for target in in_threads(split.target, len(split)):
        histogram.add(target)
    return histogram


def fingerprint(splits: Mapping[str, Split | None], classes: Sequence[str]) -> dict[str, Any]:
    """Return a fingerprint that identifies a data set without decoding its files, in plain types.

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
    """Yield `function` of 0…count-1, in order, computed in threads; decoders and NumPy release the GIL.

    Results are computed in chunks, so that a large data set is never in memory as a whole.
    """
    with ThreadPoolExecutor() as pool:
        for start in range(0, count, 64):
            yield from pool.map(function, range(start, min(start + 64, count)))


def channel_statistics(split: Split) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel over at most 256 images, spaced evenly.

    In the units of `Normalize`: integers are scaled to [0, 1]. Nodata pixels are left out. A constant channel
    gets a deviation of 1.

    Raises:
        UserError: all pixels of these images are nodata.
    """
    indices = np.linspace(0, len(split) - 1, min(256, len(split))).round().astype(int)
    total = squares = count = 0.0
    for index in indices:
        raw = split[int(index)]
        image = raw.image if raw.nodata is None else raw.image[~raw.nodata]
        values = image.reshape(-1, image.shape[-1]).astype(np.float64)  # float32 is too coarse for the sums
        values /= FULL_SCALE.get(image.dtype.name, 1.0)
        total, squares, count = total + values.sum(0), squares + (values**2).sum(0), count + len(values)
    if not count:
        raise UserError("data.mean cannot be measured", found="only nodata pixels in the train images")
    mean = np.asarray(total) / count
    std = np.sqrt(np.maximum(np.asarray(squares) / count - mean**2, 0))
    return mean.tolist(), np.where(std > 1e-6, std, 1.0).tolist()
