"""Make a dashboard on Weights & Biases: `python scripts/workspace.py --help` says more."""

from pixelwise.commands.workspace import main

if __name__ == "__main__":
    main()
