"""Search hyperparameters with Optuna: `python scripts/search.py --help`."""

from pixelwise.commands.search import main

if __name__ == "__main__":
    main()
