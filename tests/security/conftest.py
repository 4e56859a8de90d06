"""Attacks by a stranger's files, run as commands in a fork of this process, which has imported torch."""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from omegaconf import OmegaConf
from tests.conftest import ROOT

SECRET = "5f0c-this-is-a-secret-93ab"
"""Value of the environment variable SECRET_TOKEN in every attack."""

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


Attack = Callable[..., Done]
"""The fixture `attack`: `attack("evaluate", *words)` runs a command in `tmp_path` and returns `Done`."""


def forked(
    folder: Path, command: str, words: Sequence[str], env: Mapping[str, str], without: Sequence[str] = ()
) -> Done:
    """Run a command in a child of this process.

    Args:
        folder: the current folder of the command.
        command: a module of `pixelwise.commands`.
        words: its arguments.
        env: additions to its environment.
        without: dotted names of functions that only check, which are replaced by ones that check nothing.
    """
    printed = folder / f".printed.{time.monotonic_ns()}"
    child = os.fork()
    if child == 0:
        status = 70
        try:
            stream = printed.open("w", buffering=1)
            os.dup2(stream.fileno(), 1)
            os.dup2(stream.fileno(), 2)
            sys.stdout = sys.stderr = stream
            os.chdir(folder)
            os.environ |= env
            for name in without:
                module, _, function = name.rpartition(".")
                setattr(importlib.import_module(module), function, lambda first=None, *_, **__: first)
            sys.argv = [str(ROOT / f"{command}.py"), *words]
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


@pytest.fixture
def attack(tmp_path: Path) -> Attack:
    for module in IMPORTED:
        importlib.import_module(f"pixelwise.{module}")

    def attack(command: str, *words: str, without: Sequence[str] = (), **env: str) -> Done:
        return forked(tmp_path, command, words, {"SECRET_TOKEN": SECRET, **env}, without)

    return attack


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file that only a payload creates."""
    return tmp_path / "fired"


@pytest.fixture
def stranger(trained: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of a finished run, to be tampered with. No attack may leave the secret in any file."""
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    yield folder
    for file in tmp_path.rglob("*"):
        if file.is_file() and not file.is_symlink():
            assert SECRET.encode() not in file.read_bytes(), file


def edit(folder: Path, **values: object) -> None:
    """Set keys of a run's config.yaml, as text so that interpolations stay; `__` stands for a dot."""
    config = yaml.safe_load((folder / "config.yaml").read_text())
    for key, value in values.items():
        *parents, name = key.split("__")
        node = config
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = value
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))


def override(folder: Path, *words: str) -> None:
    """Add overrides to a run's overrides.yaml."""
    file = folder / "overrides.yaml"
    file.write_text(
        OmegaConf.to_yaml(OmegaConf.create([*OmegaConf.to_container(OmegaConf.load(file)), *words]))
    )


def assert_refused(done: Done, message: str) -> None:
    """Assert that a command ended with one error, without a traceback, and without the secret."""
    assert done.status in (1, 2), done.printed
    assert message in done.printed, done.printed
    assert "Traceback" not in done.printed, done.printed
    assert SECRET not in done.printed
