"""A user's own images with masks, in folders (for one folder per class see `class_folders`).

Everything that can be told from names and headers is checked when a split is first asked for, before any
training; ten thousand pairs take a few seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pixelwise.data.io.images import read_image
from pixelwise.data.io.listing import existing_root, find_images, read_sizes
from pixelwise.data.labels import Labels
from pixelwise.data.splits import deal, split_folders
from pixelwise.errors import UserError, some
from pixelwise.types import Raw, Source, Split


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
        channels: channels of every image.
        read_target: turns an item's target into a mask or a class index.

    Raises:
        UserError: images are unreadable; the first few are named.
    """

    def __init__(self, items: Sequence[Item], channels: int, read_target: Callable[[Any], Any] = int) -> None:
        self.items = sorted(items)
        self.channels = channels
        self.read_target = read_target
        self.sizes = read_sizes([item.image for item in self.items])

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Raw:
        return Raw(self.image(index), self.target(index), self.key(index))

    def key(self, index: int) -> str:
        """The item's name."""
        return self.items[index].key

    def size(self, index: int) -> tuple[int, int]:
        """(H, W) as the header says."""
        return self.sizes[index]

    def image(self, index: int) -> np.ndarray:
        """(H, W, channels) uint8, uint16 or float32."""
        return read_image(self.items[index].image, self.channels)

    def target(self, index: int) -> np.ndarray | int:
        """(H, W) uint8 index mask, or one class index."""
        return self.read_target(self.items[index].target)

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

    Raises:
        UserError: the root is missing, or its folders are in none of the layouts.
    """

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
    ) -> None:
        self.root = existing_root(root)
        self.labels = labels
        self.channels = channels
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
        split = FolderSplit(items, self.channels, self.labels.read)
        _check_sizes(split, [pairs[item.key][1] for item in split.items])
        return split if items else None

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


def _check_sizes(split: FolderSplit, masks: Sequence[Path]) -> None:
    differing = [
        f"{item.key} (image {image[0]}×{image[1]}, mask {mask[0]}×{mask[1]})"
        for item, image, mask in zip(split.items, split.sizes, read_sizes(masks), strict=True)
        if image != mask
    ]
    if differing:
        raise UserError(
            f"{len(differing):,} of {len(split):,} masks differ in size from their image",
            found=f"{some(differing)} (height×width)",
            fix="make the masks anew; where height and width are swapped (EXIF): mogrify -auto-orient IMAGE",
            every=differing,
        )
