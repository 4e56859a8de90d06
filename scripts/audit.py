"""Look through a data set before training on it: `python scripts/audit.py --help` says more."""

from pixelwise.commands.audit import main

if __name__ == "__main__":
    main()
