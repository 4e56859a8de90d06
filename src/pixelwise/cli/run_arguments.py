"""Command-line arguments that refer to a run folder, rewritten before Hydra parses them."""

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
from pixelwise.runtime.processes import RUN, rank

TRAINING_KEYS = (
    *("epochs", "seed", "optimizer", "schedule", "augmentation", "mixing", "auxiliary", "logger", "sweep"),
    *("resume", "allow_change", "data.balance", "data.rare", "data.rare_share"),
    *("encoder.pretrained", "encoder.weights", "encoder.allow_missing", "data.mean", "data.std"),
)
"""Keys that have no effect on a trained run, with all keys below them except losses."""


def start_from_run(arguments: list[str], usage: str) -> list[str]:
    """Give Hydra the run's `config.yaml`; without `run=`, print the help text and exit."""
    if {"-sc", "--shell-completion"} & set(arguments):
        return complete_from_run(arguments)
    run = next((a.split("=", 1)[1] for a in arguments if a.startswith("run=")), None)
    if run is None or {"-h", "--help"} & set(arguments):
        wants_help = {"-h", "--help"} & set(arguments)
        print(usage.strip(), file=sys.stdout if wants_help else sys.stderr)
        sys.exit(0 if wants_help else 2)
    from pixelwise import runs
    from pixelwise.runs import trust

    folder = runs.open_run(run.strip("'\""))
    for argument in arguments:
        if is_group(name := argument.split("=")[0]):
            raise UserError(
                f"{argument}: a run keeps the {name} that it was trained with",
                fix=f"override single values: {name}.KEY=VALUE",
            )
        below = f"{key_of(argument)}.".startswith(tuple(f"{key}." for key in TRAINING_KEYS))
        if below and ".loss." not in argument:
            raise UserError(f"{argument} has no effect: the run is already trained")
    arguments = [f"run={quoted(str(folder))}" if a.startswith("run=") else a for a in arguments]
    config = runs.load_config(folder)
    trust.check_classes(config, folder, arguments, ["trainer"])
    offer_config(config)
    return arguments


def offer_config(config: DictConfig) -> None:
    """Store a run's config as `run_config` for conf/; Hydra reads no other file of the run folder."""
    ConfigStore.instance().store("run_config", config)


def complete_from_run(arguments: list[str]) -> list[str]:
    """Arguments for shell completion: offer `run=` first, then the keys of the config of that run."""
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


def resume_from_run(arguments: list[str]) -> list[str]:
    """For `resume=RUN`, repeat the overrides of that run in its folder, followed by the new overrides.

    A process that Lightning starts is given the command of the first process; it joins the run that this
    command has created or resumed.
    """
    if rank() > 0 and RUN in os.environ:
        arguments = [f"resume={os.environ[RUN]}"]
    run = next((a.split("=", 1)[1] for a in arguments if a.startswith("resume=")), None)
    if run is None:
        return arguments
    from pixelwise import runs

    folder = runs.open_run(run.strip("'\""), "resume")
    for flag in ("-m", "--multirun"):
        if flag in arguments:
            raise UserError(f"resume={run} resumes a single run", fix=f"leave out {flag}")
    flags = [a for a in arguments if a.startswith("-") or not ("=" in a or a.startswith("~"))]  # --cfg job
    arguments = [f"resume={quoted(str(folder))}" if a.startswith("resume=") else a for a in arguments]
    overrides = [*runs.load_overrides(folder), *(a for a in arguments if a not in flags)]
    by_key: dict[str, str] = {}  # the last override of a key applies
    for override in overrides:
        is_new_key = by_key.get(key := key_of(override), "").startswith("+") and override.startswith(key)
        by_key[key] = f"+{override}" if is_new_key else override
    return [*flags, *by_key.values(), f"hydra.run.dir={quoted(str(folder))}"]


def nonzero_rank_args(arguments: Sequence[str]) -> list[str]:
    """Arguments for all processes except rank 0: no log file and no folder of their own."""
    folder = [] if any(key_of(a) == "hydra.run.dir" for a in arguments) else ["hydra.run.dir=."]
    logging = ["hydra/job_logging=none", "hydra/hydra_logging=none"]
    return [*(a for a in arguments if key_of(a) != "hydra.job.name"), *folder, *logging]


def sweep_dirname(overrides: Sequence[str]) -> list[str]:
    """Exclude the keys that all jobs of a sweep share from the names of their folders."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    shared = ", ".join(f"'{key_of(o.input_line or '')}'" for o in parsed if not o.is_sweep_override())
    return [*overrides, f"hydra.job.config.override_dirname.exclude_keys=[{shared}]"]
