"""Draw what a training would do: `python scripts/plan.py --help` says more."""

from pixelwise.commands.plan import main

if __name__ == "__main__":
    main()
