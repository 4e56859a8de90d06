"""Hand a finished run over to other programs: `python export.py --help` says more."""

from pixelwise.commands.export import main

if __name__ == "__main__":
    main()
