"""Write the report.html of a run or of a sweep again, from what lies in its folder.

python scripts/report.py RUN_OR_SWEEP
"""

import sys
from pathlib import Path

from pixelwise.cli.hints import stop
from pixelwise.errors import UserError


def main(arguments: list[str]) -> None:
    """Write it and say where it is."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        asked = bool({"-h", "--help"} & set(arguments))
        print((__doc__ or "").strip(), file=sys.stdout if asked else sys.stderr)
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


if __name__ == "__main__":
    main(sys.argv[1:])
