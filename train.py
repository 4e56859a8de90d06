"""Train a model: `python train.py --help`."""

from pixelwise.commands.train import main

if __name__ == "__main__":
    main()
