"""Look through a whole data set before training on it: sizes, classes, damage, and leakage between splits."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import combinations
from statistics import median_low

import numpy as np
from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress import track
from rich.table import Table
from rich.text import Text

from pixelwise.data.labels import LabelError, how_to_ignore
from pixelwise.data.listing import SPLITS, counted, some
from pixelwise.data.statistics import Histogram, in_threads, part
from pixelwise.errors import UserError
from pixelwise.types import IGNORE, Source, Split


@dataclass
class SplitSummary:
    """What one split holds."""

    name: str
    histogram: Histogram
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    """Number of images by (H, W)."""
    damaged: dict[str, str] = field(default_factory=dict)
    """By key, why an item cannot be read."""
    unknown: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """By label without a meaning, the keys of the masks that hold it."""
    contents: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """By hash of the decoded pixels, the keys of the images that have them."""


@dataclass
class Audit:
    """The outcome; `rich.print` shows it as tables.

    Attributes:
        splits: a summary of every split that could be listed.
        problems: what has to be mended before a training means anything.
        notes: what is worth knowing.
    """

    splits: list[SplitSummary] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.splits:
            yield _splits_table(self.splits)
            yield _classes_table(self.splits)
        for note in self.notes:
            yield Text.assemble(("note: ", "bold yellow"), note)
        for problem in self.problems:
            yield Text.assemble(("problem: ", "bold red"), problem)
        if not self.problems:
            yield Text("No problems found.", style="green")


def audit(source: Source, classes: Sequence[str], *, show_progress: bool = False) -> Audit:
    """Read every image and label of every split; nothing stops it but a split that cannot be listed.

    Args:
        source: any data set.
        classes: class names in the order of their indices.
        show_progress: draw a progress bar for each split.

    Returns:
        Summaries, problems and notes.
    """
    result = Audit()
    if describe := getattr(source, "describe", None):
        result.notes.append(describe())
    for name in SPLITS:
        try:
            split = source.split(name)
        except UserError as error:
            if str(error) not in result.problems:  # splits dealt from one folder share its faults
                result.problems.append(str(error))
            continue
        if split is None:
            continue
        result.splits.append(_summarise(name, split, classes, show_progress))
    for summary in result.splits:
        result.problems += _problems_of_split(summary)
        result.notes += _notes_on_split(summary)
    for one, other in combinations(result.splits, 2):
        result.problems += _leakage(one, other)
    if not any(summary.name == "train" for summary in result.splits) and not result.problems:
        result.problems.append("there is no train split")
    return result


def _summarise(name: str, split: Split, classes: Sequence[str], show_progress: bool) -> SplitSummary:
    summary = SplitSummary(name, Histogram.of(classes))
    findings = in_threads(lambda index: _inspect(split, index), len(split))
    bar = track(findings, name, total=len(split), transient=True, disable=not show_progress)
    for index, finding in enumerate(bar):
        summary.sizes[split.size(index)] += 1
        finding.add_to(summary)
    return summary


@dataclass
class _Finding:
    """What one item showed."""

    key: str
    target: np.ndarray | int | None = None
    digest: str | None = None
    unknown: Sequence[str] = ()
    damage: str | None = None

    def add_to(self, summary: SplitSummary) -> None:
        if self.target is not None:
            summary.histogram.add(self.target)
        if self.digest is not None:
            summary.contents[self.digest].append(self.key)
        for label in self.unknown:
            summary.unknown[label].append(self.key)
        if self.damage is not None:
            summary.damaged[self.key] = self.damage


def _inspect(split: Split, index: int) -> _Finding:
    """Read one item, part by part, so that a bad label does not hide a damaged image."""
    try:
        finding = _Finding(part(split, "key", index))
    except UserError as error:  # a split that gives only whole items
        return _Finding(f"item {index}", damage=_first_line(error))
    try:
        image = part(split, "image", index)
        finding.digest = blake2b(f"{image.shape} {image.dtype}".encode() + image.tobytes()).hexdigest()
    except UserError as error:
        finding.damage = _first_line(error)
    try:
        finding.target = part(split, "target", index)
    except LabelError as error:
        finding.unknown = list(error.unknown)
        finding.target = error.target
    except UserError as error:
        finding.damage = _first_line(error)
    return finding


def _problems_of_split(summary: SplitSummary) -> Iterator[str]:
    name, histogram = summary.name, summary.histogram
    if summary.damaged:
        reasons = some(summary.damaged.values(), 3, "; ")
        yield f"{name}: {counted(len(summary.damaged), 'item')} cannot be used: {reasons}"
    if summary.unknown:
        often = sorted(summary.unknown.items(), key=lambda item: -len(item[1]))
        places = (f"{label} in {counted(len(keys), 'mask')}, such as {keys[0]}" for label, keys in often)
        found = some(places, 5, "; ")
        yield f"{name}: labels that are no class: {found}. {how_to_ignore(summary.unknown)} ignores them"
    if name == "train" and histogram.absent and not summary.unknown:
        yield f"train: nothing is labelled {some(histogram.absent, 10)}, so that cannot be learned"
        if len(histogram.classes) == 2 and histogram.absent == histogram.classes[1:] and histogram.ignored:
            yield (
                f"train: if {IGNORE} stands for {histogram.classes[1]}, and not for pixels to ignore:"
                f" 'data.source.labels.remap={{{IGNORE}:1}}'"
            )


def _notes_on_split(summary: SplitSummary) -> Iterator[str]:
    name, histogram = summary.name, summary.histogram
    if name != "train" and histogram.absent and not summary.unknown:
        yield f"{name}: nothing is labelled {some(histogram.absent, 10)}; scores say little about that"
    if histogram.ignored_share > 0.5:
        yield f"{name}: {histogram.ignored_share:.0%} of the pixels are ignored ({IGNORE})"
    twins = [keys for keys in summary.contents.values() if len(keys) > 1]
    if twins:
        pairs = some((" = ".join(keys) for keys in twins), 3)
        yield f"{name}: {counted(len(twins), 'image')} more than once: {pairs}"


def _leakage(one: SplitSummary, other: SplitSummary) -> Iterator[str]:
    """Images of the same pixels in two splits: a score on the one says nothing about unseen images."""
    both = [digest for digest in other.contents if digest in one.contents]
    if both:
        pairs = (f"{other.contents[digest][0]} = {one.contents[digest][0]}" for digest in both)
        yield f"leakage: {counted(len(both), 'image')} of {other.name} also in {one.name}: {some(pairs, 3)}"


def _splits_table(splits: list[SplitSummary]) -> Table:
    table = Table("split", title="Splits", title_justify="left")
    for header in ("images", "ignored", "damaged"):
        table.add_column(header, justify="right")
    table.add_column("sizes (height×width)")
    for split in splits:
        ignored, damaged = f"{split.histogram.ignored_share:.1%}", f"{len(split.damaged):,}"
        table.add_row(split.name, f"{split.sizes.total():,}", ignored, damaged, _sizes(split.sizes))
    return table


def _classes_table(splits: list[SplitSummary]) -> Table:
    """Per class and split: its share of the pixels that count, and the number of images that hold it."""
    table = Table("class", title="Classes: share of pixels, images with the class", title_justify="left")
    for split in splits:
        table.add_column(f"{split.name}\nshare", justify="right")
        table.add_column("\nimages", justify="right")
    for index, name in enumerate(splits[0].histogram.classes):
        cells: list[str | Text] = [f"{index} {name}"]
        for split in splits:
            images = int(split.histogram.images[index])
            share = f"{split.histogram.shares[index]:.2%}" if images else Text("absent", "red")
            cells += [share, f"{images:,}"]
        table.add_row(*cells)
    return table


def _sizes(sizes: Counter[tuple[int, int]]) -> str:
    if len(sizes) <= 2:
        return ", ".join(f"{height}×{width}" for height, width in sizes)
    by_area = sorted(sizes.elements(), key=lambda size: size[0] * size[1])
    low, middle, high = (f"{h}×{w}" for h, w in (by_area[0], median_low(by_area), by_area[-1]))
    return f"{low} … {high} (median {middle})"


def _first_line(error: UserError) -> str:
    return str(error).splitlines()[0]
