"""The record of how a run was started: command, commit, package versions, processors."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from pixelwise.files import write_json
from pixelwise.runs import records
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
    """What is needed to reproduce a run: command, commit, package versions, processors."""
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
    """Add facts that are known only after torch is imported."""
    file = folder / "environment.json"
    write_json(file, records.read(file, records.Environment) | facts)


def _command() -> list[str]:
    """The command as typed, without the folder that the program is installed in."""
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
    """Output of git for the clone that runs, or else for the current folder; None outside a repository.

    An installed package has no history; then the user's own conf/ and package are what may change.
    """
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=CLONE or Path.cwd(), capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
