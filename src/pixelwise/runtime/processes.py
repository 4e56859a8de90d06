"""Processes: the rank of this process, the process group of a sweep's job, and signals.

This module does not import torch; it uses it if it is already imported.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

LAUNCHED = ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""Environment variables that Lightning's launcher sets in the process that starts the others."""

RUN = "PIXELWISE_RUN"
"""Environment variable with the run folder of the process that starts the others."""

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
