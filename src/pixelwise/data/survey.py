"""What a data set holds, told once before training and kept in the run folder."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pixelwise.audit import SplitAudit, leakage
from pixelwise.data.module import DataModule
from pixelwise.data.statistics import Histogram, class_histogram, fingerprint
from pixelwise.errors import UserError
from pixelwise.files import read_json

log = logging.getLogger(__name__)


def survey(data: DataModule) -> dict[str, Any]:
    """Print the class histogram of each split; return it with the data set's fingerprint.

    Raises:
        UserError: an image or a label cannot be used.
    """
    if describe := getattr(data.source, "describe", None):
        log.info(describe())
    report = fingerprint(data.splits, data.classes)
    for name, histogram in histograms(data).items():
        shares = dict(zip(data.classes, histogram.shares.tolist(), strict=True))
        listed = ", ".join(f"{label} {share:.1%}" for label, share in shares.items())
        ignored = f"; {histogram.ignored_share:.1%} ignored" if histogram.ignored else ""
        log.info("%s: %d images; %s%s", name, report[name]["images"], listed, ignored)
        if histogram.absent:
            log.warning("%s: no label says %s", name, ", ".join(histogram.absent))
        report[name]["shares"] = shares
    return report


def histograms(data: DataModule) -> dict[str, Histogram]:
    """The class histogram of each split; the data are read the first time only.

    Raises:
        UserError: an image or a label cannot be used.
    """
    if not data.histograms:
        data.histograms = verified(data) if data.verify else labels(data)
    return data.histograms


def labels(data: DataModule) -> dict[str, Histogram]:
    """Read the labels of every split."""
    return {name: class_histogram(split, data.classes) for name, split in data.splits.items() if split}


def verified(data: DataModule) -> dict[str, Histogram]:
    """Read everything of every split: refuse what is damaged, warn of what is suspicious."""
    splits = [SplitAudit(name, split, data.classes) for name, split in data.splits.items() if split]
    faulty = [split for split in splits if split.damaged or split.unknown or len(split.types) > 1]
    faults = [fault for split in faulty for fault in split.problems()]
    if faults:
        raise UserError(
            "data: some of it cannot be trained on",
            found="\n            ".join(faults),
            fix="scripts/audit.py with the same words counts all there is",
            every=[line for split in faulty for line in split.every()],
        )
    for problem in leakage(splits):
        log.warning(problem)
    return {split.name: split.histogram for split in splits}


def compare(data: DataModule, recorded: Path) -> None:
    """Say where the data differ from those that a run was trained on."""
    compare_known(dict.fromkeys(data.splits) | fingerprint(data.splits, data.classes), recorded)


def compare_known(now: Mapping[str, Any], recorded: Path) -> None:
    """Say where some of what identifies the data differs from the run's.

    Args:
        now: what `fingerprint` gives, or a part of it; None for a split that is not there.
        recorded: the run's `data.json`.
    """
    if not (before := read_json(recorded)):
        return
    for name, new in now.items():
        old = before.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            old = {key: old.get(key) for key in new}
        if old != new:
            log.warning("the data differ from the run's in %s: %s then, %s now", name, old, new)
