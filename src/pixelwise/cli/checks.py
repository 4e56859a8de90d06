"""Checks that refuse settings which cannot work together or have no effect, before a run folder is created.

The module does not import torch, so that errors appear at once.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException

from pixelwise.cli.known_keys import check_known
from pixelwise.cli.schema import check_declared
from pixelwise.errors import UserError, guess
from pixelwise.overrides import mode_of, nodes, origin

log = logging.getLogger(__name__)

OF_PHASES = ("augmentation", "mixing", "loss")
"""Groups that a phase may choose for itself."""


def phases(config: DictConfig) -> dict[str, Any]:
    """The phases of a config in order, as plain containers, without those that are null."""
    settings: Any = OmegaConf.to_container(config.schedule.phases, resolve=True)
    return {name: phase for name, phase in settings.items() if phase is not None}


def check(config: DictConfig, command: str) -> None:
    """Refuse a config that a command cannot use. Called once for each composed config.

    Args:
        config: the composed config.
        command: the name of its file in conf/.

    Raises:
        UserError: the first problem.
    """
    check_values(config, command)
    if all(part in config for part in ("task", "schedule", "trainer")):
        check_known(config, command)
        check_requirements(config)
        check_modes(config)
        check_phases(config)


def check_values(config: DictConfig, command: str) -> None:
    """Refuse values that are missing, that refer to nothing, or that the declaration of their key forbids."""
    check_given(config)
    check_declared(config, check_references(config), command)


def check_given(config: DictConfig) -> None:
    """Refuse a config with missing values (`???`)."""
    missing = [key for key, node in nodes(config) if node._is_missing()]
    if missing := [key for key in missing if not key.startswith("hydra.")]:
        raise UserError("must be given: " + ", ".join(missing), fix=f"add {missing[0]}=… to the command")


def check_references(config: DictConfig) -> dict[str, Any]:
    """Refuse a value that selects a key which does not exist, such as data.split=NAME one of data.splits.

    Returns:
        The config in plain containers with resolved interpolations, without Hydra's own node.
    """
    try:
        of_job = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        return OmegaConf.to_container(of_job, resolve=True)  # type: ignore[return-value]
    except InterpolationKeyError as error:
        # only the text of the exception contains the key that the interpolation refers to
        target = re.search(r"Interpolation key '([^']+)'", str(error))
        node: Any = config
        for name in target[1].split(".") if target else ():
            if name not in node:
                options = list(map(str, node))
                key = str(error.full_key)
                raise UserError(
                    f"{target[1] if target else name}: there is no {name}",
                    found=f"{name}, for {key}{origin(config, key)}",
                    expected=", ".join(options),
                    fix=guess("did you mean …?", name, options),
                ) from error
            node = node[name]
        raise
    except OmegaConfBaseException as error:
        key = str(error.full_key)
        raise UserError(
            f"{key}{origin(config, key)}: there is no such value",
            found=str(error).splitlines()[0],
            expected="keys in ${…} that exist, and a name or number in each of them",
        ) from error


def check_choices(config: DictConfig, overrides: Sequence[str]) -> None:
    """Refuse overrides that have no effect because all phases of the schedule have their own settings.

    Args:
        config: the composed config.
        overrides: the overrides of the command line.

    Raises:
        UserError: the first override without effect.
    """
    if "search" in config:
        raise UserError(
            "search=… has no effect on a single training", fix="python scripts/search.py search=…"
        )
    schedule = str(OmegaConf.to_container(config.schedule, resolve=False))
    for override in overrides:
        key = override.split("=")[0]
        if key in ("epochs", "optimizer.lr") and f"${{{key}}}" not in schedule:
            setting = key.rsplit(".", 1)[-1]
            raise UserError(
                f"{override} has no effect: the phases of this schedule set their own {setting}",
                fix=" ".join(f"schedule.phases.{name}.{setting}=…" for name in phases(config)),
            )
        group = key.split(".")[0]
        if group not in OF_PHASES:
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
                "%s does not reach %s (own %s); set schedule.phases.PHASE.%s as well",
                override,
                " and ".join(apart),
                group,
                override,
            )


def _own(config: DictConfig, group: str) -> list[str]:
    """Names of the phases that do not use the global option of a group of `OF_PHASES`."""
    common = OmegaConf.to_container(config[group], resolve=True)
    settings = {name: phase for name, phase in phases(config).items() if isinstance(phase, Mapping)}
    return [name for name, phase in settings.items() if phase.get(group) not in (None, {}, common)]


def check_requirements(config: DictConfig) -> None:
    """Refuse settings that the task does not support, such as a decoder for classification."""
    tasks = config.data.get("tasks")
    if tasks and config.task.name not in tasks:
        choices = " or ".join(f"task={task}" for task in tasks)
        raise UserError(
            "data.tasks: the data set has no labels for this task",
            found=f"task={config.task.name}",
            expected=choices,
            fix=choices,
        )
    for key, allowed in (config.task.get("requires") or {}).items():
        found = OmegaConf.select(config, key)
        if found not in allowed:
            name, values = key.split(".")[0], [str(v or "none").rsplit(".", 1)[-1] for v in allowed]
            shown = ", ".join(found) if OmegaConf.is_dict(found) else str(found).rsplit(".", 1)[-1]
            raise UserError(
                f"{name}: task={config.task.name} cannot use {shown}",
                expected=" or ".join(values),
                fix=f"leave {name}= out of the command, or choose another task",
            )


def check_modes(config: DictConfig) -> None:
    """Refuse a monitored loss that is maximised, in the task and in every callback."""
    callbacks = {f"callbacks.{name}": node for name, node in config.get("callbacks", {}).items()}
    for key, node in {"task": config.task, **callbacks}.items():
        if not OmegaConf.is_dict(node) or not {"monitor", "mode"} <= node.keys():
            continue
        if node.mode == "max" and mode_of(str(node.monitor)) == "min":
            raise UserError(
                f"{key}.mode=max contradicts {key}.monitor={node.monitor}: the smallest loss is the best",
                expected="min",
                fix=f"leave {key}.mode out of the command",
            )


def check_phases(config: DictConfig) -> None:
    """Refuse an empty schedule, and phases with the name of a loss and the like instead of its config."""
    settings = phases(config) if config.schedule.phases is not None else {}
    if not settings:
        raise UserError("schedule.phases is empty", expected="at least one phase")
    for name, phase in settings.items():
        key = f"schedule.phases.{name}"
        for group in OF_PHASES:
            if isinstance(option := phase.get(group), str):
                raise UserError(
                    f"{key}.{group} must be the config of the {group}, not its name",
                    found=option,
                    fix=f"+{group}@{key}.{group}={option} (without + if the phase has one)",
                )
