"""Look through a whole data set before training on it: sizes, classes, damage, and leakage between splits."""

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

from pixelwise.data.labels import LabelError, how_to_mend
from pixelwise.data.splits import SPLITS, check_base, split_of
from pixelwise.data.statistics import Histogram, in_threads
from pixelwise.errors import UserError, counted, some
from pixelwise.types import IGNORE, Source, Split


class SplitAudit:
    """What one split holds; every item is read, and a bad one stops nothing.

    Attributes:
        histogram: pixels and images by class.
        sizes: number of images by (H, W).
        damaged: by key, why an item cannot be read.
        unknown: by label without a meaning, the keys of the masks that hold it.
        contents: by hash of the decoded pixels, the key of an image that has them.
        types: by number type, the keys of the images stored so.
        remarks: what is worth knowing though it stops nothing.
    """

    def __init__(self, name: str, split: Split, classes: Sequence[str], show_progress: bool = False) -> None:
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

    def problems(self) -> Iterator[str]:
        """What has to be mended before a training means anything."""
        if self.damaged:
            reasons = some(self.damaged.values(), 3, "; ")
            yield f"{self.name}: {counted(len(self.damaged), 'item')} cannot be used: {reasons}"
        if len(self.types) > 1:
            types = (f"{some(keys, 2)} {dtype}" for dtype, keys in self.types.items())
            yield f"{self.name}: images of one batch need one number type, but {'; '.join(types)}"
        if self.unknown:
            often = sorted(self.unknown.items(), key=lambda item: -len(item[1]))
            places = (f"{label} in {counted(len(keys), 'mask')}, such as {keys[0]}" for label, keys in often)
            found, has_zero = some(places, 5, "; "), bool(self.histogram.pixels[0])
            fix = how_to_mend(self.unknown, self.histogram.classes, has_zero, self.is_smooth)
            yield f"{self.name}: labels that are no class: {found}. {fix}"
        elif self.name == "train" and (absent := self.histogram.absent):
            yield f"train: nothing is labelled {some(absent, 10)}, so that cannot be learned"
            if absent == self.histogram.classes[1:] and self.histogram.ignored:  # masks of 0 and 255
                fix = f"'data.source.labels.remap={{{IGNORE}:1}}'"
                yield f"train: if {IGNORE} stands for {absent[0]}, and not for pixels to ignore: {fix}"

    def every(self) -> Iterator[str]:
        """Each item that `problems` counts, a line each."""
        for key, reason in self.damaged.items():
            yield f"{self.name}/{key}: {reason}"
        for label, keys in self.unknown.items():
            yield from (f"{self.name}/{key}: {label} is no class" for key in keys)
        usual = max(self.types.values(), key=len, default=[])
        for dtype, keys in self.types.items():
            if keys is not usual:
                yield from (f"{self.name}/{key}: {dtype}, unlike most images" for key in keys)


def _read(split: Split, index: int) -> list[Any]:
    """Key, (hash, number type) of the image, and target; in place of what cannot be read, the error."""
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
        if image.dtype.kind == "f" and not np.isfinite(image).all():
            item[1] = UserError(f"{item[0]} holds {(~np.isfinite(image)).sum():,} values that are not finite")
    return item


class Audit(NamedTuple):
    """The outcome; `rich.print` shows it as tables."""

    splits: list[SplitAudit]
    """What every split holds that could be listed."""
    problems: list[str]
    """What has to be mended before a training means anything."""
    every: list[str]
    """Each item that a problem speaks of, a line each."""
    origin: str
    """Where the splits come from, or ""."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.splits:
            yield _splits_table(self.splits)
            yield _classes_table(self.splits)
        if self.origin:
            yield Text.assemble(("note: ", "bold yellow"), self.origin)
        remarks = [remark for split in self.splits for remark in split.remarks]
        for remark in remarks:
            yield Text.assemble(("note: ", "bold yellow"), remark)
        for problem in self.problems:
            yield Text.assemble(("problem: ", "bold red"), problem)
        if not self.problems:
            yield Text(f"No problems found{'; see the notes' if remarks else ''}.", style="green")


def audit(source: Source, classes: Sequence[str], *, show_progress: bool = False) -> Audit:
    """Read every image and label of every split; nothing stops it but a split that cannot be listed.

    Args:
        source: any data set.
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
            if (split := split_of(source, name)) is not None:
                splits.append(SplitAudit(name, split, classes, show_progress))
        except UserError as error:
            if str(error) not in problems:  # splits dealt from one folder share its faults
                problems.append(str(error))
                every += error.every
    if not problems and "train" not in [split.name for split in splits]:
        problems.append("there is no train split")
    for each in splits:
        problems += each.problems()
        every += each.every()
    for one, other in combinations(splits, 2):
        every += copies(one, other)
    problems += leakage(splits)
    return Audit(splits, problems, every, source.describe())


def leakage(splits: Sequence[SplitAudit]) -> Iterator[str]:
    """Images of two splits with the same pixels: a score on the one says nothing about unseen images."""
    for one, other in combinations(splits, 2):
        if both := copies(one, other):
            count = counted(len(both), "image")
            yield f"leakage: {count} of {other.name} also in {one.name}: {some(both, 3)}"


def copies(one: SplitAudit, other: SplitAudit) -> list[str]:
    """The images of the other split whose pixels an image of the one has, too."""
    both = [digest for digest in other.contents if digest in one.contents]
    return [f"{other.name}/{other.contents[d]} = {one.name}/{one.contents[d]}" for d in both]


def _splits_table(splits: list[SplitAudit]) -> Table:
    counts = [Column(name, justify="right") for name in ("images", "ignored", "damaged")]
    table = Table("split", *counts, "sizes (height×width)", title="Splits", title_justify="left")
    for split in splits:
        sizes = some((f"{height}×{width}" for (height, width), _ in split.sizes.most_common()), 2)
        ignored, damaged = f"{split.histogram.ignored_share:.1%}", f"{len(split.damaged):,}"
        table.add_row(split.name, f"{split.sizes.total():,}", ignored, damaged, sizes)
    return table


def _classes_table(splits: list[SplitAudit]) -> Table:
    """Per class and split: its share of the pixels that count, and the number of images that hold it."""
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
