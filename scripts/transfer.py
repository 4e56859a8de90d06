"""Train segmenters with and without the encoder of a classifier: `--help` says more."""

from pixelwise.commands.transfer import main

if __name__ == "__main__":
    main()
