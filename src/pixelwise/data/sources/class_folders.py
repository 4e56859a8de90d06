"""A user's own images with one class each: a folder per class, or a CSV table."""

from __future__ import annotations

import csv as csv_format
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pixelwise.data.io.images import ImageReader
from pixelwise.data.io.listing import existing_root, find_images, subfolders
from pixelwise.data.remarks import of_orientation
from pixelwise.data.sources.folder import FolderSplit, Item
from pixelwise.data.splits import SPLITS, deal, split_folders
from pixelwise.errors import UserError, nearest, some
from pixelwise.types import Source


class FolderClassification(Source):
    """Images with one class each, in one of three layouts.

        root/train/cat/a.jpg        likewise val, test
        root/cat/a.jpg              dealt at random by `split`, class by class
        root/labels.csv             columns file, label and, if the table deals the splits, split

    Args:
        root: the data set's folder.
        classes: names of the class folders, in the order of their indices.
        channels: channels of every image.
        csv: the table's path, absolute or below `root`, as its files are; null reads folders.
        skip: labels to leave out; any other label that is no class is an error.
        split: shares of "val" and "test", and a "seed", where neither folders nor the table tell.
        exif: "apply" turns images by their EXIF orientation, as viewers show them; "ignore" takes them as
            they are stored.

    Raises:
        UserError: the root is missing, or its labels are not the classes.
    """

    exact_bands = False

    def __init__(
        self,
        root: str | Path,
        classes: Sequence[str],
        channels: int = 3,
        csv: str | None = None,
        skip: Sequence[str] = (),
        split: Mapping[str, Any] | None = None,
        exif: str = "apply",
    ) -> None:
        self.root = existing_root(root)
        self.classes = [str(name) for name in classes]
        self.reader = ImageReader(channels, exif=exif)
        self.skip = {str(name) for name in skip}
        self.shares = dict(split or {})
        self.items: dict[str, list[Item]] = defaultdict(list)
        """By split; under "" where neither folders nor the table tell."""
        if csv is None:
            self._list_folders()
        else:
            self._list_table(self.root / csv)

    def split(self, name: str) -> FolderSplit | None:
        """The split, or None.

        Raises:
            UserError: files are missing or unreadable.
        """
        items = list(self.items.get(name, ()))
        for index in range(len(self.classes)):  # class by class, so that a rare class is in every split
            free = {item.key: item for item in self.items.get("", ()) if item.target == index}
            items += [free[key] for key in deal(list(free), **self.shares)[name]]
        if not items:
            return None
        found = FolderSplit(items, self.reader)
        headers = {item.key: header for item, header in zip(found.items, found.headers, strict=True)}
        found.remarks = of_orientation(headers, self.reader.exif)
        return found

    def describe(self) -> str:
        """Where the splits come from, for the start of a run."""
        dealt = f"splits dealt at random: data.source.split={self.shares}"
        return dealt if "" in self.items else f"splits as the data set gives them: {', '.join(self.items)}"

    def _list_folders(self) -> None:
        parents = split_folders(self.root, others=self.classes) or {"": self.root}
        for split, parent in parents.items():
            labels = set(subfolders(parent)) - self.skip
            self._check_labels(labels, f"the folders in {parent}", complete=split in ("", "train"))
            for label in labels:
                for key, path in find_images(parent / label).items():
                    self.items[split].append(Item(f"{label}/{key}", path, self.classes.index(label)))

    def _list_table(self, table: Path) -> None:
        if not table.is_file():
            raise UserError(f"{table} is not there", expected="the table that data.source.csv names")
        header, lines = _read_table(table)
        if not {"file", "label"} <= {*header}:
            found = some(header, 10) or "nothing"
            raise UserError(f"{table}: the columns", found=found, expected="file, label[, split]")
        if halves := [number for number, row in lines if not (row["file"] and row["label"])]:
            what = f"{table}: without file or label"
            raise UserError(what, found=f"line {some(halves)}", expected="both in every line")
        rows = [row for _, row in lines if row["label"] not in self.skip]
        self._check_labels({row["label"] for row in rows}, f"the labels in {table}")
        splits = {row.get("split", "") for row in rows}
        if not splits <= {*SPLITS} and splits != {""}:
            found = some(repr(name) for name in sorted(splits))
            raise UserError(f"{table}: the column split", found=found, expected=", ".join(SPLITS))
        for row in rows:
            key = Path(row["file"]).with_suffix("").as_posix()
            item = Item(key, self.root / row["file"], self.classes.index(row["label"]))
            self.items[row.get("split", "")].append(item)
        keys = Counter(item.key for items in self.items.values() for item in items)
        if twice := [key for key, count in keys.items() if count > 1]:
            raise UserError(f"{table} names images more than once", found=some(twice), fix="keep one each")

    def _check_labels(self, labels: set[str], where: str, complete: bool = True) -> None:
        """Labels are matched to classes by name; `complete` asks for every class, too."""
        extra = sorted(labels - {*self.classes})
        missing = [name for name in self.classes if name not in labels] if complete else []
        if extra or missing:
            near = [f"{name} → {found[0]}" for name in missing if (found := nearest(name, extra, 1))]
            skip = f"; 'data.source.skip=[{','.join(extra)}]' leaves labels out" if extra else ""
            without = f"; without {some(missing)}" if missing else ""
            raise UserError(
                f"{where} are not the classes",
                found=(some(sorted(labels), 20) or "none") + without,
                expected=f"{some(self.classes, 20)} (data.classes)",
                fix=f"perhaps in data.classes: {some(near)}" if near else f"mend data.classes{skip}",
            )


def _read_table(table: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """The header, and each row by the number of the line that it ends in."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv_format.DictReader(file, restval="", skipinitialspace=True)
            rows = [(reader.line_num, row) for row in reader]
            return list(reader.fieldnames or ()), rows
    except UnicodeDecodeError as error:
        fix = "save the table as CSV UTF-8"
        raise UserError(f"{table} is no text in UTF-8", found=error, fix=fix) from error
