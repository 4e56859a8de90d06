"""Write report.html of a run or a sweep again.

    python scripts/report.py RUN_OR_SWEEP
    python scripts/report.py RUN_OR_SWEEP output=DIR    into another folder

RUN_OR_SWEEP is the folder of the run or sweep. The report is made from the
files in this folder; no scores are computed. For a sweep, its tables jobs.csv
and settings.csv are written again, too.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pixelwise.cli.hints import stop
from pixelwise.errors import UserError
from pixelwise.runtime import program


def main() -> None:
    """Write the report and print its path."""
    given = {"output=" if word.startswith("output=") else "run=": word for word in program.arguments()}
    if "run=" not in given or len(given) != len(program.arguments()) or given["run="].startswith("-"):
        wants_help = bool({"-h", "--help"} & set(program.arguments()))
        print(program.as_started(__doc__ or "").strip(), file=sys.stdout if wants_help else sys.stderr)
        sys.exit(0 if wants_help else 2)
    try:
        print(_write(given["run="].removeprefix("run="), given.get("output=")))
    except UserError as error:
        stop(error)


def _write(given: str, output: str | None) -> Path:
    """Write the report; returns its path."""
    from pixelwise import runs
    from pixelwise.files import check_writable, disk_error, unwritable
    from pixelwise.reports.run_page import write
    from pixelwise.sweeps import summary

    is_sweep = bool(given.strip()) and (Path(given) / "jobs.json").is_file()
    folder = Path(given) if is_sweep else runs.open_run(given)
    if output == "output=":
        raise UserError("output= is empty", expected="a path")
    place = Path(output.removeprefix("output=")).expanduser() if output else folder
    fix = "output=DIR names another folder"
    check_writable("output", place, folder=True, fix=fix)
    try:
        if not is_sweep:
            return write(folder, place)
        summary.write(folder, place)
        return place / "report.html"
    except OSError as error:
        if disk_error(error):
            raise unwritable(f"output={place}", error, place, fix) from error
        raise UserError("no report can be made from this folder", found=error) from error
