"""Images with one class each: one folder per class, or a CSV table."""

from __future__ import annotations

import csv as csv_format
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pixelwise.data.io.images import ImageReader
from pixelwise.data.io.listing import existing_root, find_images, image_files, key_of, subfolders
from pixelwise.data.io.orientation import Exif
from pixelwise.data.remarks import orientation_remarks
from pixelwise.data.sources.file_split import FolderSplit, Item
from pixelwise.data.splits import NAMES, RANDOM_VAL_FIX, Shares, find_splits, note_unused, random_split
from pixelwise.errors import UserError, nearest, some
from pixelwise.kinds import Count, FilePath, PathText
from pixelwise.types import Source


class FolderClassification(Source):
    """Images with one class each, in one of three layouts.

        root/train/cat/a.jpg        likewise val (or valid, validation, dev), test
        root/cat/a.jpg              split at random by `split`, class by class
        root/labels.csv             columns file, label and, optionally, split

    Images in root/test/ without class folders are there to predict, as `describe` says, and are no split.

    Args:
        root: the data set's folder.
        classes: names of the class folders, in the order of their indices.
        channels: channels of every image.
        csv: path of the table, absolute or relative to `root`, like the paths inside it; null reads folders.
        skip: labels to leave out; any other label that is not a class is an error.
        split: shares of "val" and "test", and a "seed", if neither folders nor the table define the splits.
        exif: "apply" rotates images by their EXIF orientation, as viewers show them; "ignore" reads them as
            stored.
        class_folders: names of the class folders, or the labels in the table, in the order of `classes`;
            None: those of the classes.

    Raises:
        UserError: the root is missing, or the labels do not match the classes.
    """

    def __init__(
        self,
        root: FilePath,
        classes: Sequence[str],
        channels: Count = 3,
        csv: PathText | None = None,
        skip: Sequence[str] = (),
        split: Shares | None = None,
        exif: Exif = "apply",
        class_folders: Sequence[str] | None = None,
    ) -> None:
        self.root = existing_root(root)
        self.classes = [str(name) for name in (classes if class_folders is None else class_folders)]
        if len(self.classes) != len(classes):
            raise UserError(
                "data.source.class_folders",
                found=len(self.classes),
                expected=f"{len(classes)} names, one a class",
            )
        self.reader = ImageReader(channels, exif=exif)
        self.skip = {str(name) for name in skip}
        self.shares: dict[str, Any] = {**(split or {})}
        self.items: dict[str, list[Item]] = defaultdict(list)
        """Items by split; under "" if neither folders nor the table define the splits."""
        self.unlabelled: Path | None = None
        """Folder of the test images, which are no split, if it holds no class folders."""
        self.folders: list[Path] = []
        """Folders of the classes, and those left out by `skip`."""
        self.csv = csv
        if csv is None:
            self._list_folders()
        else:
            self._list_table(self.root / csv)

    def split(self, name: str) -> FolderSplit | None:
        """Return the split, or None if it is empty.

        Raises:
            UserError: files are missing or unreadable.
        """
        items = list(self.items.get(name, ()))
        for index in range(len(self.classes)):  # class by class, so that a rare class is in every split
            of_class = {item.key: item for item in self.items.get("", ()) if item.target == index}
            items += [of_class[key] for key in random_split(list(of_class), **self.shares)[name]]
        if not items:
            return None
        split = FolderSplit(items, self.reader)
        headers = {item.key: header for item, header in zip(split.items, split.headers, strict=True)}
        split.remarks = orientation_remarks(headers, self.reader.exif)
        return split

    def describe(self) -> str:
        """Describe the origin of the splits, for the start of a run."""
        origin = f"splits defined by the data set: {', '.join(self.items)}"
        if "" in self.items:
            origin = f"splits drawn at random: data.source.split={self.shares}"
        return origin + (note_unused(self.root, self.folders, self.unlabelled) if self.csv is None else "")

    def fix_missing_val(self) -> str | None:
        """Return how to split val off at random."""
        if "" in self.items:
            return RANDOM_VAL_FIX
        if "train" not in self.items:
            return None
        if self.csv is not None:
            return f"set the column split of {self.csv} to val in some lines, or remove it to split at random"
        return f"data.root={self.root / 'train'} data.source.split.test=0 splits val off train at random"

    def _list_folders(self) -> None:
        parents = find_splits(self.root, others=self.classes) or {"": self.root}
        for split, parent in parents.items():
            if split == "test" and not subfolders(parent) and image_files(parent):
                self.unlabelled = parent
            labels = set(subfolders(parent)) - self.skip
            self._check_labels(labels, f"the folders in {parent}", complete=split in ("", "train"))
            self.folders += [parent / label for label in labels | self.skip]
            for label in labels:
                for key, path in find_images(parent / label).items():
                    self.items[split].append(Item(f"{label}/{key}", path, self.classes.index(label)))

    def _list_table(self, table: Path) -> None:
        if not table.is_file():
            raise UserError(f"{table} does not exist", expected="the table of data.source.csv")
        header, lines = _read_table(table)
        if not {"file", "label"} <= {*header}:
            found = some(header, 10) or "nothing"
            raise UserError(f"{table} has the wrong columns", found=found, expected="file, label[, split]")
        if incomplete := [number for number, row in lines if not (row["file"] and row["label"])]:
            what = f"{table}: file or label is missing"
            raise UserError(what, found=f"line {some(incomplete)}", expected="both in every line")
        rows = [row for _, row in lines if row["label"] not in self.skip]
        self._check_labels({row["label"] for row in rows}, f"the labels in {table}")
        splits = {row.get("split", "") for row in rows}
        if not splits <= {*NAMES} and splits != {""}:
            found = some(repr(name) for name in sorted(splits))
            raise UserError(
                f"{table}: wrong values in the column split", found=found, expected=", ".join(NAMES)
            )
        for row in rows:
            file = self.root / row["file"]
            key = key_of(Path(os.path.relpath(file, self.root)).with_suffix(""))  # one key, however written
            item = Item(key, file, self.classes.index(row["label"]))
            self.items[NAMES.get(row.get("split", ""), "")].append(item)
        keys = Counter(item.key for items in self.items.values() for item in items)
        if repeated := [key for key, count in keys.items() if count > 1]:
            raise UserError(
                f"{table} lists images more than once", found=some(repeated), fix="keep one line each"
            )

    def _check_labels(self, labels: set[str], where: str, complete: bool = True) -> None:
        """Check that all labels are names of classes and, with `complete`, that every class occurs."""
        extra = sorted(labels - {*self.classes})
        missing = [name for name in self.classes if name not in labels] if complete else []
        if extra or missing:
            similar = [f"{name} → {match[0]}" for name in missing if (match := nearest(name, extra, 1))]
            skip = f"; 'data.source.skip=[{','.join(extra)}]' leaves labels out" if extra else ""
            without = f"; without {some(missing)}" if missing else ""
            raise UserError(
                f"{where} do not match the classes",
                found=(some(sorted(labels), 20) or "none") + without,
                expected=f"{some(self.classes, 20)} (data.classes)",
                fix=f"perhaps in data.classes: {some(similar)}" if similar else f"correct data.classes{skip}",
            )


def _read_table(table: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Read the header, and each row with the number of its last line."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv_format.DictReader(file, restval="", skipinitialspace=True)
            rows = [(reader.line_num, row) for row in reader]
            return list(reader.fieldnames or ()), rows
    except UnicodeDecodeError as error:
        fix = "save the table as CSV UTF-8"
        raise UserError(f"{table} is not text in UTF-8", found=error, fix=fix) from error
