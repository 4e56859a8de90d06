"""A schedule in plain numbers, for the run folder."""

from __future__ import annotations

from typing import Any

from pixelwise.models import Composition
from pixelwise.schedule import Plan


def outline(plan: Plan, most: int = 240) -> dict[str, Any]:
    """Phases and learning rates of a plan.

    Args:
        plan: of the whole training.
        most: steps at which rates are told, besides the first and the last of each phase.
    """
    ends = {step for phase in plan.phases for step in (phase.start, phase.stop - 1)}
    steps = sorted(ends | {round(i * (plan.steps - 1) / most) for i in range(most + 1)})
    return {
        "steps": plan.steps,
        "steps_per_epoch": plan.steps_per_epoch,
        "phases": [
            {"name": p.name, "start": p.start, "stop": p.stop, "frozen": sorted(p.freeze)}
            for p in plan.phases
        ],
        "at": steps,
        "lr": {
            part: [plan.phases[plan.index_at(step)].rate(part, step) for step in steps]
            for part in Composition.PARTS
        },
    }
