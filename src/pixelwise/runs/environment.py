"""How to make a run again: command, commit, versions, processor."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from pixelwise.files import read_json, write_json
from pixelwise.runtime.program import CLONE, is_installed_program

PACKAGES = (
    "pixelwise",
    "torch",
    "torchvision",
    "lightning",
    "torchmetrics",
    "timm",
    "hydra-core",
    "numpy",
    "pillow",
)


def environment() -> dict[str, Any]:
    """How to make a run again: command, commit, versions, processor."""
    return {
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": shlex.join(_command()),
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain")),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "processors": os.cpu_count(),
    }


def add_to_environment(folder: Path, **facts: Any) -> None:
    """Note what only became known once torch was imported."""
    file = folder / "environment.json"
    write_json(file, read_json(file) | facts)


def _command() -> list[str]:
    """What was typed, without the folder that the program is installed in."""
    if is_installed_program():
        return ["pixelwise", *sys.argv[1:]]
    return [Path(sys.executable).name, *sys.argv]


def _version(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version  # slow to import

    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    """What git says of the clone that runs, or else of the current folder; None outside a repository.

    An installed package has no history: what may change is the user's own conf/ and package.
    """
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=CLONE or Path.cwd(), capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
