"""Compute the scores of a finished run again: `python evaluate.py --help`."""

from pixelwise.commands.evaluate import main

if __name__ == "__main__":
    main()
