"""Several processes that train one model: which one this is, and how they part.

Imports torch only where it was imported before.
"""

from __future__ import annotations

import os
import sys

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
