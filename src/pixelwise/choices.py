"""Choices that cannot work together or would change nothing, refused before a run folder is made.

Imports no torch, so that a refusal comes at once.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from pixelwise.errors import UserError

log = logging.getLogger(__name__)


def phases(config: DictConfig) -> dict[str, Any]:
    """The phases of a config in their order, as plain containers; one that is null is left out."""
    found: Any = OmegaConf.to_container(config.schedule.phases, resolve=True)
    return {name: phase for name, phase in found.items() if phase is not None}


def check_choices(config: DictConfig, overrides: Sequence[str]) -> None:
    """Refuse what cannot work together, and overrides that the schedule's phases do not follow.

    Args:
        config: composed.
        overrides: what was typed.

    Raises:
        UserError: for the first of them.
    """
    check_requirements(config)
    if "search" in config:
        raise UserError("search=… has no effect on one training", fix="python scripts/search.py search=…")
    followed = str(OmegaConf.to_container(config.schedule, resolve=False))
    for override in overrides:
        key = override.split("=")[0]
        if key in ("epochs", "optimizer.lr") and f"${{{key}}}" not in followed:
            setting = key.rsplit(".", 1)[-1]
            raise UserError(
                f"{override} has no effect: the phases of this schedule have their own",
                fix=" ".join(f"schedule.phases.{name}.{setting}=…" for name in phases(config)),
            )
        group = key.split(".")[0]
        if group not in ("augmentation", "loss"):
            continue
        apart = _own(config, group)
        if len(apart) == len(phases(config)):
            choice = "" if "." in key else f"{group}@"
            raise UserError(
                f"{override} has no effect: every phase of this schedule has its own {group}",
                fix=f"{choice}schedule.phases.PHASE.{override}",
            )
        if "." in key and apart:
            log.warning(
                "%s does not reach %s, with %s of their own; schedule.phases.PHASE.%s does",
                override,
                " and ".join(apart),
                group,
                override,
            )


def _own(config: DictConfig, group: str) -> list[str]:
    """Names of the phases whose augmentation or loss is not the global one."""
    common = OmegaConf.to_container(config[group], resolve=True)
    settings = {name: phase for name, phase in phases(config).items() if isinstance(phase, Mapping)}
    return [name for name, phase in settings.items() if phase.get(group) not in (None, {}, common)]


def check_requirements(config: DictConfig) -> None:
    """Refuse what a task cannot work with, such as a decoder for a classifier."""
    for key, allowed in (config.task.get("requires") or {}).items():
        found = OmegaConf.select(config, key)
        if found not in allowed:
            name, values = key.split(".")[0], [str(v).rsplit(".", 1)[-1] for v in allowed]
            raise UserError(
                f"{name}: task={config.task.name} cannot use {str(found).rsplit('.', 1)[-1]}",
                expected=" or ".join(values),
                fix=f"leave {name}= out of the command, or choose another task",
            )
