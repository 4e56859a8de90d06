"""Export the model of a finished run: `python export.py --help`."""

from pixelwise.commands.export import main

if __name__ == "__main__":
    main()
