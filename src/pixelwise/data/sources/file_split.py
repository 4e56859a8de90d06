"""A split whose images and labels are files, one each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pixelwise.data.io.images import ImageReader
from pixelwise.data.io.listing import read_headers
from pixelwise.types import IGNORE, Raw, Split


class Item(NamedTuple):
    """The files of an image and its label."""

    key: str
    """Path of the image relative to its folder, without suffix."""
    image: Path
    target: Path | int
    """A mask file, or a class index."""


class FolderSplit(Split):
    """Images and their labels, one file each, read on access.

    Args:
        items: items in any order.
        reader: how images are read; a number of channels reads them as viewers show them.
        read_target: function that turns an item's target into a mask or a class index.

    Raises:
        UserError: images are unreadable; the message names the first few.
    """

    def __init__(
        self, items: Sequence[Item], reader: ImageReader | int, read_target: Callable[[Any], Any] = int
    ) -> None:
        self.items = sorted(items)
        self.reader = ImageReader(reader) if isinstance(reader, int) else reader
        self.read_target = read_target
        self.headers = read_headers([item.image for item in self.items])
        self.remarks: list[str] = []
        """Warnings that do not prevent training."""

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Raw:
        image, nodata = self.reader.read(self.items[index].image)
        target = self.read_target(self.items[index].target)
        if nodata is not None and isinstance(target, np.ndarray):
            target = np.where(nodata, np.uint8(IGNORE), target)
        return Raw(image, target, self.key(index), nodata=nodata)

    def key(self, index: int) -> str:
        """The item's name."""
        return self.items[index].key

    def size(self, index: int) -> tuple[int, int]:
        """(H, W) from the header."""
        return self.headers[index].size(self.reader.exif)

    def image(self, index: int) -> np.ndarray:
        """(H, W, channels) uint8, uint16 or float32."""
        return self.reader.read(self.items[index].image).image

    def target(self, index: int) -> np.ndarray | int:
        """(H, W) uint8 index mask, or one class index."""
        item = self.items[index]
        if isinstance(item.target, Path) and self.reader.may_be_nodata(item.image):
            return self[index].target
        return self.read_target(item.target)

    def stored_bytes(self, index: int) -> int:
        """Size in bytes of the image and, if it is a file, of the mask."""
        return sum(path.stat().st_size for path in self.items[index] if isinstance(path, Path))
