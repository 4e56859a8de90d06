"""Predict images with a finished run: `python predict.py --help`."""

from pixelwise.commands.predict import main

if __name__ == "__main__":
    main()
