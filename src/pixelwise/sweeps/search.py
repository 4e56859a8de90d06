"""Hyperparameter search: Optuna proposes overrides, and each trial is an ordinary run in its own process.

The folder of a search holds the study (`study.db`, SQLite), a run folder for each trial, and the tables of
`summary`. This process reads the validation scores that the runs write, reports them to the study, and stops
the trials that the pruner rejects. The same command resumes interrupted trials.
"""

from __future__ import annotations

import fcntl
import json
import logging
import math
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from omegaconf import DictConfig, OmegaConf

from pixelwise.cli.options import options
from pixelwise.errors import UserError
from pixelwise.overrides import key_of
from pixelwise.runs import sweep, untrusted
from pixelwise.runtime.processes import SIGNALS, interruptible
from pixelwise.sweeps import summary

log = logging.getLogger(__name__)

TRAIN = (sys.executable, "-m", "pixelwise", "train")
POLL = 0.2
"""Seconds between two checks of the running trials."""


def search(config: DictConfig, overrides: Sequence[str], folder: Path, train: Sequence[str] = TRAIN) -> None:
    """Run trials until `search.trials` have ended.

    Args:
        config: the composed config, with a `search` group.
        overrides: the overrides as typed; every trial gets all but those of the search itself.
        folder: the folder of the search; a study in it is resumed.
        train: the command of a trial.

    Raises:
        UserError: `search` is not given, the folder holds a different search, or no trial has a score.
    """
    if "search" not in config:
        raise UserError("search=… must be given", expected=", ".join(options("search")))
    from pixelwise.sweeps.study import open_study  # imports torch

    log.info("search folder: %s", folder)
    untrusted.check_links(folder)
    lock = _lock(folder)
    fixed = [o for o in overrides if key_of(o).split(".")[0] not in ("search", "sweep", "resume")]
    study = open_study(config, fixed, folder)
    search = _Search(study, config, fixed, folder, train, lock)
    with interruptible():
        try:
            search.run()
        except BaseException:
            search.stop()
            raise
        finally:
            summary.show(folder, hint=False)
    _log_best(study, config.task.monitor, folder)


def _lock(folder: Path) -> IO[str]:
    """Lock the folder; trials inherit the lock, so that it is held until the last of them has ended."""
    lock = (folder / "search.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        message = f"{folder} is in use by a search, or by trials of a killed search"
        raise UserError(message, fix="wait for them, or stop them") from error
    return lock


@dataclass
class _Running:
    """A running trial; `reported` counts the validations reported to the study."""

    trial: Any
    folder: Path
    process: subprocess.Popen[bytes]
    slot: int
    reported: int
    pruned: bool = False


class _Search:
    """Runs the trials of a study, as many at a time as there are workers."""

    def __init__(
        self,
        study: Any,
        config: DictConfig,
        fixed: Sequence[str],
        folder: Path,
        train: Sequence[str],
        lock: IO[str],
    ) -> None:
        self.study, self.settings, self.task = study, config.search, config.task
        self.fixed, self.folder, self.train, self.lock = fixed, folder, train, lock
        self.running: list[_Running] = []

    def run(self) -> None:
        """Start and watch trials until `search.trials` have ended."""
        from optuna.trial import Trial, TrialState

        interrupted = [
            Trial(self.study, trial._trial_id) for trial in self.study.get_trials(states=[TrialState.RUNNING])
        ]
        while True:
            while len(self.running) < self.settings.workers:
                if interrupted:
                    self._start(interrupted.pop(0))
                elif len(self.study.get_trials(deepcopy=False)) < self.settings.trials:
                    self._start(self.study.ask())
                else:
                    break
            if not self.running:
                return
            for running in list(self.running):
                ended = running.process.poll() is not None  # before reading scores, so that none is missed
                self._watch(running)
                if ended:
                    self.running.remove(running)
                    self._end(running)
            time.sleep(POLL)

    def _start(self, trial: Any) -> None:
        folder = self.folder / f"trial-{trial.number:04d}"
        folder.mkdir(exist_ok=True)
        chosen = [f"{key}={_typed(suggest(trial, key, leaf))}" for key, leaf in leaves(self.settings.space)]
        if (folder / "config.yaml").is_file():
            arguments = [f"resume='{folder}'"]
        else:
            arguments = [*self.fixed, *chosen, f"hydra.run.dir='{folder}'"]
        slot = min(set(range(self.settings.workers)) - {running.slot for running in self.running})
        environment = dict(os.environ)
        if self.settings.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = str(self.settings.gpus[slot % len(self.settings.gpus)])
        log.info("%s: %s", folder.name, " ".join(chosen))
        with (folder / "terminal.txt").open("ab") as terminal:
            process = subprocess.Popen(
                [*self.train, *arguments],
                stdout=terminal,
                stderr=terminal,
                env=environment,
                pass_fds=(self.lock.fileno(),),
            )
        reported = len(self.study.get_trials(deepcopy=False)[trial.number].intermediate_values)
        self.running.append(_Running(trial, folder, process, slot, reported))

    def _watch(self, running: _Running) -> None:
        """Report new validation scores to the study, and stop the trial if the pruner rejects it."""
        values = sweep.validations(running.folder, self.task.monitor)
        if len(values) <= running.reported:
            return
        for step in range(running.reported, len(values)):
            running.trial.report(values[step], step)
        running.reported = len(values)
        if not running.pruned and running.process.poll() is None and running.trial.should_prune():
            running.pruned = True
            running.process.terminate()  # it saves a checkpoint and exits

    def _end(self, running: _Running) -> None:
        from optuna.trial import TrialState

        values = sweep.validations(running.folder, self.task.monitor)
        best = sweep.best_of(values, self.task.mode)
        status = running.process.returncode
        if status == 0 and math.isfinite(best):
            self.study.tell(running.trial, best)
            log.info("%s: best %s %.4f", running.folder.name, self.task.monitor, best)
        elif running.pruned:
            why = f"after {len(values)} validations, best {self.task.monitor} {best:.4f}"
            self.study.tell(running.trial, state=TrialState.PRUNED)
            sweep.note(running.folder, "pruned", why)
            log.info("%s: pruned %s", running.folder.name, why)
        elif -status in SIGNALS or status - 128 in SIGNALS:
            raise SystemExit(status if status > 0 else 128 - status)  # by a signal: the trial can be resumed
        else:
            why = _reason(running.folder / "terminal.txt", status)
            running.trial.set_user_attr("error", why)
            self.study.tell(running.trial, state=TrialState.FAIL)
            sweep.note(running.folder, "failed", why)
            log.error("%s failed: %s", running.folder.name, why)
        summary.write(self.folder)

    def stop(self) -> None:
        """Stop the running trials, which save a checkpoint; Ctrl-C has reached them already."""
        if getattr(sys.exception(), "code", None) != 128 + signal.SIGINT:
            for running in self.running:
                running.process.terminate()
        for running in self.running:
            running.process.wait()
        log.info(
            "stopped; to continue, repeat the command with %s", shlex.quote(f"sweep.name={self.folder.name}")
        )


def leaves(space: Mapping[str, Any] | DictConfig, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each searched key with its choices or its range."""
    for key, node in space.items():
        name = prefix + str(key)
        if OmegaConf.is_list(node) or (OmegaConf.is_dict(node) and "low" in node):
            yield name, node
        elif OmegaConf.is_dict(node):
            yield from leaves(node, f"{name}.")
        else:
            raise UserError(f"search.space.{name}", found=node, expected="[choices] or {low: …, high: …}")


def suggest(trial: Any, key: str, leaf: Any) -> Any:
    """The value that the study proposes for one key.

    Args:
        trial: the trial of Optuna.
        key: config key of the override.
        leaf: a list of choices, or `low` and `high`, optionally with `log` or `step`.
    """
    if OmegaConf.is_list(leaf):
        return trial.suggest_categorical(key, list(leaf))
    whole = all(isinstance(leaf[end], int) for end in ("low", "high"))
    try:
        return (trial.suggest_int if whole else trial.suggest_float)(key, **leaf)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"search.space.{key}", found=f"{leaf}: {error}", expected="low, high, optionally log or step"
        ) from error


def _typed(value: Any) -> str:
    """A value in the syntax of an override."""
    return value if isinstance(value, str) else json.dumps(value)


def _reason(terminal: Path, status: int) -> str:
    """The error that a run printed last, or the signal that ended it."""
    if status < 0:
        return f"ended by {signal.Signals(-status).name}"
    text = terminal.read_text(errors="replace")
    error = text[max(text.rfind("\nerror: "), text.rfind("\nTraceback"), 0) :].strip()
    lines = [line for line in error.splitlines() if not line.startswith("Set the environment variable HYDRA")]
    return "\n".join(lines[-40:]).removeprefix("error: ").strip() or f"exit status {status}"


def _log_best(study: Any, monitor: str, folder: Path) -> None:
    """Log the best trial and its run folder."""
    try:
        best = study.best_trial
    except ValueError as error:
        raise UserError(
            f"{folder}: no trial has a score", fix="see terminal.txt in the folders of the trials"
        ) from error
    chosen = " ".join(f"{key}={_typed(value)}" for key, value in best.params.items())
    log.info("best of %d trials: %s %.4f with %s", len(study.trials), monitor, best.value, chosen)
    log.info("run folder: %s", folder / f"trial-{best.number:04d}")
