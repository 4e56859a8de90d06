"""What a run folder says of its data set, compared with the data at hand."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pixelwise.files import read_json

log = logging.getLogger(__name__)


def compare(now: Mapping[str, Any], recorded: Path) -> None:
    """Warn of each fact about the data that differs from what a run was trained on.

    Args:
        now: the data set's `DataModule.fingerprint`, or some of its keys.
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
