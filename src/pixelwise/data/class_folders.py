"""A user's own images with one class each: a folder per class, or a CSV table."""

from __future__ import annotations

import csv as csv_format
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pixelwise.data.folder import FolderSplit
from pixelwise.data.listing import (
    SPLITS,
    deal,
    describe_deal,
    existing_root,
    find_images,
    refuse_misnamed_splits,
    some,
    subfolders,
)
from pixelwise.errors import UserError, nearest


class _Item(NamedTuple):
    """An image and its label; items are kept by split and key, the split "" standing for all together."""

    path: Path
    label: str


class _Row(NamedTuple):
    """One line of a table, its columns called by their role."""

    file: str
    label: str
    split: str


class FolderClassification:
    """Images with one class each, in one of three layouts (a `pixelwise.types.Source`).

        root/train/cat/a.jpg        likewise val, test
        root/cat/a.jpg              dealt at random by `split`, class by class
        root/labels.csv             columns file, label and, if the table deals the splits, split

    Args:
        root: the data set's folder.
        classes: names of the class folders, in the order of their indices.
        channels: channels of every image.
        csv: the table's path, absolute or below `root`; null reads folders.
        columns: the table's own names for "file" (absolute or below `root`), "label" and "split".
        skip: labels to leave out; any other label that is no class is an error.
        split: shares of "val" and "test", and a "seed", where neither folders nor the table tell.

    Raises:
        UserError: the root is missing, or its labels are not the classes.
    """

    def __init__(
        self,
        root: str | Path,
        classes: Sequence[str],
        channels: int = 3,
        csv: str | None = None,
        columns: Mapping[str, str] | None = None,
        skip: Sequence[str] = (),
        split: Mapping[str, float] | None = None,
    ) -> None:
        self.root = existing_root(root)
        self.classes = [str(name) for name in classes]
        self.channels = channels
        self.skip = {str(name) for name in skip}
        self.split_options = split
        self._items = self._list_folders() if csv is None else self._list_table(self.root / csv, columns)
        self._splits: dict[str, FolderSplit | None] = {}

    def split(self, name: str) -> FolderSplit | None:
        """The split, or None; its headers are read once and kept.

        Raises:
            UserError: files are unreadable.
        """
        if name not in self._splits:
            items = self._deal(name) if "" in self._items else self._items.get(name, {})
            images = {key: item.path for key, item in items.items()}
            targets = {key: self.classes.index(item.label) for key, item in items.items()}
            self._splits[name] = FolderSplit(images, targets, self.channels) if items else None
        return self._splits[name]

    def describe(self) -> str:
        """Where the splits come from, for the start of a run."""
        if "" in self._items:
            return f"splits drawn at random by data.source.split ({describe_deal(self.split_options)})"
        return f"splits as {self.root} gives them: {', '.join(self._items)}"

    def _deal(self, name: str) -> dict[str, _Item]:
        """One split of the items, dealt class by class, so that a rare class is in every split."""
        items = self._items[""]
        keys = [
            key
            for label in self.classes
            for key in deal([key for key in items if items[key].label == label], self.split_options)[name]
        ]
        return {key: items[key] for key in keys}

    def _list_folders(self) -> dict[str, dict[str, _Item]]:
        parents = {name: self.root / name for name in SPLITS if (self.root / name).is_dir()}
        refuse_misnamed_splits(self.root, allowed=self.classes)
        items: dict[str, dict[str, _Item]] = {}
        for name, parent in (parents or {"": self.root}).items():
            labels = [label for label in subfolders(parent) if label not in self.skip]
            self._check_labels(labels, f"the folders in {parent}", complete=name in ("", "train"))
            items[name] = {
                f"{label}/{key}": _Item(path, label)
                for label in labels
                for key, path in find_images(parent / label).items()
            }
        return items

    def _list_table(self, table: Path, columns: Mapping[str, str] | None) -> dict[str, dict[str, _Item]]:
        rows = [row for row in _read_rows(table, columns) if row.label not in self.skip]
        splits = {row.split for row in rows}
        if not splits <= {*SPLITS} and splits != {""}:
            found = some(repr(name) for name in sorted(splits))
            raise UserError(f"{table}: the column of splits", found=found, expected=", ".join(SPLITS))
        self._check_labels(sorted({row.label for row in rows}), f"the labels in {table}")
        if absent := [row.file for row in rows if not (self.root / row.file).is_file()]:
            raise UserError(
                f"{len(absent):,} of the images in {table} are not there",
                found=some(absent),
                expected=f"absolute paths, or paths below {self.root}",
            )
        keys = [Path(row.file).with_suffix("").as_posix() for row in rows]
        if twice := [key for key, count in Counter(keys).items() if count > 1]:
            raise UserError(
                f"{table} names images more than once", found=some(twice), expected="one line each"
            )
        items: dict[str, dict[str, _Item]] = {name: {} for name in ("", *SPLITS) if name in splits}
        for key, row in zip(keys, rows, strict=True):
            items[row.split][key] = _Item(self.root / row.file, row.label)
        return items

    def _check_labels(self, labels: list[str], where: str, complete: bool = True) -> None:
        """Labels are matched to classes by name; `complete` asks for every class, too."""
        extra = [label for label in labels if label not in self.classes]
        missing = [name for name in self.classes if name not in labels] if complete else []
        if not extra and not missing:
            return
        near = [f"{name} → {found[0]}" for name in missing if (found := nearest(name, extra, 1))]
        if near:
            fix = f"perhaps in data.classes: {some(near)}"
        elif extra:
            fix = f"add them to data.classes, or leave them out: 'data.source.skip=[{','.join(extra)}]'"
        else:
            fix = f"add images of {some(missing)}, or take the class out of data.classes"
        raise UserError(
            f"{where} are not the classes",
            found=f"{some(labels, 20) or 'none'}" + (f"; without {some(missing)}" if missing else ""),
            expected=f"{some(self.classes, 20)} (data.classes)",
            fix=fix,
        )


def _read_rows(table: Path, columns: Mapping[str, str] | None) -> list[_Row]:
    """The table's lines; the split is "" where the table has no such column."""
    names = {role: role for role in _Row._fields} | dict(columns or {})
    if not table.is_file():
        raise UserError(f"{table} is not there", expected="the table that data.source.csv names")
    with table.open(newline="", encoding="utf-8-sig") as file:
        reader = csv_format.DictReader(file)
        header = list(reader.fieldnames or [])
        for role in ("file", "label"):
            if names[role] not in header:
                near = nearest(names[role], header)
                raise UserError(
                    f"{table} has no column {names[role]!r}",
                    found=some(header, 10) or "an empty file",
                    fix=f"data.source.columns.{role}={near[0] if near else '…'}",
                )
        return [_Row(*((line.get(names[role]) or "").strip() for role in _Row._fields)) for line in reader]
