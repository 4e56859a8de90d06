"""Mixing of the images of a training batch, after each was augmented.

A way of mixing is called as `mix(images, masks, rng)` and returns one mixed image. Read the files in this
order:

    mix.py        the interface of a way of mixing
    mixing.py     which rows of a batch are mixed, and how, as configured by `conf/mixing/*.yaml`
    mixup.py      the average of two images
    cutmix.py     a rectangle of another image
    classmix.py   all pixels of some classes of another image
    mosaic.py     four images around a point
"""

from pixelwise.augmentation.mixing.classmix import ClassMix
from pixelwise.augmentation.mixing.cutmix import CutMix
from pixelwise.augmentation.mixing.mix import Mix, Mixed
from pixelwise.augmentation.mixing.mixing import MixedBatch, Mixing
from pixelwise.augmentation.mixing.mixup import MixUp
from pixelwise.augmentation.mixing.mosaic import Mosaic

__all__ = ["ClassMix", "CutMix", "Mix", "MixUp", "Mixed", "MixedBatch", "Mixing", "Mosaic"]
