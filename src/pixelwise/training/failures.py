"""What may end a training from outside, told with what to do about it."""

from __future__ import annotations

import errno
from pathlib import Path

import torch

from pixelwise.errors import UserError
from pixelwise.training.run import Run


def explain_failure(error: Exception, run: Run, folder: Path, start: Path | None) -> UserError | None:
    """What to do about an error, or None where that is not known.

    Args:
        error: that ended the training.
        run: what was trained.
        folder: its folder.
        start: the checkpoint that it went on from.
    """
    text = str(error)
    if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in text:
        return _out_of_memory(run, text)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(
            f"{folder} cannot be written: the disk is full",
            found=error,
            fix=f"make room, then go on with python train.py resume={folder}",
        )
    if start is not None and "loading state_dict" in text:
        return UserError(
            f"{start} does not fit the model that the config describes",
            found="; ".join(line.strip()[:200] for line in text.splitlines()[1:4]),
            fix="keep the model; another one starts from encoder.weights=RUN, in a run of its own",
        )
    if "Expected more than 1 value per channel" in text:
        return UserError(
            f"batch-norm has one value a channel to learn from with data.batch_size={run.data.batch_size}",
            found=text,
            fix="data.batch_size=2 or more (and as many training images), or a larger data.crop_size",
        )
    return None


def _out_of_memory(run: Run, text: str) -> UserError:
    size, accumulate = run.data.batch_size, run.trainer.accumulate_grad_batches
    fix = "a smaller data.crop_size or encoder"
    if half := size // 2:
        kept = f"data.batch_size={half} trainer.accumulate_grad_batches={accumulate * size // half}"
        fix = f"{kept} keeps the effective batch; or {fix}"
    return UserError(f"out of memory with data.batch_size={size}", found=text.splitlines()[0], fix=fix)
