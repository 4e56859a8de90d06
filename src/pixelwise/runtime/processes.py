"""Processes: which one this is of several that train one model, how they part, and how one is ended.

Imports torch only where it was imported before.
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
"""What Lightning's launcher leaves in the environment of the process that starts the others."""

_before = {name: os.environ.get(name) for name in LAUNCHED}


def rank() -> int:
    """Number of this process, from what torchrun, SLURM or Lightning's launcher says; 0 where it is alone."""
    names = ("RANK", "SLURM_PROCID", "LOCAL_RANK")
    return next((int(os.environ[name]) for name in names if name in os.environ), 0)


def leave_process_group() -> None:
    """Let the next job of a sweep start processes of its own."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
    for name, value in _before.items():
        if value is None:
            os.environ.pop(name, None)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM unwind as Ctrl-C does, so that what is under way is put in order."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():  # where no handler can be set
        yield
        return
    previous = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Ctrl-C, and what a scheduler sends; between the steps of a training `StopOnSignal` listens instead."""


def listen() -> None:
    """Leave on a signal; one that is ignored stays so, as Ctrl-C in a script's background jobs."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, leave)


def leave(number: int, frame: FrameType | None) -> NoReturn:
    """End with the status that the shell expects, closing what is open; the second signal ends at once."""
    for each in SIGNALS:
        signal.signal(each, lambda number, frame: os._exit(128 + number))
    raise SystemExit(128 + number)
