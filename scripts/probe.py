"""Compare an encoder's features for images and for pixels: `python scripts/probe.py --help`."""

from pixelwise.commands.probe import main

if __name__ == "__main__":
    main()
