"""Checks that images and masks belong together: one mask for each image, of its size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pixelwise.data.io.images import Header
from pixelwise.data.remarks import exif_fix
from pixelwise.data.sources.file_split import FolderSplit
from pixelwise.errors import UserError, some


def check_listed(keys: Sequence[str], images: Mapping[str, Path], folder: Path, split: str) -> None:
    """Check that every name of a list of a split has an image."""
    if missing := [key for key in keys if key not in images]:
        raise UserError(
            f"data.source.split_files: {len(missing):,} of {len(keys):,} names of {split} have no image",
            found=some(missing),
            expected=f"names of images in {folder}, such as {next(iter(images))}",
            every=missing,
        )


def check_pairs(images: dict[str, Path], masks: dict[str, Path], folders: tuple[Path, Path]) -> None:
    """Check that every image has a mask and every mask an image."""
    unpaired = {"a mask": images.keys() - masks.keys(), "an image": masks.keys() - images.keys()}
    found = [
        f"{len(keys):,} without {other}: {some(sorted(keys))}" for other, keys in unpaired.items() if keys
    ]
    if found:
        raise UserError(
            f"images in {folders[0]} and masks in {folders[1]} do not match",
            found="; ".join(found),
            expected="one mask per image, with the same name except for the suffix",
            fix="add or remove files; data.source.mask_suffix=_mask for masks named like a_mask.png",
            every=[f"{key} without {other}" for other, keys in unpaired.items() for key in sorted(keys)],
        )


def check_sizes(split: FolderSplit, masks: Sequence[Header]) -> None:
    """Check that each mask has the size of its image; the message says if only EXIF causes the difference."""
    exif = split.reader.exif
    differing: list[str] = []
    advice: list[str] = []
    for item, header, mask in zip(split.items, split.headers, masks, strict=True):
        (height, width), mask_size = header.size(exif), mask.stored
        if (height, width) != mask_size:
            differing.append(f"{item.key} (image {height}×{width}, mask {mask_size[0]}×{mask_size[1]})")
            advice += filter(None, [exif_fix(header, mask_size, exif)])
    if differing:
        raise UserError(
            f"{len(differing):,} of {len(split):,} masks differ in size from their image",
            found=f"{some(differing)} (height×width)",
            fix=f"{advice[0]} ({len(advice):,} of these)" if advice else "create the masks again",
            every=differing,
        )
