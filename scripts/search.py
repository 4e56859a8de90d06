"""Search a space of settings: `python scripts/search.py --help` says more."""

from pixelwise.commands.search import main

if __name__ == "__main__":
    main()
