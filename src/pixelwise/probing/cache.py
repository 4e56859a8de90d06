"""Features of one split on disk: computed once, memory-mapped, never changed.

A folder holds the features of one split. Its name ends in a hash of everything that they depend on. It is
complete or does not exist, and may be deleted at any time between runs.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock

from pixelwise.errors import UserError
from pixelwise.files import read_json, unwritable, whole_folder, write_json

log = logging.getLogger(__name__)

VERSION = 1
"""Version of the files; features of another version are computed again."""

TYPES = ("uint8", "uint32", "int64", "float32")
"""Types of the stored labels."""


class Sample(NamedTuple):
    """The features of one image, with its labels."""

    features: np.ndarray
    """(h · w, D) float32: the positions of a map row by row, or the vector of an image (h = w = 1)."""
    map_size: tuple[int, int]
    """(h, w)."""
    labels: np.ndarray
    """(H, W), () or (K,) as the scores take them; in training (rows, K), see `features.targets`."""


@dataclass(frozen=True)
class Features:
    """The stored samples of a split.

    Attributes:
        features: (rows, D) float32, memory-mapped; the rows of all samples one after the other.
        labels: (values,), memory-mapped; the labels of all samples, flat.
        map_sizes: (N, 2) height and width of the map of each sample.
        label_sizes: (N, 2) lengths of the axes of its labels, 1 for an axis that they do not have.
        seconds: how long the encoder took, without reading the images.
    """

    features: np.ndarray
    labels: np.ndarray
    map_sizes: np.ndarray
    label_sizes: np.ndarray
    seconds: float

    @cached_property
    def ends(self) -> list[np.ndarray]:
        """(N + 1,) where the rows, and where the labels, of each sample end and the next ones begin."""
        return [np.concatenate([[0], sizes.prod(1).cumsum()]) for sizes in (self.map_sizes, self.label_sizes)]

    def __len__(self) -> int:
        return len(self.map_sizes)

    def of(self, samples: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Copy the features (rows, D) and the labels (values,) of some samples, in their order."""
        rows, values = (
            np.concatenate([array[ends[i] : ends[i + 1]] for i in samples])
            for array, ends in zip((self.features, self.labels), self.ends, strict=True)
        )
        return rows, values


def cached(
    cache: Path, name: str, key: Mapping[str, Any], compute: Callable[[], Iterable[Sample]]
) -> Features:
    """Return the stored features of a key; compute and store them first if there are none.

    Args:
        cache: folder of all features; created if it is missing.
        name: first part of the name of the folder.
        key: what the features depend on, in plain containers.
        compute: yields the samples; an attribute `seconds` says afterwards how long the encoder took.

    Raises:
        UserError: the folder cannot be written, or what is stored is incomplete or was written by another
            program; and the errors of `compute`.
    """
    text = json.dumps([VERSION, key])
    folder = cache / f"{name}_{blake2b(text.encode(), digest_size=8).hexdigest()}"
    log.info("features %s %s", "from" if folder.is_dir() else "are computed into", folder)
    if not folder.is_dir():
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with FileLock(cache / f".{folder.name}.lock"):
                if not folder.is_dir():  # no other process has written it meanwhile
                    _store(folder, text, compute())
        except OSError as error:
            fix = "probe.cache=DIR names a folder, perhaps on another disk"
            raise unwritable(f"probe.cache={cache}", error, cache, fix) from error
    return _read(folder, text)


def _store(folder: Path, key: str, samples: Iterable[Sample]) -> None:
    """Write the folder; this process has the lock."""
    sizes, facts = [], {"key": key}
    with whole_folder(folder, alone=True) as part:
        with (part / "features.bin").open("wb") as features, (part / "labels.bin").open("wb") as labels:
            for sample in samples:
                features.write(sample.features.astype("<f4").tobytes())
                labels.write(sample.labels.tobytes())
                sizes.append((*sample.map_size, *(*sample.labels.shape, 1, 1)[:2]))
                facts |= {"channels": sample.features.shape[1], "labels": sample.labels.dtype.name}
        np.save(part / "sizes.npy", np.array(sizes, np.int64))
        write_json(part / "index.json", facts | {"seconds": getattr(samples, "seconds", 0.0)})


def _read(folder: Path, key: str) -> Features:
    """Map the files of a folder into memory. They are data, whatever they hold: nothing in them is run."""
    try:
        index = read_json(folder / "index.json")
        sizes = np.load(folder / "sizes.npy", allow_pickle=False)
        if index["key"] != key:
            raise ValueError("features of another encoder, view or data set")
        if sizes.dtype != np.int64 or sizes.ndim != 2 or sizes.shape[1] != 4 or not (sizes > 0).all():
            raise ValueError("sizes.npy without the sizes of maps and labels")
        if index["labels"] not in TYPES:
            raise ValueError(f"labels of type {index['labels']}")
        channels, kind, seconds = int(index["channels"]), np.dtype(index["labels"]), float(index["seconds"])
        rows, values = int(sizes[:, :2].prod(1).sum()), int(sizes[:, 2:].prod(1).sum())
        for name, expected in (("features", rows * channels * 4), ("labels", values * kind.itemsize)):
            if (found := (folder / f"{name}.bin").stat().st_size) != expected:
                raise ValueError(f"{name}.bin of {found:,} bytes instead of {expected:,}")
        features = np.memmap(folder / "features.bin", "<f4", "r", shape=(rows, channels))
        labels = np.memmap(folder / "labels.bin", kind, "r", shape=(values,))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError) as error:
        raise UserError(
            f"{folder} does not hold complete features",
            found=error,
            fix="delete this folder; the same command computes them again",
        ) from error
    return Features(features, labels, sizes[:, :2], sizes[:, 2:], seconds)
