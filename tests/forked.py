"""Commands in a fork of this process, which has imported torch: each saves seconds."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]

IMPORTED = (
    "build",
    "commands.train",
    "reports.run_page",
    "runs.resume",
    "sweeps.summary",
    "training.evaluate",
)
"""Modules that are imported once, for all children."""

LONGEST = 300.0
"""Seconds after which a command is killed."""


class Done(NamedTuple):
    """What a command left: its exit status, and what it printed on both streams."""

    status: int
    printed: str


def forked(
    folder: Path,
    command: str,
    *words: str,
    env: Mapping[str, str] | None = None,
    without: Sequence[str] = (),
    around: AbstractContextManager[None] | None = None,
) -> Done:
    """Run a command in a child of this process, which imports torch and what else takes long.

    Args:
        folder: the current folder of the command.
        command: a module of `pixelwise.commands`.
        *words: its arguments.
        env: additions to its environment.
        without: dotted names of functions that only check, which are replaced by ones that check nothing.
        around: a context that the command runs in, such as one of `tests.faults`.
    """
    for module in IMPORTED:
        importlib.import_module(f"pixelwise.{module}")
    printed = folder / f".printed.{time.monotonic_ns()}"
    child = os.fork()
    if child == 0:
        status = 70
        try:
            stream = printed.open("w", buffering=1)
            os.dup2(stream.fileno(), 1)
            os.dup2(stream.fileno(), 2)
            sys.stdout = sys.stderr = stream
            logging.getLogger().handlers.clear()  # those of pytest
            os.chdir(folder)
            os.environ |= env or {}
            for name in without:
                module, _, function = name.rpartition(".")
                setattr(importlib.import_module(module), function, lambda first=None, *_, **__: first)
            sys.argv = [str(ROOT / f"{command}.py"), *words]
            with around or nullcontext():
                importlib.import_module(f"pixelwise.commands.{command}").main()
            status = 0
        except SystemExit as end:
            if isinstance(end.code, str):
                print(end.code)
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)
    deadline = time.monotonic() + LONGEST
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.01)
    text = printed.read_text(errors="replace")
    printed.unlink()
    return Done(os.waitstatus_to_exitcode(ended[1]), text)
