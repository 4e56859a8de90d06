"""The random linear map through which an image is seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pixelwise import checks

QUARTER_TURN = np.array([[0, -1], [1, 0]])


class Geometry:
    """Flips, turns, zoom, stretch, shear and rotation, drawn together as one 2×2 matrix.

    It moves no pixel itself: `RandomCrop` combines the matrix with the rescaling and the crop and resamples
    once. Left at their defaults all arguments give the identity.

    Args:
        hflip: probability of swapping left and right.
        vflip: probability of swapping top and bottom.
        rot90: probability of a turn by 90°, 180° or 270°; 0.75 makes the four orientations equally likely.
        rotate: the largest rotation to either side, in degrees.
        scale: [low, high] of the zoom, drawn log-uniformly; at 2 objects look twice as large.
        ratio: [low, high] of the change of width / height, drawn log-uniformly; it leaves areas alone.
        shear: the largest slant to either side, in degrees.
        translate: how far the window moves to either side at least, as a fraction of itself, also where the
            image leaves it no room. Larger images are cropped anywhere, whatever this says.

    Raises:
        UserError: an argument is out of its range.
    """

    def __init__(
        self,
        hflip: float = 0.0,
        vflip: float = 0.0,
        rot90: float = 0.0,
        rotate: float = 0.0,
        scale: Sequence[float] = (1.0, 1.0),
        ratio: Sequence[float] = (1.0, 1.0),
        shear: float = 0.0,
        translate: float = 0.0,
    ) -> None:
        self.hflip = checks.strength("augmentation.geometry.hflip", hflip, 1)
        self.vflip = checks.strength("augmentation.geometry.vflip", vflip, 1)
        self.rot90 = checks.strength("augmentation.geometry.rot90", rot90, 1)
        self.rotate = np.deg2rad(checks.strength("augmentation.geometry.rotate", rotate, 180))
        self.log_scale = np.log(checks.interval("augmentation.geometry.scale", scale))
        self.log_ratio = np.log(checks.interval("augmentation.geometry.ratio", ratio))
        self.shear = np.deg2rad(checks.strength("augmentation.geometry.shear", shear, 60))
        self.translate = checks.strength("augmentation.geometry.translate", translate, 1)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Draw one map.

        Args:
            rng: asked for the same draws in the same order whatever is switched on, so that changing one
                argument leaves the others' outcomes as they were.

        Returns:
            (2, 2) float matrix from offsets (x, y) in the image to offsets in the view. Where only flips and
            quarter turns are drawn its entries are exactly 0, 1 and -1.
        """
        mirror_x, mirror_y, turned = rng.random(3) < (self.hflip, self.vflip, self.rot90)
        turns = rng.integers(1, 4) * turned
        zoom = np.exp(rng.uniform(*self.log_scale))
        stretch = np.sqrt(np.exp(rng.uniform(*self.log_ratio)))
        slant = np.tan(rng.uniform(-self.shear, self.shear))
        angle = rng.uniform(-self.rotate, self.rotate)

        flip = np.diag([-1.0 if mirror_x else 1.0, -1.0 if mirror_y else 1.0])
        turn = np.linalg.matrix_power(QUARTER_TURN, turns)
        zoom_and_stretch = np.diag([zoom * stretch, zoom / stretch])
        shear = np.array([[1.0, slant], [0.0, 1.0]])
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        return rotation @ shear @ zoom_and_stretch @ turn @ flip
