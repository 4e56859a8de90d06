"""What a data set holds, told once before training and kept in the run folder."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from pixelwise.data.module import DataModule
from pixelwise.data.statistics import class_histogram, fingerprint

log = logging.getLogger(__name__)


def survey(data: DataModule) -> dict[str, Any]:
    """Read every label once, print the class histogram, and return it with the fingerprint.

    Raises:
        UserError: a label file is damaged or holds a value that is no class.
    """
    if describe := getattr(data.source, "describe", None):
        log.info(describe())
    report = identity(data)
    for name, split in data.splits.items():
        if split is None:
            continue
        histogram = class_histogram(split, data.classes)
        shares = dict(zip(data.classes, histogram.shares.tolist(), strict=True))
        log.info(
            "%s: %d images; %s%s",
            name,
            len(split),
            ", ".join(f"{label} {share:.1%}" for label, share in shares.items()),
            f"; {histogram.ignored_share:.1%} ignored" if histogram.ignored else "",
        )
        if histogram.absent:
            log.warning("%s: no label says %s", name, ", ".join(histogram.absent))
        report[name]["shares"] = shares
    return report


def identity(data: DataModule) -> dict[str, Any]:
    """Number of images and a short hash of each split: cheap, and different for different data."""
    return fingerprint(data.splits, data.classes)


def compare(data: DataModule, recorded: Path) -> None:
    """Say where the data differ from those that a run was trained on."""
    if not recorded.is_file():
        return
    before, now = json.loads(recorded.read_text()), identity(data)
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            old = {key: old.get(key) for key in new}
        if old != new:
            log.warning("the data differ from the run's in %s: %s then, %s now", name, old, new)
