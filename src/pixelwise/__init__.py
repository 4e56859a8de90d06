"""pixelwise: from image-level to pixel-level classification with one composition."""

__version__ = "0.1.0"
