"""Writing, reading and resuming run folders. Only `checkpoints` imports torch."""

from pixelwise.runs.environment import add_to_environment
from pixelwise.runs.folder import (
    create,
    freeze_interpolations,
    load_config,
    load_overrides,
    open_run,
    read_scores,
    write_choices,
    write_scores,
)

__all__ = [
    "add_to_environment",
    "create",
    "freeze_interpolations",
    "load_config",
    "load_overrides",
    "open_run",
    "read_scores",
    "write_choices",
    "write_scores",
]
