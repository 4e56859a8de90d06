"""Error messages with a fix for failures of the environment, such as a full disk."""

from __future__ import annotations

import inspect
import shlex
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from pixelwise.errors import UserError
from pixelwise.files import disk_error, unwritable
from pixelwise.runs import checkpoints
from pixelwise.training.run import Run


def explain_failure(error: Exception, run: Run, folder: Path, start: Path | None) -> UserError | None:
    """Return an error that names the cause and a fix, or None if the cause is unknown.

    Args:
        error: the exception that ended the training.
        run: the run that failed.
        folder: the run folder.
        start: the checkpoint that training resumed from.
    """
    text = str(error)
    # PyTorch's CPU allocator raises a plain RuntimeError: only the message identifies it
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in text:
        return _out_of_memory(run, text or type(error).__name__)
    if disk_error(error):
        return _disk_full(error, folder)
    if start is not None and _raised_in(error, nn.Module.load_state_dict):
        return UserError(
            f"{start} does not fit the model that the config describes",
            found="; ".join(line.strip()[:200] for line in text.splitlines()[1:4]),
            fix="the same model; for another one, start a new run with encoder.weights=RUN",
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


def _raised_in(error: Exception, function: Callable[..., Any]) -> bool:
    """Return whether the error was raised in a function or in a call that it made."""
    code = inspect.unwrap(function).__code__
    return any(frame.f_code is code for frame, _ in traceback.walk_tb(error.__traceback__))


def _out_of_memory(run: Run, text: str) -> UserError:
    size, accumulate = run.data.batch_size, run.trainer.accumulate_grad_batches
    fix = "a smaller data.crop_size or encoder"
    if half := size // 2:
        smaller = f"data.batch_size={half} trainer.accumulate_grad_batches={accumulate * size // half}"
        fix = f"{smaller} (same effective batch size), or {fix}"
    return UserError(f"out of memory with data.batch_size={size}", found=text.splitlines()[0], fix=fix)
