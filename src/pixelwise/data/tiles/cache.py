"""Large images and their labels, decoded once into memory-mapped files.

The cache folder has one folder for each tile and each way of reading it. Its name ends in a hash of the
names, sizes and modification times of the source files. It is complete or does not exist, and may be removed
at any time between runs.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple, Protocol
from zlib import crc32

import numpy as np
from filelock import FileLock
from rich import get_console
from rich.progress import Progress

from pixelwise.data.io.rasters import ROWS
from pixelwise.data.tiles.erosion import REACH, eroded
from pixelwise.errors import UserError, some
from pixelwise.files import read_json, unwritable, whole_folder, write_json
from pixelwise.types import IGNORE, NODATA

log = logging.getLogger(__name__)

SUMS = "checksums.json"
"""File in a prepared tile with the CRC-32 of its other files."""

CELL = 64
"""Side, in pixels, of the squares whose classes are counted."""

VERSION = 4
"""Version of the prepared files; tiles of another version are prepared again."""


class FileStamp(NamedTuple):
    """Name, size and modification time of a file, which show whether it has changed."""

    name: str
    size: int
    """Bytes."""
    time: int
    """Time of the last change, in nanoseconds."""

    @classmethod
    def of(cls, file: Path, member: str = "") -> FileStamp:
        """Return the stamp of a file, or of a member of a zip."""
        status = file.stat()
        return cls(f"{file.name}/{member}" if member else file.name, status.st_size, status.st_mtime_ns)


class RowBlock(NamedTuple):
    """Some rows of a tile."""

    image: np.ndarray
    """(h, W, C)."""
    target: np.ndarray
    """(h, W) uint8 class indices with `IGNORE`, and `NODATA` where the image is nodata."""
    border: np.ndarray | None = None
    """(h, W) bool, if the data set contains the eroded label."""


class Tile(Protocol):
    """A large image with its label, as stored."""

    name: str
    """Unique within the data set."""
    shape: tuple[int, int, int]
    """(H, W, C)."""
    dtype: np.dtype
    reading: str
    """How it is read (bands and kind of label), as a part of the folder name."""
    erode: bool
    """Whether borders are needed; they are computed if `strips` does not yield them."""
    mask_border: bool
    """Whether the borders become `IGNORE` in the target, instead of a separate array."""
    meaning: object
    """All other settings that decide how it is read, such as the label values; compared by `repr`."""

    def stamps(self) -> Sequence[FileStamp]:
        """Return the stamps of its files."""
        ...

    def strips(self) -> Iterator[RowBlock]:
        """Yield all rows from top to bottom.

        Raises:
            UserError: a file is damaged, or a label has no meaning.
        """
        ...


class Prepared(NamedTuple):
    """A prepared tile. Its files are opened on each access, so that no tile stays in memory."""

    name: str
    folder: Path
    height: int
    width: int
    stored_bytes: int
    """Size of the source files in bytes."""

    @property
    def image(self) -> np.ndarray:
        """(H, W, C), memory-mapped."""
        return self._open("image")

    @property
    def target(self) -> np.ndarray:
        """(H, W) uint8 with `IGNORE` and `NODATA`, memory-mapped."""
        return self._open("target")

    @property
    def border(self) -> np.ndarray | None:
        """(H, W) bool, memory-mapped, or None."""
        return self._open("border") if (self.folder / "border.npy").exists() else None

    @property
    def cells(self) -> np.ndarray:
        """(K, ⌈H / CELL⌉, ⌈W / CELL⌉) uint16: pixels of each class in each square."""
        return self._open("cells")

    def verify(self) -> None:
        """Compare the files with the checksums that were taken when they were written.

        Raises:
            UserError: a file has changed since, or is missing.
        """
        sums = read_json(self.folder / SUMS)
        found = {name: _checksum(self.folder / name) for name in sums if (self.folder / name).is_file()}
        if damaged := [name for name in sums or [SUMS] if name not in found or found[name] != sums[name]]:
            raise self._damaged(f"{some(damaged)} differs from its checksum")

    def _open(self, name: str) -> np.ndarray:
        try:
            array: np.ndarray = np.load(self.folder / f"{name}.npy", mmap_mode="r")
        except (OSError, ValueError, EOFError) as error:
            raise self._damaged(error) from error
        if name != "cells" and array.shape[:2] != (self.height, self.width):
            raise self._damaged(f"{name}.npy of shape {array.shape}")
        return array

    def _damaged(self, found: object) -> UserError:
        what = f"{self.folder} was removed or damaged since it was written"
        return UserError(what, found=found, fix="remove that folder and start again")


def _checksum(file: Path) -> int:
    """CRC-32 of a file, the checksum of zip and PNG."""
    value = 0
    with file.open("rb") as stream:
        while block := stream.read(1 << 24):
            value = crc32(block, value)
    return value


def prepare(tiles: Sequence[Tile], cache: Path, classes: int) -> list[Prepared]:
    """Decode the tiles that are not prepared yet, with a progress bar.

    Args:
        tiles: tiles in any order.
        cache: folder of the prepared files; created if it is missing.
        classes: number K of classes.

    Raises:
        UserError: a tile is damaged, the folder is not writable, or its disk is too small.
    """
    places = [_place(tile, cache, classes) for tile in tiles]
    waiting = [(tile, place) for tile, place in zip(tiles, places, strict=True) if not place.folder.is_dir()]
    if waiting:
        try:
            cache.mkdir(parents=True, exist_ok=True)
            _check_space(cache, [tile for tile, _ in waiting])
            log.info("preparing %d tiles in %s, once", len(waiting), cache)
            with Progress(transient=True, disable=not get_console().is_terminal) as progress:
                bar = progress.add_task("preparing tiles", total=sum(tile.shape[0] for tile, _ in waiting))
                for tile, place in waiting:
                    progress.update(bar, description=f"preparing {tile.name}")
                    for rows in _prepare_alone(tile, place.folder, classes):
                        progress.advance(bar, rows)
        except OSError as error:
            fix = "data.prepared=DIR names another folder"
            raise unwritable(f"data.prepared={cache}", error, cache, fix) from error
    return places


def _place(tile: Tile, cache: Path, classes: int) -> Prepared:
    """Return a tile with the folder in which it is, or will be, prepared."""
    variant = _hash(VERSION, classes, str(tile.dtype), tile.erode, tile.mask_border, tile.meaning)[:8]
    stamps = tile.stamps()
    stamp = _hash(tile.shape, *stamps)
    folder = cache / f"{tile.name.replace('/', '+')}_{tile.reading}_{variant}_{stamp}"
    return Prepared(tile.name, folder, *tile.shape[:2], sum(file.size for file in stamps))


def _hash(*facts: object) -> str:
    return blake2b(repr(facts).encode(), digest_size=8).hexdigest()


def _check_space(cache: Path, tiles: Sequence[Tile]) -> None:
    pixels = [tile.shape[0] * tile.shape[1] for tile in tiles]
    per_pixel = [tile.shape[2] * tile.dtype.itemsize + 1 + tile.erode for tile in tiles]
    needed, free = sum(map(np.multiply, pixels, per_pixel)), shutil.disk_usage(cache).free
    if needed > free:
        raise UserError(
            f"data.prepared={cache} has no room for {len(tiles)} prepared tiles",
            found=f"{free / 1e6:,.1f} MB free",
            expected=f"{needed / 1e6:,.1f} MB",
            fix="data.prepared=DIR names a folder on another disk",
        )


def _prepare_alone(tile: Tile, folder: Path, classes: int) -> Iterator[int]:
    """Prepare a tile while other processes wait for it; yields the number of finished rows."""
    kind = folder.name.removesuffix(folder.name.rsplit("_", 1)[-1])
    with FileLock(folder.parent / f".{kind}lock"):
        if folder.is_dir():
            yield tile.shape[0]
            return
        with whole_folder(folder, alone=True) as part:
            yield from _write(tile, part, classes)
        for other in folder.parent.iterdir():
            if other.name.startswith(kind) and len(other.name) == len(folder.name) and other != folder:
                shutil.rmtree(other, ignore_errors=True)  # prepared from files that have changed since


def _write(tile: Tile, part: Path, classes: int) -> Iterator[int]:
    """Write a tile's files strip by strip."""
    height, width, _ = tile.shape

    def new(name: str, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
        file = part / f"{name}.npy"
        array = np.lib.format.open_memmap(file, "w+", dtype, shape)
        if hasattr(os, "posix_fallocate"):  # writing to a mapped file on a full disk would kill the process
            with file.open("r+b") as stream:
                os.posix_fallocate(stream.fileno(), 0, file.stat().st_size)
        return array

    image, target = new("image", tile.shape, tile.dtype), new("target", (height, width), np.uint8)
    border, top, low, high, has_nodata = None, 0, [], [], False
    for strip in tile.strips():
        rows = slice(top, top + len(strip.image))
        image[rows], target[rows] = strip.image, strip.target
        low.append(strip.image.min((0, 1)))
        high.append(strip.image.max((0, 1)))
        has_nodata |= bool((strip.target == NODATA).any())
        if strip.border is not None:
            border = new("border", (height, width), bool) if border is None else border
            border[rows] = strip.border
        top = rows.stop
        yield len(strip.image)
    if not has_nodata and np.array_equal(np.min(low, 0), np.max(high, 0)):
        values = np.min(low, 0).tolist()
        what = f"tile {tile.name} is empty: every pixel is {values}"
        raise UserError(
            what, expected="an image", fix="restore its file, or leave the tile out of the splits"
        )
    if tile.erode and border is None:
        border = new("border", (height, width), bool)
        _erode(target, border)
    if tile.mask_border and border is not None:
        for top in range(0, height, ROWS):
            target[top : top + ROWS][border[top : top + ROWS]] = IGNORE
        (part / "border.npy").unlink()
    squares = [_count(target[top : top + ROWS], classes) for top in range(0, height, ROWS)]
    np.save(part / "cells.npy", np.concatenate(squares, axis=1).astype(np.uint16))
    for array in (image, target, border):
        if isinstance(array, np.memmap):
            array.flush()
    write_json(part / SUMS, {file.name: _checksum(file) for file in sorted(part.glob("*.npy"))})


def _count(target: np.ndarray, classes: int) -> np.ndarray:
    """Count the pixels of each class in each square of a strip: (K, rows, columns)."""
    padding = [(0, -side % CELL) for side in target.shape]
    squares = np.pad(target, padding, constant_values=IGNORE)
    squares = squares.reshape(squares.shape[0] // CELL, CELL, -1, CELL)
    return np.stack([(squares == index).sum((1, 3)) for index in range(classes)])


def _erode(target: np.ndarray, border: np.ndarray) -> None:
    """Compute the borders strip by strip, with `REACH` more rows on either side."""
    for top in range(0, len(target), ROWS):
        above, below = max(0, top - REACH), min(len(target), top + ROWS + REACH)
        rows = np.array(target[above:below])
        strip = eroded(np.where(rows == NODATA, np.uint8(IGNORE), rows))
        border[top : top + ROWS] = strip[top - above : top - above + ROWS]
