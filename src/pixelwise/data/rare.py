"""More of the rare classes in training: crops that contain them, and images of them."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from pixelwise.data.samplers import Balanced
from pixelwise.data.statistics import in_threads
from pixelwise.data.subset import Subset
from pixelwise.errors import UserError, some
from pixelwise.types import IGNORE, Raw, Split, ignored_label

log = logging.getLogger(__name__)


def check_sampling(split: Split, balance: float, rare: Sequence[int], share: float) -> None:
    """Refuse settings of `data` for rare classes that have no effect.

    Raises:
        UserError: only one of `data.rare` and `data.rare_share` is given, or the split draws its own crops.
    """
    if bool(rare) != bool(share):
        raise UserError(
            "data.rare and data.rare_share belong together",
            found="only one of them",
            fix="'data.rare=[car]' data.rare_share=0.25, for example",
        )
    if split.draws and (balance or share):
        raise UserError(
            "data.balance and data.rare: large images are sampled by crops of their own",
            fix="'data.source.draws.rare=[car]' data.source.draws.share=0.25",
        )


class RareCrops(Subset):
    """All items of a split; a share of the training crops must contain a pixel of a rare class.

    Such a crop has a random class of them, a random image that has the class, and a random pixel of it. All
    masks are read once to find the images.

    Args:
        split: the training split, of images with masks.
        classes: names of the classes.
        rare: indices of the rare classes.
        share: share of the crops.

    Raises:
        UserError: the items have no masks, or no image has a rare class.
    """

    def __init__(self, split: Split, classes: Sequence[str], rare: Sequence[int], share: float) -> None:
        super().__init__(split, range(len(split)))
        self.draws = len(split)
        self.share = share
        present = list(in_threads(self._present, len(split)))
        self.images = {label: [i for i, labels in enumerate(present) if label in labels] for label in rare}
        if absent := [classes[label] for label, images in self.images.items() if not images]:
            raise UserError(
                "data.rare: no training image has a label of " + some(absent),
                fix="remove it from data.rare",
            )
        found = (f"{classes[label]} in {len(images):,}" for label, images in self.images.items())
        log.info("data.rare: %s of %s training images", ", ".join(found), f"{len(split):,}")

    def _present(self, index: int) -> set[int]:
        target = self.split.target(index)
        if not isinstance(target, np.ndarray):
            raise UserError(
                "data.rare: images with one label have no pixels to place crops on",
                fix="data.balance=1 uses images of all classes equally often",
            )
        return set(np.unique(target).tolist())

    def draw(self, index: int, rng: np.random.Generator) -> Raw:
        """Read item `index` of an epoch, or another one with a pixel that the crop must contain."""
        if rng.random() >= self.share:
            return self.split[index]
        label = list(self.images)[rng.integers(len(self.images))]
        raw = self.split[self.images[label][rng.integers(len(self.images[label]))]]
        rows, columns = np.nonzero(np.asarray(raw.target) == label)
        chosen = rng.integers(len(rows))
        return raw._replace(focus=(int(columns[chosen]), int(rows[chosen])))


def class_order(split: Split, seed: int, strength: float, classes: int = IGNORE) -> Balanced:
    """Return an order of the images of a split with more of the rare classes.

    Raises:
        UserError: the items have masks.
    """
    labels = list(in_threads(split.target, len(split)))
    if any(isinstance(label, np.ndarray) for label in labels):
        raise UserError(
            "data.balance: images with masks have no class of their own",
            fix="'data.rare=[car]' data.rare_share=0.25 places crops on rare classes",
        )
    return Balanced(labels, seed, strength, ignored_label(classes))
