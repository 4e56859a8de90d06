"""Sweeps, searches and comparisons of runs. Importing this package imports no torch."""

from pixelwise.sweeps.hydra_callback import Sweep

__all__ = ["Sweep"]
