"""Draw tiles in the layout of the Potsdam release: `python scripts/draw_potsdam.py --help` says more."""

from pixelwise.commands.draw_potsdam import main

if __name__ == "__main__":
    main()
