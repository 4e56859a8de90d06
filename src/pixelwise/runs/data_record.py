"""Comparison of a data set with the record of it in a run folder."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pixelwise.runs import records

log = logging.getLogger(__name__)


def compare(now: Mapping[str, Any], recorded: Path) -> None:
    """Log a warning for each property of the data that differs from those that a run was trained on.

    Args:
        now: the `DataModule.fingerprint` of the data set, or some of its keys.
        recorded: path of the run's `data.json`.
    """
    before = records.tolerant(lambda: records.read(recorded, records.Data))
    if not before:
        return
    for name, new in now.items():
        old = before.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            old = {key: old.get(key) for key in new}
        if old != new:
            log.warning("the data differ from the run's in %s: %s then, %s now", name, old, new)
