"""A user's own images with masks, in folders (for one folder per class see `class_folders`).

Everything that can be told from names and headers is checked when a split is first asked for, before any
training; ten thousand pairs take a few seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pixelwise.data.images import read_image
from pixelwise.data.labels import Labels
from pixelwise.data.listing import (
    SPLITS,
    counted,
    deal,
    describe_deal,
    existing_root,
    find_images,
    read_headers,
    refuse_misnamed_splits,
    some,
    subfolders,
)
from pixelwise.errors import UserError
from pixelwise.types import Raw


class FolderSplit:
    """Images and their labels, one file each, read when asked for (a `pixelwise.types.Split`).

    Args:
        images: image files by key.
        targets: by the same keys, mask files (decoded by `labels`) or class indices.
        channels: channels of every image.
        labels: what the values in mask files mean.

    Raises:
        UserError: files are unreadable; the first few are named.
    """

    def __init__(
        self,
        images: Mapping[str, Path],
        targets: Mapping[str, Path | int],
        channels: int,
        labels: Labels | None = None,
    ) -> None:
        self.keys = sorted(images)
        self.images = [images[key] for key in self.keys]
        self.targets = [targets[key] for key in self.keys]
        self.channels = channels
        self.labels = labels
        self.headers = read_headers(self.images)

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Raw:
        return Raw(self.image(index), self.target(index), self.key(index))

    def key(self, index: int) -> str:
        """The item's path below the images' folder, without its ending."""
        return self.keys[index]

    def size(self, index: int) -> tuple[int, int]:
        """(H, W) as the header says."""
        return self.headers[index].size

    def image(self, index: int) -> np.ndarray:
        """(H, W, channels) uint8, uint16 or float32."""
        return read_image(self.images[index], self.channels)

    def target(self, index: int) -> np.ndarray | int:
        """(H, W) uint8 index mask, or one class index."""
        target = self.targets[index]
        if isinstance(target, int):
            return target
        assert self.labels is not None
        return self.labels.read(target)

    def stored_bytes(self, index: int) -> int:
        """Bytes of the item's files: changes with most edits, and costs no reading."""
        files = (self.images[index], self.targets[index])
        return sum(path.stat().st_size for path in files if isinstance(path, Path))


class FolderSegmentation:
    """Images and masks of equal name, in one of three layouts (a `pixelwise.types.Source`).

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
        ignore_exif_rotation: read images as stored although their headers ask for a rotation; right when the
            masks were drawn on the stored pixels.

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
        split: Mapping[str, float] | None = None,
        ignore_exif_rotation: bool = False,
    ) -> None:
        self.root = existing_root(root)
        self.labels = labels
        self.channels = channels
        self.suffixes = (image_suffix, mask_suffix)
        self.ignore_exif_rotation = ignore_exif_rotation
        self.places = self._find_places(images, masks)
        self.split_options = split
        self._splits: dict[str, FolderSplit | None] = {}

    def split(self, name: str) -> FolderSplit | None:
        """The split, checked, or None; checked once and kept.

        Raises:
            UserError: images without masks or the reverse, sizes that differ, unreadable files, rotations.
        """
        if name not in self._splits:
            self._splits[name] = self._read_split(name)
        return self._splits[name]

    def describe(self) -> str:
        """Where the splits come from, for the start of a run."""
        if "" in self.places:
            return f"splits drawn at random by data.source.split ({describe_deal(self.split_options)})"
        folders = ", ".join(images.relative_to(self.root).as_posix() for images, _ in self.places.values())
        return f"splits by the folders {folders}"

    def _find_places(self, images: str, masks: str) -> dict[str, tuple[Path, Path]]:
        """Folders of images and masks by split; the name "" stands for all splits together."""
        root, images_root, masks_root = self.root, self.root / images, self.root / masks
        by_split = {n: (root / n / images, root / n / masks) for n in SPLITS if (root / n).is_dir()}
        by_kind = {n: (images_root / n, masks_root / n) for n in SPLITS if (images_root / n).is_dir()}
        together = {"": (images_root, masks_root)} if images_root.is_dir() and not by_kind else {}
        for folder in (root, images_root):
            refuse_misnamed_splits(folder)
        fitting = [layout for layout in (by_split, by_kind, together) if layout]
        if len(fitting) == 1:
            return fitting[0]
        raise UserError(
            f"data.root={root} {'mixes two layouts' if fitting else 'has none of the known layouts'}",
            found=f"the folders {some(subfolders(root))}" if subfolders(root) else "no folders",
            expected=f"train/{images} and train/{masks}; or {images}/train and {masks}/train;"
            f" or {images} and {masks}",
            fix=None if fitting else "name your folders: data.source.images=… data.source.masks=…",
        )

    def _read_split(self, name: str) -> FolderSplit | None:
        place = self.places.get("" if "" in self.places else name)
        if place is None:
            return None
        images, masks = (find_images(folder, end) for folder, end in zip(place, self.suffixes, strict=True))
        _check_pairs(images, masks, place)
        if "" in self.places:
            chosen = deal(list(images), self.split_options)[name]
            if not chosen:
                return None
            images = {key: images[key] for key in chosen}
        split = FolderSplit(images, masks, self.channels, self.labels)
        _check_sizes(split)
        if not self.ignore_exif_rotation:
            _refuse_exif_rotation(split)
        return split


def _check_pairs(images: dict[str, Path], masks: dict[str, Path], place: tuple[Path, Path]) -> None:
    lonely_images, lonely_masks = sorted(images.keys() - masks.keys()), sorted(masks.keys() - images.keys())
    if not lonely_images and not lonely_masks:
        return
    found = []
    if lonely_images:
        found.append(f"{counted(len(lonely_images), 'image')} without a mask: {some(lonely_images)}")
    if lonely_masks:
        found.append(f"{counted(len(lonely_masks), 'mask')} without an image: {some(lonely_masks)}")
    ending = _common_ending(lonely_images, lonely_masks)
    raise UserError(
        f"images in {place[0]} and masks in {place[1]} do not match",
        found="; ".join(found),
        expected="one mask per image, of the same name but for its ending",
        fix=f"data.source.mask_suffix={ending}" if ending else "add what is missing, or move the others away",
    )


def _common_ending(images: list[str], masks: list[str]) -> str | None:
    """What every mask's name has after its image's name, if that explains all mismatches."""
    if len(images) != len(masks):
        return None
    endings = {mask.removeprefix(image) for image, mask in zip(images, masks, strict=True)}
    ending = endings.pop()
    return ending if not endings and ending not in masks else None


def _check_sizes(split: FolderSplit) -> None:
    masks = [path for path in split.targets if isinstance(path, Path)]
    differing = [
        f"{key} (image {_hw(image.size)}, mask {_hw(mask.size)})"
        for key, image, mask in zip(split.keys, split.headers, read_headers(masks), strict=True)
        if image.size != mask.size
    ]
    if differing:
        raise UserError(
            f"{len(differing):,} of {counted(len(split), 'mask')} differ in size from their image",
            found=f"{some(differing)} (height×width)",
            fix="make the masks anew at their images' size; swapped height and width tell of an image whose"
            " header asks for a rotation (EXIF): rotate its pixels once, e.g. mogrify -auto-orient",
        )


def _refuse_exif_rotation(split: FolderSplit) -> None:
    """Stop where image and mask may be turned against each other; a half turn leaves the sizes equal."""
    keys = [key for key, header in zip(split.keys, split.headers, strict=True) if header.is_rotated]
    if keys:
        raise UserError(
            f"EXIF headers rotate {counted(len(keys), 'image')}; the masks may have this rotation or not",
            found=some(keys),
            expected="images and masks that agree pixel by pixel",
            fix="data.source.ignore_exif_rotation=true if the masks were drawn on the stored pixels;"
            " otherwise rotate the images' pixels once, e.g. mogrify -auto-orient",
        )


def _hw(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"
