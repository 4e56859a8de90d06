"""Create a Weights & Biases dashboard: `python scripts/workspace.py --help`."""

from pixelwise.commands.workspace import main

if __name__ == "__main__":
    main()
