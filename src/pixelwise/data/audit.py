"""Audit a whole data set before training: sizes, classes, damaged files, and leakage between splits."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress import track
from rich.table import Column, Table
from rich.text import Text

from pixelwise.data.labels import LabelError, suggest_fix
from pixelwise.data.splits import SPLITS, check_base, get_split, missing_split
from pixelwise.data.statistics import Histogram, in_threads
from pixelwise.errors import UserError, counted, printable, some
from pixelwise.types import IGNORE, Source, Split

LARGEST = 1e30
"""Pixels of a float image are smaller: larger ones mark missing data, and would make mean and std useless."""


class SplitAudit:
    """The contents of one split; every item is read, and a damaged one does not stop the audit.

    Attributes:
        histogram: pixels and images by class.
        sizes: number of images by (H, W).
        damaged: reason why an item cannot be read, by key.
        unknown: keys of the masks that contain a label without a meaning, by label.
        contents: key of an image, by hash of its decoded pixels.
        types: keys of the images, by number type.
        remarks: warnings that do not prevent training.
    """

    def __init__(self, name: str, split: Split, classes: Sequence[str], show_progress: bool = False) -> None:
        split.verify()
        self.name = name
        self.histogram = Histogram(classes)
        self.sizes = Counter(split.size(index) for index in range(len(split)))
        self.damaged: dict[str, str] = {}
        self.unknown: dict[str, list[str]] = defaultdict(list)
        self.contents: dict[str, str] = {}
        self.types: dict[str, list[str]] = defaultdict(list)
        self.remarks = [f"{name}: {remark}" for remark in split.remarks]
        self.is_smooth = False
        items = in_threads(lambda index: _read(split, index), len(split))
        for key, image, target in track(items, name, len(split), transient=True, disable=not show_progress):
            if isinstance(target, LabelError):
                for label in target.unknown:
                    self.unknown[label].append(key)
                self.is_smooth |= target.is_smooth
                target = target.target
            for error in (image, target):
                if isinstance(error, UserError):
                    self.damaged[key] = str(error).splitlines()[0]
            if not isinstance(image, UserError):
                digest, dtype = image
                self.contents[digest] = key
                self.types[dtype].append(key)
            if not isinstance(target, UserError):
                self.histogram.add(target)
        if name != "train" and not self.unknown and (absent := self.histogram.absent):
            self.remarks.append(f"{name}: no labels of {some(absent, 10)}, so its scores do not measure them")

    def problems(self) -> Iterator[str]:
        """Yield the problems that must be fixed before training."""
        if self.damaged:
            reasons = some(self.damaged.values(), 3, "; ")
            yield f"{self.name}: {counted(len(self.damaged), 'item')} cannot be used: {reasons}"
        if len(self.types) > 1:
            types = (f"{some(keys, 2)} {dtype}" for dtype, keys in self.types.items())
            yield f"{self.name}: images of a batch need one number type, but {'; '.join(types)}"
        if self.unknown:
            by_count = sorted(self.unknown.items(), key=lambda item: -len(item[1]))
            places = (
                f"{label} in {counted(len(keys), 'mask')}, such as {keys[0]}" for label, keys in by_count
            )
            listed, has_zero = some(places, 5, "; "), bool(self.histogram.pixels[0])
            fix = suggest_fix(self.unknown, self.histogram.classes, has_zero, self.is_smooth)
            yield f"{self.name}: labels that are not classes: {listed}. {fix}"
        elif self.name == "train" and (absent := self.histogram.absent):
            yield f"train: no labels of {some(absent, 10)}, which the model therefore cannot learn"
            if absent == self.histogram.classes[1:] and self.histogram.ignored:  # masks of 0 and 255
                fix = f"'data.source.labels.remap={{{IGNORE}:1}}'"
                yield f"train: if {IGNORE} means {absent[0]}, not pixels to ignore: {fix}"

    def every(self) -> Iterator[str]:
        """Yield one line for each item that `problems` counts."""
        for key, reason in self.damaged.items():
            yield f"{self.name}/{key}: {reason}"
        for label, keys in self.unknown.items():
            yield from (f"{self.name}/{key}: {label} is not a class" for key in keys)
        usual = max(self.types.values(), key=len, default=[])
        for dtype, keys in self.types.items():
            if keys is not usual:
                yield from (f"{self.name}/{key}: {dtype}, unlike most images" for key in keys)


def _read(split: Split, index: int) -> list[Any]:
    """Return key, (hash, number type) of the image, and target; an error replaces what cannot be read."""
    item: list[Any] = []
    for read in (split.key, split.image, split.target):
        try:
            item.append(read(index))
        except UserError as error:
            item.append(error if item else f"item {index}")
    if not isinstance(item[1], UserError):
        image = item[1]
        digest = blake2b(f"{image.shape} {image.dtype}".encode() + image.tobytes()).hexdigest()
        item[1] = digest, str(image.dtype)
        if image.dtype.kind == "f" and not (is_usable := np.abs(image) < LARGEST).all():
            item[1] = UserError(
                f"{item[0]} holds {image[~is_usable][0]:g}, probably nodata that its metadata do not "
                "declare: gdal_edit.py -a_nodata VALUE FILE"
            )
    return item


class Audit(NamedTuple):
    """The result of an audit; `rich.print` shows it as tables."""

    splits: list[SplitAudit]
    """The contents of every split that could be listed."""
    problems: list[str]
    """Problems that must be fixed before training."""
    every: list[str]
    """One line for each item with a problem."""
    origin: str
    """Description of the origin of the splits, or ""."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.splits:
            yield _splits_table(self.splits)
            yield _classes_table(self.splits)
        if self.origin:
            yield Text.assemble(("note: ", "bold yellow"), self.origin)
        remarks = [remark for split in self.splits for remark in split.remarks]
        for remark in remarks:
            yield Text.assemble(("note: ", "bold yellow"), printable(remark))
        for problem in self.problems:
            yield Text.assemble(("problem: ", "bold red"), printable(problem))
        if not self.problems:
            has_notes = "Nothing prevents training; see the notes above."
            yield Text(has_notes if remarks else "No problems found.", style="yellow" if remarks else "green")


def audit(source: Source, classes: Sequence[str], *, show_progress: bool = False) -> Audit:
    """Read every image and label of every split; a split that cannot be listed is skipped.

    Args:
        source: the data set.
        classes: class names in the order of their indices.
        show_progress: draw a progress bar for each split.

    Raises:
        UserError: the source does not inherit from `Source`.
    """
    check_base(source, Source, "data.source")
    splits: list[SplitAudit] = []
    problems: list[str] = []
    every: list[str] = []
    for name in SPLITS:
        try:
            if (split := get_split(source, name)) is not None:
                splits.append(SplitAudit(name, split, classes, show_progress))
        except UserError as error:
            if str(error) not in problems:  # splits drawn from one folder share its problems
                problems.append(str(error))
                every += error.every
    if not problems:
        usable = {split.name for split in splits if split.sizes}
        problems += [str(missing_split(source, name)) for name in ("train", "val") if name not in usable]
    for split_audit in splits:
        problems += split_audit.problems()
        every += split_audit.every()
    for first, second in combinations(splits, 2):
        every += shared_images(first, second)
    problems += leakage(splits)
    return Audit(splits, problems, every, source.describe())


def leakage(splits: Sequence[SplitAudit]) -> Iterator[str]:
    """Yield a message for each two splits that share images: their scores are not those of unseen images."""
    for first, second in combinations(splits, 2):
        if shared := shared_images(first, second):
            count = counted(len(shared), "image")
            yield f"leakage: {count} of {second.name} also in {first.name}: {some(shared, 3)}"


def shared_images(first: SplitAudit, second: SplitAudit) -> list[str]:
    """List the images of the second split that have the same pixels as an image of the first."""
    shared = [digest for digest in second.contents if digest in first.contents]
    return [f"{second.name}/{second.contents[d]} = {first.name}/{first.contents[d]}" for d in shared]


def _splits_table(splits: list[SplitAudit]) -> Table:
    counts = [Column(name, justify="right") for name in ("images", "ignored", "damaged")]
    table = Table("split", *counts, "sizes (height×width)", title="Splits", title_justify="left")
    for split in splits:
        sizes = some((f"{height}×{width}" for (height, width), _ in split.sizes.most_common()), 2)
        ignored, damaged = f"{split.histogram.ignored_share:.1%}", f"{len(split.damaged):,}"
        table.add_row(split.name, f"{split.sizes.total():,}", ignored, damaged, sizes)
    return table


def _classes_table(splits: list[SplitAudit]) -> Table:
    """Per class and split: share of the labelled pixels, and number of images that contain the class."""
    headers = [header for split in splits for header in (f"{split.name}\nshare", "\nimages")]
    columns = [Column(header, justify="right") for header in headers]
    title = "Classes: share of pixels, images with the class"
    table = Table("\nclass", *columns, title=title, title_justify="left")
    for index, name in enumerate(splits[0].histogram.classes):
        cells: list[str] = []
        for histogram in (split.histogram for split in splits):
            images, share = int(histogram.images[index]), histogram.shares[index]
            cells += [f"{share:.2%}" if images else "[red]absent[/]", f"{images:,}"]
        table.add_row(Text(f"{index} {name}"), *cells)
    return table
