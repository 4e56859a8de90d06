"""Write report.html of a run or a sweep again: `python scripts/report.py --help`."""

from pixelwise.commands.report import main

if __name__ == "__main__":
    main()
