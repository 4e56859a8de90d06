"""Processes: the rank of this process, the process group of a sweep's job, and signals.

This module does not import torch; it uses it if it is already imported.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

LAUNCHED = ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""Environment variables that Lightning's launcher sets in the process that starts the others."""

RUN = "PIXELWISE_RUN"
"""Environment variable with the run folder of the process that starts the others."""

PARENT = "PIXELWISE_PARENT"
"""Environment variable with the number of the process that starts the others."""

PATIENCE = 10.0
"""Seconds that the other processes of a training have to end by themselves."""

_before = {name: os.environ.get(name) for name in LAUNCHED}


def rank() -> int:
    """Return this process's rank, set by torchrun, SLURM or Lightning's launcher; 0 for a single process."""
    names = ("RANK", "SLURM_PROCID", "LOCAL_RANK")
    return next((int(os.environ[name]) for name in names if name in os.environ), 0)


def leave_process_group() -> None:
    """Destroy the process group, so that the next job of a sweep can start its own processes."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
    for name, value in _before.items():
        if value is None:
            os.environ.pop(name, None)


def start_together() -> None:
    """Let the kernel end this process as soon as the process that has started it ends, even by SIGKILL.

    Otherwise it would wait for the other one in a collective operation until its timeout. Only Linux can do
    so, and only for the processes that Lightning's launcher starts.
    """
    if rank() == 0:
        os.environ[PARENT] = str(os.getpid())
    elif os.environ.get(PARENT) == str(os.getppid()) and sys.platform == "linux":
        end_with_parent = 1  # PR_SET_PDEATHSIG of <linux/prctl.h>
        ctypes.CDLL(None).prctl(end_with_parent, signal.SIGKILL)


def end(processes: Sequence[subprocess.Popen[bytes]], patience: float) -> dict[int, int]:
    """Wait for processes, then kill those that have not ended.

    Args:
        processes: the processes.
        patience: seconds to wait.

    Returns:
        The exit status of each process that has failed by itself, by its position.
    """
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and any(process.poll() is None for process in processes):
        time.sleep(0.05)
    failed = {i: process.returncode for i, process in enumerate(processes) if process.poll()}
    for process in processes:
        process.kill()
        process.wait()
    return failed


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM raise an exception as Ctrl-C does, so that cleanup code runs."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():  # only the main thread can set handlers
        yield
        return
    previous = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Ctrl-C, and the signal of schedulers; during training `StopOnSignal` handles them instead."""


def listen() -> None:
    """Exit on a signal, unless it is ignored already, as Ctrl-C in background jobs of a shell script."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, leave)


def leave(number: int, frame: FrameType | None) -> NoReturn:
    """Exit with the status that shells expect, after cleanup; a second signal exits immediately."""
    for signal_number in SIGNALS:
        signal.signal(signal_number, lambda number, frame: os._exit(128 + number))
    raise SystemExit(128 + number)
