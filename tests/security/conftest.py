"""Attacks by a stranger's files, run as commands in a fork of this process, which has imported torch."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf
from tests.forked import Done, forked

SECRET = "5f0c-this-is-a-secret-93ab"
"""Value of the environment variable SECRET_TOKEN in every attack."""

Attack = Callable[..., Done]
"""The fixture `attack`: `attack("evaluate", *words)` runs a command in `tmp_path` and returns `Done`."""


@pytest.fixture
def attack(tmp_path: Path) -> Attack:
    def attack(command: str, *words: str, without: Sequence[str] = (), **env: str) -> Done:
        return forked(tmp_path, command, *words, env={"SECRET_TOKEN": SECRET, **env}, without=without)

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
