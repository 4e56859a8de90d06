"""Score a finished run again: `python evaluate.py --help` says more."""

from pixelwise.commands.evaluate import main

if __name__ == "__main__":
    main()
