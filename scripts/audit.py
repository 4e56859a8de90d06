"""Check a data set before training: `python scripts/audit.py --help`."""

from pixelwise.commands.audit import main

if __name__ == "__main__":
    main()
