"""What a run folder says of its data set, compared with the data at hand."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pixelwise.data.datamodule import DataModule
from pixelwise.data.statistics import fingerprint
from pixelwise.files import read_json

log = logging.getLogger(__name__)


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
