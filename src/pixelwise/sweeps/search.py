"""Search: Optuna proposes overrides, each trial is an ordinary run in a process of its own.

The search's folder holds the study (`study.db`, SQLite), a run folder for each trial and the tables of
`comparison`. This process watches the validation scores that the runs write, tells them to the study, and
ends what its pruner gives up. Started again, it goes on with what was cut off. Trials know nothing of it.
"""

from __future__ import annotations

import fcntl
import json
import logging
import math
import os
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
from pixelwise.runs import sweep
from pixelwise.runtime.processes import SIGNALS, interruptible
from pixelwise.sweeps import summary

log = logging.getLogger(__name__)

TRAIN = (sys.executable, "-m", "pixelwise", "train")
POLL = 0.2
"""Seconds between two looks at the running trials."""


def search(config: DictConfig, overrides: Sequence[str], folder: Path, train: Sequence[str] = TRAIN) -> None:
    """Run trials until `search.trials` have ended.

    Args:
        config: composed, with `search`.
        overrides: what was typed; all but the search's own keys goes to every trial.
        folder: of the search; a study in it is gone on with.
        train: the command that a trial is.

    Raises:
        UserError: for a search that is not described, that differs from the folder's, or without any score.
    """
    if "search" not in config:
        raise UserError("search=… must be given", expected=", ".join(options("search")))
    log.info("search folder: %s", folder)
    lock = _lock(folder)
    fixed = [o for o in overrides if key_of(o).split(".")[0] not in ("search", "sweep", "resume")]
    study = _study(config, fixed, folder)
    search = _Search(study, config, fixed, folder, train, lock)
    with interruptible():
        try:
            search.run()
        except BaseException:
            search.stop()
            raise
        finally:
            summary.show(folder, hint=False)
    _tell_best(study, config.task.monitor, folder)


def _lock(folder: Path) -> IO[str]:
    """Hold the folder; trials inherit the lock, so that it lasts until the last of their processes ended."""
    lock = (folder / "search.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise UserError(
            f"{folder} is in use by a search, or by trials of one that was killed", fix="wait, or end them"
        ) from error
    return lock


def _study(config: DictConfig, fixed: Sequence[str], folder: Path) -> Any:
    """The folder's study, new or gone on with."""
    try:
        import optuna
        from optuna.study import StudyDirection
    except ImportError as error:
        raise UserError(
            "searching needs Optuna", found=error, fix="pip install 'pixelwise[search]'"
        ) from error
    from pixelwise.build.instantiate import make

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = f"sqlite:///{folder / 'study.db'}"
    directions = {"max": StudyDirection.MAXIMIZE, "min": StudyDirection.MINIMIZE}
    study = optuna.create_study(
        study_name=folder.name,
        storage=storage,
        direction=directions[config.task.mode],
        load_if_exists=True,
    )
    # a sampler that is seeded alike at each start would propose its first trials once more
    study.sampler = make(
        config.search.sampler, "search.sampler", seed=config.seed + len(study.get_trials(deepcopy=False))
    )
    study.pruner = make(config.search.pruner, "search.pruner")
    described = {"space": OmegaConf.to_container(config.search.space), "overrides": sorted(fixed)}
    known = study.user_attrs.get("search", described)
    for what, now in described.items():
        if known[what] != now:
            raise UserError(
                f"{folder} holds another search: its {what} differ",
                found=json.dumps(now),
                expected=json.dumps(known[what]),
                fix="choose another sweep.name",
            )
    study.set_user_attr("search", described)
    return study


@dataclass
class _Running:
    """A trial at work."""

    trial: Any
    folder: Path
    process: subprocess.Popen[bytes]
    slot: int
    reported: int
    pruned: bool = False


class _Search:
    """The trials of a study, as many at a time as there are workers."""

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
        """Begin, watch and end trials until there are enough."""
        from optuna.trial import Trial, TrialState

        cut_off = [
            Trial(self.study, trial._trial_id) for trial in self.study.get_trials(states=[TrialState.RUNNING])
        ]
        while True:
            while len(self.running) < self.settings.workers:
                if cut_off:
                    self._begin(cut_off.pop(0))
                elif len(self.study.get_trials(deepcopy=False)) < self.settings.trials:
                    self._begin(self.study.ask())
                else:
                    break
            if not self.running:
                return
            for one in list(self.running):
                ended = one.process.poll() is not None  # before looking, so that nothing is missed
                self._watch(one)
                if ended:
                    self.running.remove(one)
                    self._end(one)
            time.sleep(POLL)

    def _begin(self, trial: Any) -> None:
        folder = self.folder / f"trial-{trial.number:04d}"
        folder.mkdir(exist_ok=True)
        chosen = [f"{key}={_typed(suggest(trial, key, leaf))}" for key, leaf in leaves(self.settings.space)]
        if (folder / "config.yaml").is_file():
            arguments = [f"resume='{folder}'"]
        else:
            arguments = [*self.fixed, *chosen, f"hydra.run.dir='{folder}'"]
        slot = min(set(range(self.settings.workers)) - {one.slot for one in self.running})
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
        known = len(self.study.get_trials(deepcopy=False)[trial.number].intermediate_values)
        self.running.append(_Running(trial, folder, process, slot, known))

    def _watch(self, one: _Running) -> None:
        """Tell the study what the run has validated since the last look; end it if it looks bad."""
        values = sweep.validations(one.folder, self.task.monitor)
        if len(values) <= one.reported:
            return
        for step in range(one.reported, len(values)):
            one.trial.report(values[step], step)
        one.reported = len(values)
        if not one.pruned and one.process.poll() is None and one.trial.should_prune():
            one.pruned = True
            one.process.terminate()  # it saves and leaves

    def _end(self, one: _Running) -> None:
        from optuna.trial import TrialState

        values = sweep.validations(one.folder, self.task.monitor)
        best = sweep.best_of(values, self.task.mode)
        status = one.process.returncode
        if status == 0 and math.isfinite(best):
            self.study.tell(one.trial, best)
            log.info("%s: best %s %.4f", one.folder.name, self.task.monitor, best)
        elif one.pruned:
            why = f"after {len(values)} validations, best {self.task.monitor} {best:.4f}"
            self.study.tell(one.trial, state=TrialState.PRUNED)
            sweep.note(one.folder, "pruned", why)
            log.info("%s: pruned %s", one.folder.name, why)
        elif -status in SIGNALS or status - 128 in SIGNALS:
            raise SystemExit(status if status > 0 else 128 - status)  # told to stop: the trial remains open
        else:
            why = _reason(one.folder / "terminal.txt", status)
            one.trial.set_user_attr("error", why)
            self.study.tell(one.trial, state=TrialState.FAIL)
            sweep.note(one.folder, "failed", why)
            log.error("%s failed: %s", one.folder.name, why)
        summary.write(self.folder)

    def stop(self) -> None:
        """Let running trials save; Ctrl-C has reached them already."""
        if getattr(sys.exception(), "code", None) != 128 + signal.SIGINT:
            for one in self.running:
                one.process.terminate()
        for one in self.running:
            one.process.wait()
        log.info("stopped; the same command with sweep.name=%s goes on", self.folder.name)


def leaves(space: Mapping[str, Any] | DictConfig, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each searched key with its choices or its range."""
    for key, node in space.items():
        name = prefix + str(key)
        if OmegaConf.is_list(node) or (OmegaConf.is_dict(node) and "low" in node):
            yield name, node
        elif OmegaConf.is_dict(node):
            yield from leaves(node, f"{name}.")
        else:
            raise UserError(f"search.space.{name}", found=node, expected="[choices] or {low: …, high: …}")


def suggest(trial: Any, key: str, leaf: Any) -> Any:
    """What the study proposes for one key.

    Args:
        trial: of Optuna.
        key: the override's.
        leaf: a list of choices, or `low`, `high` and perhaps `log` and `step`.
    """
    if OmegaConf.is_list(leaf):
        return trial.suggest_categorical(key, list(leaf))
    whole = all(isinstance(leaf[end], int) for end in ("low", "high"))
    try:
        return (trial.suggest_int if whole else trial.suggest_float)(key, **leaf)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"search.space.{key}", found=f"{leaf}: {error}", expected="low, high, and perhaps log or step"
        ) from error


def _typed(value: Any) -> str:
    """A value as one types it."""
    return value if isinstance(value, str) else json.dumps(value)


def _reason(terminal: Path, status: int) -> str:
    """The error that a run printed last, or the signal that ended it."""
    if status < 0:
        return f"ended by {signal.Signals(-status).name}"
    text = terminal.read_text(errors="replace")
    error = text[max(text.rfind("\nerror: "), text.rfind("\nTraceback"), 0) :].strip()
    lines = [line for line in error.splitlines() if not line.startswith("Set the environment variable HYDRA")]
    return "\n".join(lines[-40:]).removeprefix("error: ").strip() or f"exit status {status}"


def _tell_best(study: Any, monitor: str, folder: Path) -> None:
    """Say which run to take."""
    try:
        best = study.best_trial
    except ValueError as error:
        raise UserError(
            f"{folder}: no trial came to a score", fix="their folders hold terminal.txt"
        ) from error
    chosen = " ".join(f"{key}={_typed(value)}" for key, value in best.params.items())
    log.info("best of %d trials: %s %.4f with %s", len(study.trials), monitor, best.value, chosen)
    log.info("run folder: %s", folder / f"trial-{best.number:04d}")
