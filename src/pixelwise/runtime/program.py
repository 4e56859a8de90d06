"""How the program was started: as a script of a clone or as the installed program `pixelwise`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[3]
CLONE = _ROOT if (_ROOT / "train.py").is_file() and (_ROOT / "conf").is_dir() else None
"""The root of the clone that this code belongs to; None if the package was installed from a wheel."""

_SCRIPT = re.compile(r"(?:python )?(?<![\w/])(?:scripts/)?([a-z_]+)\.py\b")
_NAMES = frozenset(file.stem for file in (Path(__file__).parents[1] / "commands").glob("[!_]*.py"))


def is_installed_program() -> bool:
    """Whether the program was started as `pixelwise COMMAND …` or `python -m pixelwise COMMAND …`."""
    started = Path(sys.argv[0])
    return started.stem == "pixelwise" or (started.stem, started.parent.name) == ("__main__", "pixelwise")


def arguments() -> list[str]:
    """The arguments after the command."""
    return sys.argv[2 if is_installed_program() else 1 :]


def as_started(text: str) -> str:
    """Replace `python scripts/plan.py` by `pixelwise plan`, unless a script of a clone is running."""
    if CLONE is not None and not is_installed_program():
        return text
    return _SCRIPT.sub(lambda match: f"pixelwise {match[1]}" if match[1] in _NAMES else match[0], text)
