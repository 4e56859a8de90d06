"""Error messages with a fix for failures of the environment, such as a full disk."""

from __future__ import annotations

import inspect
import shlex
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from lightning.pytorch.trainer.connectors.checkpoint_connector import _CheckpointConnector
from torch import nn
from torch.nn import functional

from pixelwise.data.workers import explain_worker_failure
from pixelwise.errors import UserError, counted
from pixelwise.files import disk_error, unwritable
from pixelwise.runs import checkpoints
from pixelwise.runtime.processes import PATIENCE, end
from pixelwise.runtime.program import as_started
from pixelwise.training.run import Run


@contextmanager
def explained(run: Run, folder: Path | None = None, start: Path | None = None) -> Iterator[None]:
    """Replace an error inside the block by one that names the cause and a fix, if the cause is known.

    An error in one process ends all processes. The arguments are those of `explain_failure`.
    """
    try:
        yield
    except BaseException as error:
        explanation = None
        if isinstance(error, Exception) and not isinstance(error, UserError):
            explanation = explain_failure(error, run, folder, start)
        known = explanation or isinstance(error, UserError)
        failed = end_others(run.trainer, 0 if known else PATIENCE)
        if explanation or (failed and isinstance(error, Exception) and not known):
            raise (explanation or failed) from error  # type: ignore[misc]
        raise


def end_others(trainer: L.Trainer, patience: float) -> UserError | None:
    """End the processes that Lightning has started from this one, which wait for it.

    Lightning itself does so only if one of them fails, and then kills this process, too. torchrun and SLURM
    end all processes by themselves.

    Args:
        trainer: the trainer that has failed in this process.
        patience: seconds that they have to end by themselves.

    Returns:
        An error if one of them has failed before.
    """
    launcher = trainer.strategy.launcher
    if not isinstance(launcher, _SubprocessScriptLauncher):
        return None
    others = [*launcher.procs]
    launcher.procs.clear()  # the list that Lightning watches, to kill this process
    failed = end(others, patience)
    if not failed:
        return None
    position, status = next(iter(failed.items()))
    killed = (
        f"{signal.Signals(-status).name}; the kernel sends SIGKILL if memory is used up" if status < 0 else ""
    )
    return UserError(
        f"rank {position + 1} of {len(others) + 1} processes has failed, so the others were ended",
        found=killed or f"exit status {status}; its own message is above",
    )


def explain_failure(
    error: Exception, run: Run, folder: Path | None = None, start: Path | None = None
) -> UserError | None:
    """Return an error that names the cause and a fix, or None if the cause is unknown.

    Args:
        error: the exception that ended the training or the evaluation.
        run: the run that failed.
        folder: the run folder of a training; None for an evaluation.
        start: the checkpoint that training resumed from.
    """
    text = str(error)
    # PyTorch's CPU allocator raises a plain RuntimeError: only the message identifies it
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in text:
        return _out_of_memory(run, text or type(error).__name__)
    resume = f"{as_started('python train.py')} {shlex.quote(f'resume={folder}')}" if folder else ""
    if explanation := explain_worker_failure(error, run.data.num_workers, resume):
        return explanation
    if folder is not None and disk_error(error):
        return _disk_full(error, folder)
    if start is not None and _raised_in(error, nn.Module.load_state_dict):
        return UserError(
            f"{start} does not fit the model that the config describes",
            found="; ".join(line.strip()[:200] for line in text.splitlines()[1:4]),
            fix="the same model; for another one, start a new run with encoder.weights=RUN",
        )
    if start is not None and _raised_in(
        error,
        _CheckpointConnector._restore_modules_and_callbacks,
        _CheckpointConnector.restore_training_state,
    ):
        done, limit = run.trainer.current_epoch, run.trainer.max_epochs
        if limit is not None and 0 < limit < done:
            return UserError(
                f"this run has trained for {counted(done, 'epoch')} already",
                found=f"{counted(limit, 'epoch')} by the phases or trainer.max_epochs",
                expected=f"at least {done}",
                fix="more epochs, or resume without these overrides",
            )
        return UserError(
            f"{start} does not hold the state of this training",
            found=f"{type(error).__name__}: {error}",
            fix="a run folder of another version needs the commit in its environment.json",
        )
    if isinstance(error, ValueError) and _raised_in(error, functional.batch_norm):
        return UserError(
            f"batch-norm gets only one value per channel with data.batch_size={run.data.batch_size}",
            found=text,
            fix="data.batch_size=2 or more (and as many training images), or a larger data.crop_size",
        )
    return None


def _disk_full(error: Exception, folder: Path) -> UserError:
    """The error of a full disk, with the last complete checkpoint."""
    kept = checkpoints.newest(folder)
    step = "no checkpoint was complete, so it starts again"
    if kept is not None:
        step = f"from step {checkpoints.read(kept)['global_step']}, the last complete checkpoint {kept}"
    fix = f"then continue with python train.py {shlex.quote(f'resume={folder}')} ({step})"
    return unwritable(str(folder), error, folder, fix)


def _raised_in(error: Exception, *functions: Callable[..., Any]) -> bool:
    """Return whether the error was raised in one of these functions or in a call that they made."""
    codes = [inspect.unwrap(function).__code__ for function in functions]
    return any(frame.f_code in codes for frame, _ in traceback.walk_tb(error.__traceback__))


def _out_of_memory(run: Run, text: str) -> UserError:
    size, accumulate = run.data.batch_size, run.trainer.accumulate_grad_batches
    fix = "a smaller data.crop_size or encoder"
    if half := size // 2:
        smaller = f"data.batch_size={half} trainer.accumulate_grad_batches={accumulate * size // half}"
        fix = f"{smaller} (same effective batch size), or {fix}"
    return UserError(f"out of memory with data.batch_size={size}", found=text.splitlines()[0], fix=fix)
