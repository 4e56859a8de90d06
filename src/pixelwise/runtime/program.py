"""How this program was started: by a script of a clone, or as the installed `pixelwise`."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

_ROOT = Path(__file__).parents[3]
CLONE = _ROOT if (_ROOT / "train.py").is_file() and (_ROOT / "conf").is_dir() else None
"""The folder of the clone whose code runs; None where the package is installed without one."""

_SCRIPT = re.compile(r"(?:python )?(?<![\w/])(?:scripts/)?([a-z_]+)\.py\b")
_NAMES = frozenset(file.stem for file in (Path(__file__).parents[1] / "commands").glob("[!_]*.py"))


def is_installed_program() -> bool:
    """Whether it is `pixelwise COMMAND …` or `python -m pixelwise COMMAND …`."""
    started = Path(sys.argv[0])
    return started.stem == "pixelwise" or (started.stem, started.parent.name) == ("__main__", "pixelwise")


def arguments() -> list[str]:
    """What was typed after the command."""
    return sys.argv[_own_words() :]


def replace_arguments(words: Sequence[str]) -> None:
    """Let `sys.argv` say other words, for a launcher that repeats them in further processes."""
    sys.argv[_own_words() :] = words


def as_started(text: str) -> str:
    """The text with `pixelwise plan` for each `python scripts/plan.py`, where that is how it is called."""
    if CLONE is not None and not is_installed_program():
        return text
    return _SCRIPT.sub(lambda found: f"pixelwise {found[1]}" if found[1] in _NAMES else found[0], text)


def _own_words() -> int:
    return 2 if is_installed_program() else 1
