"""Random transforms of an image together with its index mask.

Every transform is called as `transform(image, mask, rng)` and returns the new image and mask. All randomness
comes from `rng`. Read the files in this order:

    transform.py        the interface of a transform
    pipeline.py         the complete augmentation, as configured by `conf/augmentation/*.yaml`
    crop.py             the position of the crop in the image
    geometry.py         the random linear map: flip, rotation, zoom, …
    warp.py             the resampling of image and mask, done once
    colour.py           colour and blur
    photometric.py      the colour changes of SSD and mmsegmentation
    torchvision_v2.py   any transform of torchvision v2
    mixing/             mixing of the images of a batch, configured by `conf/mixing/*.yaml`
"""

from pixelwise.augmentation.colour import Blur, Colour
from pixelwise.augmentation.crop import CenterCrop, RandomCrop
from pixelwise.augmentation.geometry import Geometry
from pixelwise.augmentation.mixing import ClassMix, CutMix, Mixing, MixUp, Mosaic
from pixelwise.augmentation.photometric import PhotometricDistortion
from pixelwise.augmentation.pipeline import Augmentation
from pixelwise.augmentation.torchvision_v2 import TorchvisionV2
from pixelwise.augmentation.transform import Transform

__all__ = [
    "Augmentation",
    "Blur",
    "CenterCrop",
    "ClassMix",
    "Colour",
    "CutMix",
    "Geometry",
    "MixUp",
    "Mixing",
    "Mosaic",
    "PhotometricDistortion",
    "RandomCrop",
    "TorchvisionV2",
    "Transform",
]
