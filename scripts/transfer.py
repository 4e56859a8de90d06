"""Compare segmenters trained from scratch and from a classifier: `python scripts/transfer.py --help`."""

from pixelwise.commands.transfer import main

if __name__ == "__main__":
    main()
