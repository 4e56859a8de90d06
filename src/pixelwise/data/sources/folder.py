"""Images with masks, in folders (for one folder per class see `class_folders`).

File names and headers are checked when a split is first read, before any training; ten thousand pairs take a
few seconds. A random split reads all masks as well, to be stratified by their classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.checks import checked
from pixelwise.data.io.images import Header, ImageReader
from pixelwise.data.io.listing import existing_root, expand, find_images, image_files, read_headers
from pixelwise.data.io.orientation import Exif
from pixelwise.data.labels import LabelError, Labels
from pixelwise.data.remarks import colour_table_remarks, lossy_remarks, orientation_remarks
from pixelwise.data.sources.file_split import FolderSplit, Item
from pixelwise.data.sources.pairs import check_listed, check_pairs, check_sizes
from pixelwise.data.split_files import read_split_files
from pixelwise.data.splits import (
    RANDOM_VAL_FIX,
    Shares,
    SplitFolders,
    find_splits,
    note_unused,
    random_split,
    stratified_split,
)
from pixelwise.data.statistics import in_threads
from pixelwise.errors import UserError, some
from pixelwise.kinds import Count, FilePath, PathText
from pixelwise.types import Source, Split


@checked
class FolderSegmentation(Source):
    """Images and masks with the same names, in one of three layouts.

        root/train/images/a.jpg   root/train/masks/a.png        likewise val (valid, validation, dev), test
        root/images/train/a.jpg   root/masks/train/a.png        likewise
        root/images/a.jpg         root/masks/a.png              split at random by `split`

    Images and masks may share a folder, as in root/train/a.jpg and root/train/a_mask.png, or root/a.jpg and
    root/a_mask.png: `images` and `masks` are then both ".", and `mask_suffix` is "_mask". In the third
    layout, lists of names may replace the random split: `split_files`. A `*` in the names of both folders
    means all folders that match: "*/images" and "*/masks" for root/train/scene/images/a.jpg.

    Subfolders are allowed. A split without a folder, or with a share of 0, does not exist. Test images
    without masks are there to predict, as `describe` says, and are no split.

    Args:
        root: the data set's folder.
        labels: decoder of the values in mask files.
        channels: number of channels of every image.
        images: name of the folder of images; "." is the folder of the split, or the root.
        masks: name of the folder of masks, likewise.
        image_suffix: end of the image names that mask names do not have, e.g. "_leftImg8bit".
        mask_suffix: end of the mask names that image names do not have, e.g. "_mask".
        split: shares of "val" and "test", and a "seed", for the third layout.
        split_files: path of a list of names, one a line, by split; absolute or relative to `root`. The lists
            replace `split` and folders of splits; files in no list are left out.
        exif: "apply" rotates images by their EXIF orientation, as viewers show them; "ignore" reads them as
            stored. Masks are always read as stored.
        split_folders: name of the folder of each split, if they are not train, val and test; other folders
            are no splits.

    Raises:
        UserError: the root is missing, or its folders match none of the layouts.
    """

    is_stratified = True
    """Whether a random split is stratified by the classes in the masks, which must be read for it."""

    def __init__(
        self,
        root: FilePath,
        labels: Labels,
        channels: Count = 3,
        images: PathText = "images",
        masks: PathText = "masks",
        image_suffix: str = "",
        mask_suffix: str = "",
        split: Shares | None = None,
        exif: Exif = "apply",
        split_files: Mapping[str, PathText] | None = None,
        split_folders: SplitFolders | None = None,
    ) -> None:
        self.root = existing_root(root)
        self.labels = labels
        self.channels = channels
        self.reader = ImageReader(channels, exif=exif)
        self.suffixes = (image_suffix, mask_suffix)
        if Path(images) == Path(masks) and image_suffix == mask_suffix:
            raise UserError(
                "data.source: images and masks in one folder need names that differ",
                found=f"images={images} masks={masks}, and {image_suffix!r} ends the names of both",
                fix="data.source.mask_suffix=_mask for masks named like a_mask.png",
            )
        self.files = split_files or {}
        self.names = split_folders
        """Names of the folders of the splits, if they have other names."""
        self.lists = read_split_files(self.root, self.files, images, image_suffix)
        """Keys by split, if lists define the splits."""
        together = {"": (self.root / images, self.root / masks)}
        self.places = together if self.files else self._find_places(images, masks)
        self.unlabelled = self._find_unlabelled()
        """Folder of the test images, which are no split, if there are no masks for them."""
        self.shares: dict[str, Any] = {**(split or {})}
        self._drawn: dict[str, list[str]] | None = None

    def split(self, name: str) -> Split | None:
        """Return the split after checking its files, or None if it is empty.

        Raises:
            UserError: images without masks or the reverse, different sizes, unreadable files.
        """
        pairs = self.pairs(name)
        items = [Item(key, image, mask) for key, (image, mask) in pairs.items()]
        if not items:
            return None
        split = FolderSplit(items, self.reader, self.labels.read)
        masks = read_headers([pairs[item.key][1] for item in split.items])
        check_sizes(split, masks)
        keys = [item.key for item in split.items]
        split.remarks = orientation_remarks(
            dict(zip(keys, split.headers, strict=True)), self.reader.exif, masks
        )
        split.remarks += self.mask_remarks(dict(zip(keys, masks, strict=True)))
        return split

    def mask_remarks(self, masks: Mapping[str, Header]) -> list[str]:
        """Return warnings about masks, from their headers by key."""
        remarks = [] if self.labels.has_palette else colour_table_remarks(masks, len(self.labels.classes))
        return remarks + (lossy_remarks(masks) if self.labels.threshold is None else [])

    def pairs(self, name: str) -> dict[str, tuple[Path, Path]]:
        """Return image and mask by key; empty if the split does not exist.

        Raises:
            UserError: images without masks or the reverse.
        """
        folders = self.places.get(name) or self.places.get("")
        if folders is None or (self.files and name not in self.lists):
            return {}
        images, masks = (self._list(folders, index) for index in (0, 1))
        if self.files:
            listed = self.lists[name]
            check_listed(listed, images, folders[0], name)
            images, masks = ({key: kind[key] for key in listed if key in kind} for kind in (images, masks))
        check_pairs(images, masks, folders)
        is_random = "" in self.places and not self.files
        keys = self._random_splits(masks)[name] if is_random else images
        return {key: (images[key], masks[key]) for key in keys}

    def _random_splits(self, masks: Mapping[str, Path]) -> dict[str, list[str]]:
        """Split the keys at random; the masks are read once."""
        if self._drawn is None:
            paths = list(masks.values())
            present = in_threads(lambda index: self._classes_in(paths[index]), len(paths))
            self._drawn = (
                stratified_split(dict(zip(masks, present, strict=True)), **self.shares)
                if self.is_stratified
                else random_split(list(masks), **self.shares)
            )
        return self._drawn

    def _classes_in(self, mask: Path) -> list[int]:
        """List the classes of a mask; none if it is damaged, which is an error when it is read as an item."""
        try:
            target = self.labels.read(mask)
        except LabelError as error:
            target = error.target
        except UserError:
            return []
        return np.flatnonzero(np.bincount(target.ravel(), minlength=256)[: len(self.labels.classes)]).tolist()

    def _list(self, folders: tuple[Path, Path], index: int) -> dict[str, Path]:
        """List the images (0) or the masks (1) by key; in a shared folder, the longer suffix decides."""
        suffix, other = self.suffixes[index], self.suffixes[1 - index]
        without = other if folders[0] == folders[1] and len(other) > len(suffix) else None
        places = expand(folders[index]) or {"": folders[index]}  # a missing folder is an error there
        return {
            f"{place}/{key}" if place else key: path
            for place, folder in places.items()
            for key, path in find_images(folder, suffix, without).items()
        }

    def describe(self) -> str:
        """Describe the origin of the splits, for the start of a run."""
        if self.files:
            lists = ", ".join(f"{name} {len(keys):,}" for name, keys in self.lists.items())
            without = "" if len(self.lists) == len(self.files) else "; no masks for the images of test"
            return f"splits from the lists data.source.split_files: {lists}{without}"
        if "" in self.places:
            by_class = ", stratified by the classes in the masks" if self.is_stratified else ""
            origin = f"splits drawn at random{by_class}: data.source.split={self.shares}"
        else:
            origin = f"splits from the folders {', '.join(self.places)}"
        folders = (found for pair in self.places.values() for path in pair for found in expand(path).values())
        return origin + note_unused(self.root, folders, self.unlabelled)

    def fix_missing_val(self) -> str | None:
        """Return the overrides that split val off at random."""
        if self.files:
            return "data.source.split_files.val=…, a list of other names"
        if "" in self.places:
            return RANDOM_VAL_FIX
        if "train" not in self.places:
            return None
        images, masks = self.places["train"]
        if self.root / "train" in (images, *images.parents):
            overrides = f"data.root={self.root / 'train'}"
        else:
            folders = (path.relative_to(self.root) for path in (images, masks))
            overrides = "data.source.images={} data.source.masks={}".format(*folders)
        return f"{overrides} data.source.split.test=0 splits val off train at random"

    def _find_unlabelled(self) -> Path | None:
        """Remove test from the splits if it has images but no mask; return the folder of these images."""
        images, masks = self.places.get("test", (self.root, self.root))
        if "test" in self.lists and not self._list(self.places[""], 1).keys() & self.lists["test"]:
            del self.lists["test"]
        if "test" not in self.places:
            return None
        places = expand(images) or {"": images.parent}
        found = [path for folder in places.values() for path in image_files(folder)]
        if images == masks:
            has_masks = any(path.stem.endswith(self.suffixes[1]) for path in found)
        else:
            has_masks = any(map(image_files, expand(masks).values()))
        if has_masks or not found:
            return None
        del self.places["test"]
        return images if images.is_dir() else next(p for p in images.parents if "*" not in str(p))

    def _find_places(self, images: str, masks: str) -> dict[str, tuple[Path, Path]]:
        """Find the folders of images and masks by split; the name "" means all splits together."""
        root, all_images, all_masks = self.root, self.root / images, self.root / masks
        by_split, by_kind = (find_splits(path, folders=self.names) for path in (root, all_images))
        places = {name: (path / images, path / masks) for name, path in by_split.items()}
        places = places or {name: (path, all_masks / path.name) for name, path in by_kind.items()}
        if not places and not self.names and expand(all_images):
            places = {"": (all_images, all_masks)}
        in_one_folder = None
        if not any(expand(folder) for folder, _ in places.values()):
            in_one_folder = _fix_for_one_folder(root)
        if places and not in_one_folder:
            return places
        train = (self.names or {}).get("train", "train")
        raise UserError(
            f"data.root={root} has none of the known layouts",
            found=f"in the root: {some(sorted(path.name for path in root.iterdir()))}",
            expected=f"{train}/{images} + {train}/{masks}; {images}/{train} + {masks}/{train}; "
            f"or {images} + {masks}",
            fix=in_one_folder or "set the names of your folders: data.source.images=… data.source.masks=…",
        )


def _fix_for_one_folder(root: Path) -> str | None:
    """Return the overrides that read images and masks in one folder, if there are such files."""
    stems = {path.with_suffix("") for path in image_files(root)}
    for path in sorted(stems):
        for suffix in ("_mask", "_label", "_gt", "_seg"):
            if path.name.endswith(suffix) and path.with_name(path.name.removesuffix(suffix)) in stems:
                return f"data.source.images=. data.source.masks=. data.source.mask_suffix={suffix}"
    return None
