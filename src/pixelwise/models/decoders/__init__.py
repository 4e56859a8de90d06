"""Decoders: from a list of feature maps to one map for the head."""

from pixelwise.models.decoders.base import Decoder
from pixelwise.models.decoders.linear import Linear
from pixelwise.models.decoders.unet import UNet

__all__ = ["Decoder", "Linear", "UNet"]
