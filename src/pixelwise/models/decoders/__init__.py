"""Decoders: turn a list of feature maps into one map for the head."""

from pixelwise.models.decoders.base import Decoder
from pixelwise.models.decoders.deeplabv3 import DeepLabV3
from pixelwise.models.decoders.deeplabv3plus import DeepLabV3Plus
from pixelwise.models.decoders.dpt import DPT
from pixelwise.models.decoders.fpn import FPN
from pixelwise.models.decoders.linear import Linear
from pixelwise.models.decoders.linknet import LinkNet
from pixelwise.models.decoders.manet import MANet
from pixelwise.models.decoders.pan import PAN
from pixelwise.models.decoders.pspnet import PSPNet
from pixelwise.models.decoders.segformer import SegFormer
from pixelwise.models.decoders.unet import UNet
from pixelwise.models.decoders.unetformer import UNetFormer
from pixelwise.models.decoders.unetplusplus import UNetPlusPlus
from pixelwise.models.decoders.upernet import UPerNet

__all__ = [
    "DPT",
    "FPN",
    "PAN",
    "Decoder",
    "DeepLabV3",
    "DeepLabV3Plus",
    "Linear",
    "LinkNet",
    "MANet",
    "PSPNet",
    "SegFormer",
    "UNet",
    "UNetFormer",
    "UNetPlusPlus",
    "UPerNet",
]
