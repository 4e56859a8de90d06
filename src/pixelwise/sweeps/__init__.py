"""Many runs: sweeps, searches, comparisons. Importing it imports no torch."""

from pixelwise.sweeps.hydra_callback import Sweep

__all__ = ["Sweep"]
