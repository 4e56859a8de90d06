"""Freezing parts of a model, and what then still trains."""

from __future__ import annotations

from torch import nn

from pixelwise.errors import UserError
from pixelwise.models import Composition
from pixelwise.schedules.schedule import Plan


def freeze(part: nn.Module, frozen: bool) -> None:
    """Stop (or let go) a part's weights and its batch-norm statistics and dropout."""
    for parameter in part.parameters():
        parameter.requires_grad_(not frozen)
        if frozen:
            parameter.grad = None  # left over from the phase before; an optimizer would still apply it
    part.train(not frozen)


def parameter_counts(model: Composition) -> dict[str, int]:
    """The number of weights in each part."""
    counts = dict.fromkeys(Composition.PARTS, 0)
    for name, parameter in model.named_parameters():
        counts[model.part_of(name)] += parameter.numel()
    return counts


def check_something_trains(plan: Plan, model: Composition) -> None:
    """Every phase must leave a part to train that has weights, which a linear decoder has not.

    Raises:
        UserError: naming the phase that does not.
    """
    counts = parameter_counts(model)
    for phase in plan.phases:
        if not any(counts[part] for part in counts.keys() - phase.freeze):
            without = ", ".join(part for part in counts if part not in phase.freeze)
            raise UserError(
                f"schedule.phases.{phase.name}.freeze: nothing is left to train",
                found=f"{without} without weights",
                expected="a part with weights that is not frozen",
            )
