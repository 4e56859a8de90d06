"""What stands between the shell and Hydra: quick answers, nearest names for typos, errors in one piece.

Imports neither torch nor Lightning, so that `--help`, `--cfg job` and a typo are answered at once.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable
from typing import Any

import hydra
from hydra.errors import CompactHydraException
from omegaconf import DictConfig

from pixelwise.cli.hints import check, stop
from pixelwise.cli.job import output_folder, write_problem_list
from pixelwise.cli.run_arguments import go_on_from_run, nonzero_rank_args, start_from_run, sweep_dirname
from pixelwise.errors import UnknownName, UserError
from pixelwise.overrides import CONF
from pixelwise.runtime.processes import SIGNALS, listen, rank

Job = Callable[[DictConfig], Any]

log = logging.getLogger(__name__)


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
                listed = write_problem_list(error.every) if error.every and rank() == 0 else None
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
                    arguments = nonzero_rank_args(arguments)
                check(config_name, arguments)
            except UserError as error:
                stop(error)
            sys.argv[1:] = sweep_dirname(arguments)
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
