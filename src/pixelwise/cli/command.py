"""The command line in front of Hydra: help, suggestions for typos, and errors as one message.

Imports neither torch nor Lightning, so that `--help`, `--cfg job` and errors for typos appear at once.
"""

from __future__ import annotations

import argparse
import errno
import functools
import logging
import shlex
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from hydra._internal.utils import get_args_parser, run_and_report
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException, ConfigCompositionException
from hydra.types import RunMode
from omegaconf import DictConfig

from pixelwise.cli import run_arguments
from pixelwise.cli.application import Application
from pixelwise.cli.checks import check, check_values
from pixelwise.cli.hints import alternatives, explain, stop
from pixelwise.cli.job import output_folder, write_problem_list
from pixelwise.cli.options import groups, options
from pixelwise.errors import UserError
from pixelwise.files import disk_error, unwritable
from pixelwise.overrides import key_of
from pixelwise.runs.untrusted import check_links
from pixelwise.runtime.own_packages import find_own_packages
from pixelwise.runtime.processes import SIGNALS, listen, rank, start_together
from pixelwise.runtime.program import arguments, as_started

Job = Callable[[DictConfig], Any]

log = logging.getLogger(__name__)


def command(
    config_name: str, *settings: str, starts_from: Literal["run", "resume"] | None = None
) -> Callable[[Job], Callable[[], None]]:
    """Make a function a command, with `conf/<config_name>.yaml` as config and its module's docstring as help.

    Args:
        config_name: a file of conf/, without suffix.
        *settings: overrides that this command adds; those of Hydra only if the user does not set them.
        starts_from: the key of a run folder: "run" if the command requires one and starts from its config,
            "resume" if the command can repeat the overrides of a run.
    """
    typed: list[str] = []
    status = [1]  # of a job that ends with an error

    def decorate(job: Job) -> Callable[[], None]:
        name = job.__globals__["__file__"].rpartition("/")[2].removesuffix(".py")
        usage = as_started(job.__globals__["__doc__"])

        @functools.wraps(job)
        def guarded(config: DictConfig) -> Any:
            find_own_packages()
            sys.argv[:] = typed  # repeated by launchers of further processes, recorded in the run folder
            try:
                if HydraConfig.get().mode == RunMode.MULTIRUN:
                    check(config, config_name)
                return job(config)
            except Exception as failure:
                error = _explained(failure)
                if error is None:
                    raise
                status[:] = [error.status]
                listed = write_problem_list(error.every) if error.every and rank() == 0 else None
                full_list = f"\n  all:      {listed}" if listed else ""
                raise CompactHydraException(as_started(f"\nerror: {error}{full_list}")) from error
            except SystemExit as end:
                if starts_from == "resume" and end.code in [128 + number for number in SIGNALS]:
                    log_resume_command()
                raise

        def main() -> None:
            if rank() == 0:  # the other processes may wait for one that has ended
                listen()
            start_together()
            typed[:] = sys.argv
            words = arguments()
            given = {key_of(word) for word in words}
            words += [s for s in settings if not s.startswith("hydra") or key_of(s) not in given]
            try:
                if starts_from == "run":
                    words = run_arguments.start_from_run(words, usage)
                elif starts_from == "resume":
                    words = run_arguments.resume_from_run(words)
                if rank() > 0:
                    words = run_arguments.nonzero_rank_args(words)
                parser = get_args_parser()
                flags = parser.parse_intermixed_args(words)
                if flags.help:
                    print(help_text(usage))
                    return
                if flags.config_path or flags.config_dir or flags.experimental_rerun:
                    raise UserError(
                        "--config-path, --config-dir and --experimental-rerun are not supported",
                        fix="a conf/ in the current folder adds options",
                    )
                flags.config_name = flags.config_name or config_name
                run_and_report(lambda: _start(Application(name), guarded, flags, parser))
            except UserError as error:
                stop(error)
            except SystemExit as end:
                raise SystemExit(end.code if end.code != 1 or flags.multirun else status[0]) from None

        return main

    return decorate


def _explained(error: Exception) -> UserError | None:
    """An error as a message without traceback: a `UserError`, or that of a full disk; None for others."""
    if isinstance(error, UserError):
        return error
    if isinstance(error, PermissionError) or getattr(error, "errno", None) == errno.EROFS:
        return UserError("a file or folder cannot be read or written", found=error)
    if full := disk_error(error):
        place = full.filename if isinstance(full.filename, str) else output_folder()
        return unwritable(str(place), error, Path(place))
    return None


def _start(
    application: Application, job: Job, flags: argparse.Namespace, parser: argparse.ArgumentParser
) -> None:
    """Execute the flags of the command line; without flags, run one job.

    Raises:
        SystemExit: the config cannot be composed; status 2, after a message.
    """
    name, words = flags.config_name, flags.overrides
    GlobalHydra.instance().clear()
    GlobalHydra.instance().initialize(application)
    try:
        if flags.hydra_help:
            application.hydra_help(name, parser, flags)
        elif flags.shell_completion:
            application.shell_completion(name, words)
        elif flags.info:
            application.show_info(flags.info, name, words)
        elif flags.cfg:
            application.show_cfg(name, words, flags.cfg, flags.package, flags.resolve)
        elif flags.multirun:
            _check_values(application, name, words)
            words = run_arguments.sweep_dirname(words)
            application.multirun(name, job, [*words, "hydra.mode=MULTIRUN"])
        else:
            application.run(name, job, [*words, "hydra.mode=RUN"])
    except ConfigCompositionException as error:  # of a job of a sweep, from a combination of values
        stop(explain(error, words, application.config_loader.of_files))
    except UserError as error:
        stop(error)
    finally:
        GlobalHydra.instance().clear()


def _check_values(application: Application, config_name: str, words: list[str]) -> None:
    """Refuse a typo in any value of a sweep before its folder is created; jobs check their configs later."""
    for overrides in alternatives(words, application.config_loader):
        try:
            config = application.compose_config(config_name, overrides, RunMode.MULTIRUN)
            check_links(Path(str(config.hydra.sweep.dir)))  # Hydra writes to this folder
            check_values(config, config_name)
        except UserError:
            print("job that cannot be composed:", " ".join(overrides), file=sys.stderr)
            raise


def help_text(usage: str) -> str:
    """A command's docstring, with all groups and options, in lines of at most 80 columns."""
    lines = [f"{group}: {', '.join(options(group))}" for group in groups()]
    listed = [textwrap.fill(line, 80, subsequent_indent="    ", break_on_hyphens=False) for line in lines]
    return "\n".join([usage.strip(), "", "Groups and their options (group=option):", *listed, "", FOOTER])


FOOTER = """\
What an option does:  docs/options.md, or line 1 of conf/GROUP/OPTION.yaml
A key inside a group: optimizer.lr=3e-4 data.batch_size=16 trainer.devices=2
Several of a group:   'callbacks=[default,ema]' 'logger=[wandb,tensorboard]'
Launcher of a sweep:  hydra/launcher=OPTION, a file of conf/hydra/launcher
The composed config:  --cfg job     (all flags of Hydra: --hydra-help)
Completion in bash:   source scripts/completion.bash"""


def log_resume_command() -> None:
    """Log how to resume a training that a signal stopped."""
    if rank() == 0 and (output_folder() / "config.yaml").is_file():
        resume = shlex.quote(f"resume={output_folder()}")
        log.info("stopped; resume with: %s %s", as_started("python train.py"), resume)
