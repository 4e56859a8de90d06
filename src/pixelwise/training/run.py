"""The objects that a training or an evaluation needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import lightning as L

from pixelwise.data.datamodule import DataModule
from pixelwise.reports.schedule_figure import ScheduleOutline
from pixelwise.schedules.schedule import Plan
from pixelwise.training.module import Module


@dataclass(frozen=True)
class Run:
    """The objects that a training or an evaluation needs."""

    trainer: L.Trainer
    module: Module
    data: DataModule
    plan: Plan
    config: dict[str, Any]
    """The resolved config in plain containers."""
    outline: ScheduleOutline
    """The plan as numbers and text, for `plan.json` and its figure."""
