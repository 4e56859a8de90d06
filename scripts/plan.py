"""Draw the schedule of a training without training: `python scripts/plan.py --help`."""

from pixelwise.commands.plan import main

if __name__ == "__main__":
    main()
