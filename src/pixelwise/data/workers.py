"""Worker processes of data loaders: their settings, the memory that they share, and their failures."""

from __future__ import annotations

import shutil
import traceback
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from pixelwise.errors import UserError
from pixelwise.types import Batch

SHARED = Path("/dev/shm")
"""The file system of shared memory in Linux: half of the memory by default, 64 MB in a Docker container."""


def worker_settings(num_workers: int, seed: int) -> dict[str, Any]:
    """Return the arguments that all loaders share; the generator leaves torch's global one unchanged."""
    if num_workers > 0:
        cv2.setNumThreads(1)  # before the fork: a child process would hang when ending threads of its parent
    return {
        "num_workers": num_workers,
        "persistent_workers": num_workers > 0,
        "pin_memory": torch.cuda.is_available(),
        "generator": torch.Generator().manual_seed(seed),
        "worker_init_fn": _one_thread,
    }


def _one_thread(worker: int) -> None:
    """Turn off OpenCV's threads in a worker, as the workers already run in parallel."""
    cv2.setNumThreads(1)


def shared(batch: Batch) -> Batch | UserError:
    """In a worker, move a batch to shared memory; return an error if there is too little of it.

    PyTorch would do the same later, in a thread of the worker that prints an error and drops the batch, for
    which training would wait forever.
    """
    if get_worker_info() is None:
        return batch
    tensors = [value for value in batch.values() if isinstance(value, Tensor)]
    try:
        for tensor in tensors:
            tensor.share_memory_()
    except RuntimeError as error:
        size = sum(tensor.nbytes for tensor in tensors)
        return UserError(
            f"a data worker cannot share a batch of {size / 1e6:.1f} MB with the main process",
            found=_free_shared() or error,
            fix="docker run --shm-size=8g; or data.num_workers=0, which shares nothing; fewer workers, or a "
            "smaller data.batch_size",
        )
    return batch


def explain_worker_failure(error: Exception, num_workers: int, resume: str = "") -> UserError | None:
    """Return an error with a fix for workers that cannot start or ended unexpectedly; else None.

    The kernel kills a process if the memory is used up. PyTorch reports the end of a worker wherever the main
    process is at that moment.

    Args:
        error: the exception.
        num_workers: number of workers of each loader.
        resume: the command that resumes the training; empty for an evaluation.
    """
    modules = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    of_loader = any(name.startswith("torch.utils.data.") for name in modules)
    raised_there = of_loader and modules[-1].startswith(("torch.utils.data.", "multiprocessing."))
    if not raised_there or not isinstance(error, RuntimeError | OSError):
        return None
    fewer = f"data.num_workers={num_workers // 2}"
    found = str(error).strip()
    return UserError(
        f"a data worker failed (data.num_workers={num_workers})",
        found=f"{found}; {_free_shared()}" if _is_shared_memory_full() else found,
        fix=f"{resume} {fewer}".lstrip() + ", or a smaller data.batch_size, if the memory was used up; "
        "docker run --shm-size=8g if shared memory was",
    )


def _is_shared_memory_full() -> bool:
    usage = shutil.disk_usage(SHARED) if SHARED.is_dir() else None
    return usage is not None and usage.free < 0.05 * usage.total


def _free_shared() -> str:
    """How much shared memory is free; empty on a system without this file system."""
    if not SHARED.is_dir():
        return ""
    usage = shutil.disk_usage(SHARED)
    return f"{usage.free / 1e6:.2f} MB free of {usage.total / 1e6:.2f} MB in {SHARED}"
