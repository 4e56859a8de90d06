"""Draw synthetic tiles in the layout of the Potsdam release: `python scripts/draw_potsdam.py --help`."""

from pixelwise.commands.draw_potsdam import main

if __name__ == "__main__":
    main()
