"""Joint random transforms of an image and its index mask.

Every transform here is called as `transform(image, mask, rng)` and returns the new image and mask; it draws
from `rng` alone. In the order in which they are worth reading:

    pipeline.py     the whole augmentation, as `conf/augmentation/*.yaml` describes it
    view.py         which window of the image is seen
    geometry.py     the random map it is seen through
    warp.py         the one resampling of image and mask
    photometry.py   colour and blur
    adapter.py      any transform of torchvision v2
"""

from pixelwise.augmentation.colour import Blur, Colour
from pixelwise.augmentation.crop import CenterCrop, RandomCrop
from pixelwise.augmentation.geometry import Geometry
from pixelwise.augmentation.pipeline import Augmentation
from pixelwise.augmentation.torchvision_v2 import TorchvisionV2
from pixelwise.augmentation.transform import Transform

__all__ = [
    "Augmentation",
    "Blur",
    "CenterCrop",
    "Colour",
    "Geometry",
    "RandomCrop",
    "TorchvisionV2",
    "Transform",
]
