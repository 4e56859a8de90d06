"""Summary of a data set, logged once before training and saved in the run folder."""

from __future__ import annotations

import logging
from typing import Any

from pixelwise.data.audit import SplitAudit, leakage
from pixelwise.data.datamodule import DataModule
from pixelwise.data.statistics import Histogram, class_histogram
from pixelwise.errors import UserError

log = logging.getLogger(__name__)


def survey(data: DataModule) -> dict[str, Any]:
    """Log the class histogram of each split; return it with the fingerprint of the data set.

    Raises:
        UserError: an image or a label cannot be used.
    """
    if origin := data.source.describe():
        log.info(origin)
    for name, split in data.splits.items():
        for remark in split.remarks if split else ():
            log.warning("%s: %s", name, remark)
    report = {name: fact for name, fact in data.fingerprint.items() if fact is not None}
    for name, histogram in histograms(data).items():
        shares = dict(zip(data.classes, histogram.shares.tolist(), strict=True))
        listed = ", ".join(f"{label} {share:.1%}" for label, share in shares.items())
        ignored = f"; {histogram.ignored_share:.1%} ignored" if histogram.ignored else ""
        log.info("%s: %d images; %s%s", name, report[name]["images"], listed, ignored)
        if histogram.absent:
            log.warning("%s: no labels of %s", name, ", ".join(histogram.absent))
        report[name]["shares"] = shares
    return report


def histograms(data: DataModule) -> dict[str, Histogram]:
    """Return the class histogram of each split; the data are read on the first call only.

    Raises:
        UserError: an image or a label cannot be used.
    """
    if not data.histograms:
        data.histograms = verified(data) if data.verify else labels(data)
    return data.histograms


def labels(data: DataModule) -> dict[str, Histogram]:
    """Count the labels of every split."""
    return {name: class_histogram(split, data.classes) for name, split in data.splits.items() if split}


def verified(data: DataModule) -> dict[str, Histogram]:
    """Read all images and labels of every split: raise an error for damaged ones, warn about leakage."""
    splits = [SplitAudit(name, split, data.classes) for name, split in data.splits.items() if split]
    faulty = [split for split in splits if split.damaged or split.unknown or len(split.types) > 1]
    faults = [fault for split in faulty for fault in split.problems()]
    if faults:
        raise UserError(
            "data: training cannot use some of the items",
            found="\n            ".join(faults),
            fix="scripts/audit.py with the same arguments lists all problems",
            every=[line for split in faulty for line in split.every()],
        )
    for problem in leakage(splits):
        log.warning(problem)
    return {split.name: split.histogram for split in splits}
