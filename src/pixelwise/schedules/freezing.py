"""Freezing of model parts, and a check that every phase trains something."""

from __future__ import annotations

from torch import nn

from pixelwise.errors import UserError
from pixelwise.models import Composition
from pixelwise.schedules.schedule import Plan


def freeze(part: nn.Module, frozen: bool) -> None:
    """Freeze or unfreeze the weights, batch-norm statistics and dropout of a part."""
    for parameter in part.parameters():
        parameter.requires_grad_(not frozen)
        if frozen:
            parameter.grad = None  # gradient of the previous phase; the optimizer would still apply it
    part.train(not frozen)


def parameter_counts(model: Composition) -> dict[str, int]:
    """Return the number of weights of each part."""
    counts = dict.fromkeys(Composition.PARTS, 0)
    for name, parameter in model.named_parameters():
        counts[model.part_of(name)] += parameter.numel()
    return counts


def check_something_trains(plan: Plan, model: Composition) -> None:
    """Check that every phase trains a part that has weights; a linear decoder has none.

    Raises:
        UserError: a phase trains no weights.
    """
    counts = parameter_counts(model)
    for phase in plan.phases:
        if not any(counts[part] for part in counts.keys() - phase.freeze):
            unfrozen = ", ".join(part for part in counts if part not in phase.freeze)
            raise UserError(
                f"schedule.phases.{phase.name}.freeze: nothing is left to train",
                found=f"only {unfrozen}, without weights",
                expected="at least one part with weights that is not frozen",
            )
