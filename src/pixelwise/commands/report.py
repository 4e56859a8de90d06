"""Write the report.html of a run or of a sweep again, from what lies in its folder.

    python scripts/report.py RUN_OR_SWEEP

Any other argument, or none, prints this.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pixelwise.cli.hints import stop
from pixelwise.errors import UserError
from pixelwise.runtime import program


def main() -> None:
    """Write it and say where it is."""
    arguments = program.arguments()
    if len(arguments) != 1 or arguments[0].startswith("-"):
        asked = bool({"-h", "--help"} & set(arguments))
        print(program.as_started(__doc__ or "").strip(), file=sys.stdout if asked else sys.stderr)
        sys.exit(0 if asked else 2)

    from pixelwise import runs
    from pixelwise.reports.run_page import write
    from pixelwise.sweeps import summary

    folder = Path(arguments[0].removeprefix("run="))
    try:
        if (folder / "jobs.json").is_file():
            summary.write(folder)
            print(folder / "report.html")
        else:
            print(write(runs.open_run(folder)))
    except UserError as error:
        stop(error)
