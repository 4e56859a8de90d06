"""ClassMix: all pixels of some classes of another image. With chosen classes it is copy-paste."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from pixelwise.augmentation.mixing.mix import Mixed
from pixelwise.checks import checked, class_indices
from pixelwise.kinds import Share
from pixelwise.types import IGNORE


@checked
class ClassMix:
    """Paste all pixels of some classes of another image, at the same place (Olsson et al. 2021, "ClassMix").

    The paper pastes half of the classes of the other image. With `paste` it is copy-paste (Ghiasi et al.
    2021, "Simple Copy-Paste"), for classes instead of single objects: `paste: [car]` with `share: 1` pastes
    all cars.

    Args:
        classes: names in the order of their indices.
        paste: names of the classes that may be pasted; None allows all.
        share: share of these classes in the other image that is pasted. Their number is rounded up or down at
            random, so that the share is right on average.

    Raises:
        UserError: `paste` names an unknown class, or `share` is out of range.
    """

    images: ClassVar[int] = 2
    needs_masks: ClassVar[bool] = True
    blends_masks: ClassVar[bool] = False

    def __init__(
        self, classes: Sequence[str], paste: Sequence[str] | None = None, share: Share = 0.5
    ) -> None:
        key = "mixing.choices.classmix.paste"
        self.indices = class_indices(key, classes if paste is None else paste, classes)
        self.share = share

    def __call__(
        self, images: Sequence[np.ndarray], masks: Sequence[np.ndarray] | None, rng: np.random.Generator
    ) -> Mixed:
        """Mix two images (H, W, C) with masks; ignored pixels are never pasted."""
        assert masks is not None
        pixels = np.bincount(masks[1].ravel(), minlength=IGNORE + 1)
        present = [index for index in self.indices if pixels[index]]
        count = int(len(present) * self.share + rng.random())
        is_chosen = np.zeros(IGNORE + 1, bool)
        is_chosen[rng.permutation(present)[:count].astype(int)] = True
        pasted = is_chosen[masks[1]]
        # NumPy is faster along rows of values than along three channels
        of_values = pasted.repeat(images[0].shape[2], axis=1)
        first, second = (image.reshape(len(image), -1) for image in images)
        image = np.where(of_values, second, first).reshape(images[0].shape)
        return Mixed(image, np.where(pasted, masks[1], masks[0]))
