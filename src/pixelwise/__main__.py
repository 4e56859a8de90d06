"""The program `pixelwise COMMAND …`, also `python -m pixelwise COMMAND …`."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path

from pixelwise import __version__
from pixelwise.errors import UserError, guess

COMMANDS = {file.stem: file for file in sorted(Path(__file__).parent.glob("commands/[!_]*.py"))}


def main() -> None:
    """Run a command; only the module of this command is imported."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name in COMMANDS:
        importlib.import_module(f"pixelwise.commands.{name}").main()
    elif name in ("-h", "--help"):
        print(overview())
    elif name == "--version":
        print(f"pixelwise {__version__}")
    elif not name:
        print(overview(), file=sys.stderr)
        sys.exit(2)
    else:
        fix = guess("did you mean pixelwise …?", name, COMMANDS)
        error = UserError(f"{name}: there is no such command", expected=", ".join(COMMANDS), fix=fix)
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def overview() -> str:
    """The help text: all commands, each with the first line of its own help."""
    lines = ["pixelwise COMMAND …", "", "Commands (pixelwise COMMAND --help shows more):", ""]
    for name, file in COMMANDS.items():
        first = (ast.get_docstring(ast.parse(file.read_text())) or "").splitlines()[0]
        lines.append(f"  {name:14}{first}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
