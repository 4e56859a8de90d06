"""A user's own images with masks, in folders (for one folder per class see `class_folders`).

Everything that can be told from names and headers is checked when a split is first asked for, before any
training; ten thousand pairs take a few seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pixelwise.data.io.images import Header, ImageReader
from pixelwise.data.io.listing import existing_root, find_images, read_headers
from pixelwise.data.labels import Labels
from pixelwise.data.remarks import how_exif_fits, of_colour_tables, of_orientation
from pixelwise.data.splits import deal, split_folders
from pixelwise.errors import UserError, some
from pixelwise.types import IGNORE, Raw, Source, Split


class Item(NamedTuple):
    """Where an image and its label are found."""

    key: str
    """The image's path below its folder, without its ending."""
    image: Path
    target: Path | int
    """A mask file, or a class index."""


class FolderSplit(Split):
    """Images and their labels, one file each, read when asked for.

    Args:
        items: in any order.
        reader: how images are read; a number of channels takes them as they are shown.
        read_target: turns an item's target into a mask or a class index.

    Raises:
        UserError: images are unreadable; the first few are named.
    """

    def __init__(
        self, items: Sequence[Item], reader: ImageReader | int, read_target: Callable[[Any], Any] = int
    ) -> None:
        self.items = sorted(items)
        self.reader = ImageReader(reader) if isinstance(reader, int) else reader
        self.read_target = read_target
        self.headers = read_headers([item.image for item in self.items])
        self.remarks: list[str] = []
        """What is worth knowing though it stops nothing."""

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
        """(H, W) as the header says."""
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
        """Bytes of the image and, if it is a file, of the mask."""
        return sum(path.stat().st_size for path in self.items[index] if isinstance(path, Path))


class FolderSegmentation(Source):
    """Images and masks of equal name, in one of three layouts.

        root/train/images/a.jpg   root/train/masks/a.png        likewise val, test
        root/images/train/a.jpg   root/masks/train/a.png        likewise val, test
        root/images/a.jpg         root/masks/a.png              dealt at random by `split`

    Subfolders are allowed. A split without a folder, or with a share of 0, does not exist.

    Args:
        root: the data set's folder.
        labels: what the values in mask files mean.
        channels: channels of every image.
        images: name of the images' folder.
        masks: name of the masks' folder.
        image_suffix: end of every image's name that its mask does not share, e.g. "_leftImg8bit".
        mask_suffix: end of every mask's name that its image does not share, e.g. "_mask".
        split: shares of "val" and "test", and a "seed", for the third layout.
        exif: "apply" turns images by their EXIF orientation, as viewers show them; "ignore" takes them as
            they are stored. Masks are always taken as they are stored.

    Raises:
        UserError: the root is missing, or its folders are in none of the layouts.
    """

    exact_bands = False
    """Whether an image needs to have as many bands as `channels`, in training and in prediction."""

    def __init__(
        self,
        root: str | Path,
        labels: Labels,
        channels: int = 3,
        images: str = "images",
        masks: str = "masks",
        image_suffix: str = "",
        mask_suffix: str = "",
        split: Mapping[str, Any] | None = None,
        exif: str = "apply",
    ) -> None:
        self.root = existing_root(root)
        self.labels = labels
        self.channels = channels
        self.reader = ImageReader(channels, exif=exif)
        self.suffixes = (image_suffix, mask_suffix)
        self.places = self._find_places(images, masks)
        self.shares = dict(split or {})

    def split(self, name: str) -> Split | None:
        """The split, checked, or None.

        Raises:
            UserError: images without masks or the reverse, sizes that differ, unreadable files.
        """
        pairs = self.pairs(name)
        items = [Item(key, image, mask) for key, (image, mask) in pairs.items()]
        if not items:
            return None
        split = FolderSplit(items, self.reader, self.labels.read)
        masks = read_headers([pairs[item.key][1] for item in split.items])
        _check_sizes(split, masks)
        keys = [item.key for item in split.items]
        split.remarks = of_orientation(dict(zip(keys, split.headers, strict=True)), self.reader.exif, masks)
        if not self.labels.has_palette:
            tables = dict(zip(keys, masks, strict=True))
            split.remarks += of_colour_tables(tables, len(self.labels.classes))
        return split

    def pairs(self, name: str) -> dict[str, tuple[Path, Path]]:
        """Image and mask by key; none where there is no such split.

        Raises:
            UserError: images without masks or the reverse.
        """
        place = self.places.get(name) or self.places.get("")
        if place is None:
            return {}
        images, masks = (find_images(folder, end) for folder, end in zip(place, self.suffixes, strict=True))
        _check_pairs(images, masks, place)
        dealt = deal(list(images), **self.shares)[name] if "" in self.places else images
        return {key: (images[key], masks[key]) for key in dealt}

    def describe(self) -> str:
        """Where the splits come from, for the start of a run."""
        dealt = f"splits dealt at random: data.source.split={self.shares}"
        return dealt if "" in self.places else f"splits by the folders {', '.join(self.places)}"

    def _find_places(self, images: str, masks: str) -> dict[str, tuple[Path, Path]]:
        """Folders of images and masks by split; the name "" stands for all splits together."""
        root, all_images, all_masks = self.root, self.root / images, self.root / masks
        by_split = {name: (path / images, path / masks) for name, path in split_folders(root).items()}
        by_kind = {name: (path, all_masks / name) for name, path in split_folders(all_images).items()}
        together = {"": (all_images, all_masks)} if all_images.is_dir() else {}
        if places := by_split or by_kind or together:
            return places
        raise UserError(
            f"data.root={root} has none of the known layouts",
            found=f"in the root: {some(sorted(path.name for path in root.iterdir()))}",
            expected=f"train/{images} + train/{masks}; {images}/train + {masks}/train; or {images} + {masks}",
            fix="name your folders: data.source.images=… data.source.masks=…",
        )


def _check_pairs(images: dict[str, Path], masks: dict[str, Path], place: tuple[Path, Path]) -> None:
    lonely = {"a mask": images.keys() - masks.keys(), "an image": masks.keys() - images.keys()}
    found = [f"{len(keys):,} without {other}: {some(sorted(keys))}" for other, keys in lonely.items() if keys]
    if found:
        raise UserError(
            f"images in {place[0]} and masks in {place[1]} do not match",
            found="; ".join(found),
            expected="one mask per image, of the same name but for its ending",
            fix="add or remove files; data.source.mask_suffix=_mask for masks named like a_mask.png",
            every=[f"{key} without {other}" for other, keys in lonely.items() for key in sorted(keys)],
        )


def _check_sizes(split: FolderSplit, masks: Sequence[Header]) -> None:
    """Each mask has its image's size; where only EXIF parts them, the message says so."""
    exif = split.reader.exif
    differing: list[str] = []
    advice: list[str] = []
    for item, header, mask in zip(split.items, split.headers, masks, strict=True):
        (height, width), truth = header.size(exif), mask.stored
        if (height, width) != truth:
            differing.append(f"{item.key} (image {height}×{width}, mask {truth[0]}×{truth[1]})")
            advice += filter(None, [how_exif_fits(header, truth, exif)])
    if differing:
        raise UserError(
            f"{len(differing):,} of {len(split):,} masks differ in size from their image",
            found=f"{some(differing)} (height×width)",
            fix=f"{advice[0]} ({len(advice):,} of these)" if advice else "make the masks anew",
            every=differing,
        )
