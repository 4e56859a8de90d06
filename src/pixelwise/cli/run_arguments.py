"""The words of a command that concern a run folder, before Hydra sees them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from pixelwise.cli.options import is_group
from pixelwise.errors import UserError
from pixelwise.overrides import key_of, quoted

STEERS_TRAINING = (
    *("epochs", "seed", "optimizer", "schedule", "augmentation", "logger", "sweep", "resume", "allow_change"),
    *("encoder.pretrained", "encoder.weights", "encoder.allow_missing", "data.mean", "data.std"),
)
"""Keys, with all below them but losses, that change nothing once a run has its weights."""


def start_from_run(arguments: list[str], usage: str) -> list[str]:
    """Let Hydra find the run's `config.yaml`; without a run say how the command is used."""
    if {"-sc", "--shell-completion"} & set(arguments):
        return complete_from_run(arguments)
    run = next((a.split("=", 1)[1] for a in arguments if a.startswith("run=")), None)
    if run is None or {"-h", "--help"} & set(arguments):
        wanted = {"-h", "--help"} & set(arguments)
        print(usage.strip(), file=sys.stdout if wanted else sys.stderr)
        sys.exit(0 if wanted else 2)
    from pixelwise import runs

    folder = runs.open_run(run.strip("'\""))
    for argument in arguments:
        if is_group(name := argument.split("=")[0]):
            raise UserError(
                f"{argument}: a run keeps the {name} that it was trained with",
                fix=f"single values can be overridden, as in {name}.KEY=VALUE",
            )
        below = f"{key_of(argument)}.".startswith(tuple(f"{key}." for key in STEERS_TRAINING))
        if below and ".loss." not in argument:
            raise UserError(f"{argument} has no effect: the run is trained already")
    arguments = [f"run={quoted(str(folder))}" if a.startswith("run=") else a for a in arguments]
    offer_config(runs.load_config(folder))
    return arguments


def offer_config(config: DictConfig) -> None:
    """Let conf/ name a run's config as `run_config`: its content, and no other file of the run folder."""
    ConfigStore.instance().store("run_config", config)


def complete_from_run(arguments: list[str]) -> list[str]:
    """While the shell completes a line, the run is in that line; before it is there, `run=` comes first."""
    from pixelwise.runs import load_config

    words = os.environ.get("COMP_LINE", "").split()
    runs = [word.removeprefix("run=") for word in words if word.startswith("run=")]
    if words and not runs:
        print("run=")
        sys.exit(0)
    folder = Path(runs[0]).expanduser() if runs else Path()
    if (folder / "config.yaml").is_file():
        offer_config(load_config(folder))
    return arguments


def go_on_from_run(arguments: list[str]) -> list[str]:
    """`resume=RUN` repeats what was typed for that run, in its folder; what is typed now comes on top."""
    run = next((a.split("=", 1)[1] for a in arguments if a.startswith("resume=")), None)
    if run is None:
        return arguments
    from pixelwise import runs

    folder = runs.open_run(run.strip("'\""), "resume")
    for flag in ("-m", "--multirun"):
        if flag in arguments:
            raise UserError(f"resume={run} goes on with one run", fix=f"leave {flag} out")
    flags = [a for a in arguments if a.startswith("-")]
    arguments = [f"resume={quoted(str(folder))}" if a.startswith("resume=") else a for a in arguments]
    before = runs.load_overrides(folder)
    overrides = [*before, *(a for a in arguments if a not in flags)]
    by_key = {key_of(override): override for override in overrides}  # the last one counts
    return [*flags, *by_key.values(), f"hydra.run.dir={quoted(str(folder))}"]


def nonzero_rank_args(arguments: Sequence[str]) -> list[str]:
    """For all processes of a training but the first: no log, and no folder of its own."""
    folder = [] if any(key_of(a) == "hydra.run.dir" for a in arguments) else ["hydra.run.dir=."]
    logging = ["hydra/job_logging=none", "hydra/hydra_logging=none"]
    return [*(a for a in arguments if key_of(a) != "hydra.job.name"), *folder, *logging]


def sweep_dirname(overrides: Sequence[str]) -> list[str]:
    """Say which keys all jobs of a sweep share, so that their folders are named after the others."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    shared = ", ".join(f"'{key_of(o.input_line or '')}'" for o in parsed if not o.is_sweep_override())
    return [*overrides, f"hydra.job.config.override_dirname.exclude_keys=[{shared}]"]
