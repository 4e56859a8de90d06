"""The current job of Hydra: its folder, its overrides and its differences from the defaults."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from pixelwise.cli.application import Application, default_choices
from pixelwise.cli.options import is_group
from pixelwise.errors import UserError, printable
from pixelwise.files import write_text
from pixelwise.overrides import key_of, nodes


def check_mode(config: DictConfig) -> None:
    """Refuse overrides of a single new training that only affect sweeps or resumed runs.

    Raises:
        UserError: the first override without effect.
    """
    typed = HydraConfig.get().overrides
    if config.resume is not None or HydraConfig.get().mode == RunMode.MULTIRUN:
        return
    for override in [*typed.task, *typed.hydra]:
        key = key_of(override)
        if key == "allow_change":
            raise UserError(f"{override} has no effect on a new run", fix="resume=RUN resumes a run")
        if key.startswith(("sweep.", "hydra/launcher", "hydra.launcher.", "hydra.sweep.")):
            raise UserError(
                f"{override} has no effect on a single training", fix="python train.py -m … seed=1,2"
            )


def output_folder() -> Path:
    """The folder that Hydra created for this job."""
    return Path(HydraConfig.get().runtime.output_dir)


def write_problem_list(lines: Sequence[str]) -> Path | None:
    """Write all items of a shortened message to problems.txt in the job's folder, or delete the file.

    Returns:
        The file; None if there is nothing to write, or the folder cannot be written.
    """
    file = output_folder() / "problems.txt"
    try:
        if lines:
            write_text(file, "\n".join(map(printable, lines)) + "\n")
            return file
        file.unlink(missing_ok=True)
    except OSError as error:
        print(f"{file} cannot be written: {error}", file=sys.stderr)
    return None


def overrides() -> list[str]:
    """The overrides of this job as typed; in a sweep, with the values of this job."""
    words: Any = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    return words


def choice(group: str) -> str:
    """The option of a group that this job uses."""
    return str(HydraConfig.get().runtime.choices[group])


def choices() -> dict[str, str]:
    """The option of each group that this job uses."""
    return {
        group: option
        for group, option in HydraConfig.get().runtime.choices.items()
        if option and "@" not in group and "/" not in group
    }


def differences(config_name: str, config: DictConfig) -> list[str]:
    """The overrides in which this job differs from `conf/<config_name>.yaml`: options, then single values."""
    chosen = {g: o for g, o in HydraConfig.get().runtime.choices.items() if not g.startswith("hydra/")}
    usual_choices = default_choices(config_name)
    # Hydra does not list several options of one group, such as logger=[wandb,tensorboard], as choices
    changed = [o for o in overrides() if "=[" in o and is_group(key_of(o))]
    changed += [
        f"{group}={option}"
        for group, option in chosen.items()
        if "@" not in group and "/" not in group and group not in ("experiment", "debug")
        if usual_choices.get(group) != option
    ]
    usual = Application(config_name).usual(config_name, changed)
    of_phases = [  # options of phases that the schedule did not set itself
        f"{group}={option}"
        for group, option in chosen.items()
        if "@" in group and usual.hydra.runtime.choices.get(group) != option
    ]
    below = tuple(choice.partition("@")[2].partition("=")[0] + "." for choice in of_phases)
    default, typed = dict(nodes(usual)), {key_of(override) for override in overrides()}
    texts = {key_of(override): override for override in overrides() if not is_group(key_of(override))}
    values = []
    for key, node in nodes(config):
        same = key in default and (
            default[key] == node or (_differs_by_start(default[key]) and key not in typed)
        )
        if not OmegaConf.is_dict(node) and not same and (key in typed or not key.startswith(below)):
            # YAML reads the tile 2_11 as the number 211, so a typed value is shown as it was typed
            source = next((o for k, o in texts.items() if f"{key}.".startswith(f"{k}.")), None)
            values.append(source or f"{key}={_as_typed(node)}")
    return list(dict.fromkeys([*changed, *of_phases, *values]))


def _differs_by_start(node: Any) -> bool:
    """Whether a default contains the time of the start, such as the name of a sweep."""
    return "${now:" in str(node._value())


def _as_typed(node: Any) -> str:
    """A value in the notation of the command line."""
    value = OmegaConf.to_container(node, resolve=False) if OmegaConf.is_list(node) else node._value()
    text = json.dumps(value, ensure_ascii=False).replace('"', "").replace(", ", ",")
    return text if len(text) < 60 else text[:59] + "…"
