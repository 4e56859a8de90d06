"""What stands between the shell and Hydra: quick answers, nearest names for typos, errors in one piece.

Imports neither torch nor Lightning, so that `--help`, `--cfg job` and a typo are answered at once.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import CompactHydraException
from omegaconf import DictConfig

from pixelwise import runs
from pixelwise.errors import UnknownName, UserError
from pixelwise.job import leave_list, output_folder
from pixelwise.overrides import CONF, key_of, quoted
from pixelwise.runtime.processes import SIGNALS, listen, rank
from pixelwise.typos import check, stop

Job = Callable[[DictConfig], Any]

log = logging.getLogger(__name__)

STEERS_TRAINING = (
    *("epochs", "seed", "optimizer", "schedule", "augmentation", "logger", "sweep", "resume", "allow_change"),
    *("encoder.pretrained", "encoder.weights", "data.mean", "data.std"),
)
"""Keys, with all below them but losses, that change nothing once a run has its weights."""


def command(config_name: str, *settings: str) -> Callable[[Job], Callable[[], None]]:
    """Make a root script's function a command that `conf/<config_name>.yaml` configures.

    A config that has a `run` key starts from that run folder's own `config.yaml`.

    Args:
        config_name: a file of conf/, without suffix.
        *settings: overrides that always hold for this command.
    """
    typed: list[str] = []
    unknown: list[UnknownName] = []

    def decorate(job: Job) -> Callable[[], None]:
        @functools.wraps(job)
        def guarded(config: DictConfig) -> Any:
            sys.argv[:] = typed  # what a launcher of further processes repeats, and what the run folder notes
            try:
                return job(config)
            except UserError as error:
                unknown[:] = [error] if isinstance(error, UnknownName) else []
                listed = leave_list(error.every) if error.every and rank() == 0 else None
                all_of_it = f"\n  all:      {listed}" if listed else ""
                raise CompactHydraException(f"\nerror: {error}{all_of_it}") from error
            except SystemExit as end:
                if end.code in [128 + number for number in SIGNALS]:
                    tell_how_to_go_on(config)
                raise

        def main() -> None:
            if rank() == 0:  # the others may be deep in waiting for one that left
                listen()
            typed[:] = sys.argv
            arguments = [*typed[1:], *settings]
            content = (CONF / f"{config_name}.yaml").read_text()
            try:
                if "\nrun: ???" in content:
                    arguments = start_from_run(arguments, job.__globals__["__doc__"])
                elif "\nresume: null" in content:
                    arguments = go_on_from_run(arguments)
                if rank() > 0:
                    arguments = quietly(arguments)
                check(config_name, arguments)
            except UserError as error:
                stop(error)
            sys.argv[1:] = name_by_difference(arguments)
            try:
                hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(guarded)()
            except SystemExit as end:
                one_job = not {"-m", "--multirun"} & {*arguments}
                raise SystemExit(2 if unknown and one_job else end.code) from None

        return main

    return decorate


def tell_how_to_go_on(config: DictConfig) -> None:
    """The last line of a training that a signal ended, however far it was."""
    if rank() == 0 and "resume" in config and (output_folder() / "config.yaml").is_file():
        log.info("stopped; go on with: python train.py resume=%s", output_folder())


def start_from_run(arguments: list[str], usage: str) -> list[str]:
    """Let Hydra find the run's `config.yaml`; without a run say how the command is used."""
    if {"-sc", "--shell-completion"} & set(arguments):
        return complete_from_run(arguments)
    run = next((a.split("=", 1)[1] for a in arguments if a.startswith("run=")), None)
    if run is None or {"-h", "--help"} & set(arguments):
        wanted = {"-h", "--help"} & set(arguments)
        print(usage.strip(), file=sys.stdout if wanted else sys.stderr)
        sys.exit(0 if wanted else 2)
    folder = runs.open_run(run.strip("'\""))
    groups = {path.name for path in CONF.iterdir() if path.is_dir()} - {"hydra"}
    for argument in arguments:
        if (name := argument.split("=")[0]) in groups:
            raise UserError(
                f"{argument}: a run keeps the {name} that it was trained with",
                fix=f"single values can be overridden, as in {name}.KEY=VALUE",
            )
        below = f"{key_of(argument)}.".startswith(tuple(f"{key}." for key in STEERS_TRAINING))
        if below and ".loss." not in argument:
            raise UserError(f"{argument} has no effect: the run is trained already")
    arguments = [f"run={quoted(str(folder))}" if a.startswith("run=") else a for a in arguments]
    return ["--config-dir", str(folder), *arguments]


def complete_from_run(arguments: list[str]) -> list[str]:
    """While the shell completes a line, the run is in that line; before it is there, `run=` comes first."""
    words = os.environ.get("COMP_LINE", "").split()
    runs = [word.removeprefix("run=") for word in words if word.startswith("run=")]
    if words and not runs:
        print("run=")
        sys.exit(0)
    folder = Path(runs[0]).expanduser() if runs else Path()
    return ["--config-dir", str(folder), *arguments] if (folder / "config.yaml").is_file() else arguments


def go_on_from_run(arguments: list[str]) -> list[str]:
    """`resume=RUN` repeats what was typed for that run, in its folder; what is typed now comes on top."""
    run = next((a.split("=", 1)[1] for a in arguments if a.startswith("resume=")), None)
    if run is None:
        return arguments
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


def quietly(arguments: Sequence[str]) -> list[str]:
    """For all processes of a training but the first: no log, and no folder of its own."""
    folder = [] if any(key_of(a) == "hydra.run.dir" for a in arguments) else ["hydra.run.dir=."]
    logging = ["hydra/job_logging=none", "hydra/hydra_logging=none"]
    return [*(a for a in arguments if key_of(a) != "hydra.job.name"), *folder, *logging]


def name_by_difference(arguments: Sequence[str]) -> list[str]:
    """Say which keys all jobs of a sweep share, so that their folders are named after the others."""
    flags = get_args_parser().parse_args(list(arguments))
    if not flags.multirun:
        return list(arguments)
    parsed = OverridesParser.create().parse_overrides(flags.overrides)
    shared = ", ".join(f"'{key_of(o.input_line or '')}'" for o in parsed if not o.is_sweep_override())
    return [*arguments, f"hydra.job.config.override_dirname.exclude_keys=[{shared}]"]
