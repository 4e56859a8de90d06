"""Write report.html of a run or a sweep again.

    python scripts/report.py RUN_OR_SWEEP

RUN_OR_SWEEP is the folder of the run or sweep. The report is made from the
files in this folder; no scores are computed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pixelwise.cli.hints import stop
from pixelwise.errors import UserError
from pixelwise.runtime import program


def main() -> None:
    """Write the report and print its path."""
    arguments = program.arguments()
    if len(arguments) != 1 or arguments[0].startswith("-"):
        wants_help = bool({"-h", "--help"} & set(arguments))
        print(program.as_started(__doc__ or "").strip(), file=sys.stdout if wants_help else sys.stderr)
        sys.exit(0 if wants_help else 2)

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
