"""Write a run's report.html again, from what lies in its folder.

python scripts/report.py RUN
"""

import sys
from pathlib import Path

from pixelwise.command_line import stop
from pixelwise.errors import UserError


def main(arguments: list[str]) -> None:
    """Write it and say where it is."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        asked = bool({"-h", "--help"} & set(arguments))
        print((__doc__ or "").strip(), file=sys.stdout if asked else sys.stderr)
        sys.exit(0 if asked else 2)

    from pixelwise import run_folder
    from pixelwise.report.page import write

    try:
        print(write(run_folder.open_run(Path(arguments[0].removeprefix("run=")))))
    except UserError as error:
        stop(error)


if __name__ == "__main__":
    main(sys.argv[1:])
