"""Packages of the user's own whose classes a config may name, besides the project's and its libraries'.

They are named in the environment and nowhere else, so that no file that comes with a run can name one.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pixelwise.errors import UserError

VARIABLE = "PIXELWISE_PACKAGES"
"""The environment variable: one name, or several with commas between them."""


def own_packages() -> tuple[str, ...]:
    """The names of the admitted packages.

    Raises:
        UserError: for what is no name of a package.
    """
    names = [name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]
    for name in names:
        if not all(part.isidentifier() for part in name.split(".")):
            raise UserError(
                f"{VARIABLE} names no package",
                found=name,
                expected="names as in import, such as mine,ours.models",
            )
    return tuple(names)


def find_own_packages() -> None:
    """Let Python find admitted packages in the current folder, too, after all other places."""
    folder = str(Path.cwd())
    if own_packages() and folder not in sys.path:
        sys.path.append(folder)
