"""The random linear map of an augmentation: flips, rotations, zoom, stretch and shear."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np

from pixelwise.checks import checked
from pixelwise.kinds import Interval, Range, Share

QUARTER_TURN = np.array([[0, -1], [1, 0]])


@checked
class Geometry:
    """Draws flips, rotations, zoom, stretch and shear at random, as one 2×2 matrix.

    `RandomCrop` combines this matrix with the rescaling and the crop, so that the image is resampled once.
    With the default arguments the matrix is the identity.

    Args:
        hflip: probability of a horizontal flip.
        vflip: probability of a vertical flip.
        rot90: probability of a rotation by 90°, 180° or 270°; 0.75 makes all orientations equally likely.
        rotate: largest rotation in both directions, in degrees.
        scale: [low, high] of the zoom; 2 makes objects twice as large.
        scale_draw: "log" draws the zoom log-uniformly, so that 1/2 and 2 are equally likely; "uniform" draws
            it uniformly, as large-scale jitter and mmsegmentation do.
        ratio: [low, high] of the factor on width / height, drawn log-uniformly; areas do not change.
        shear: largest shear angle in both directions, in degrees.
        translate: smallest range in which the crop moves in both directions, as a fraction of its size. It
            matters for images without room for the crop to move; larger images are cropped anywhere.

    Raises:
        UserError: an argument is out of its range.
    """

    def __init__(
        self,
        hflip: Share = 0.0,
        vflip: Share = 0.0,
        rot90: Share = 0.0,
        rotate: Annotated[float, Range(0, 180)] = 0.0,
        scale: Interval = (1.0, 1.0),
        ratio: Interval = (1.0, 1.0),
        shear: Annotated[float, Range(0, 60)] = 0.0,
        translate: Share = 0.0,
        scale_draw: Literal["log", "uniform"] = "log",
    ) -> None:
        self.hflip = hflip
        self.vflip = vflip
        self.rot90 = rot90
        self.rotate = np.deg2rad(rotate)
        self.scale = np.array(scale)
        self.scale_draw = scale_draw
        self.log_ratio = np.log(ratio)
        self.shear = np.deg2rad(shear)
        self.translate = translate

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Draw one matrix.

        Args:
            rng: random generator. It is called in the same way for all arguments, so that a change of one
                argument does not change the values drawn for the others.

        Returns:
            (2, 2) float matrix that maps offsets (x, y) in the image to offsets in the crop. For flips and
            quarter turns alone, its entries are exactly 0, 1 and -1.
        """
        mirror_x, mirror_y, turned = rng.random(3) < (self.hflip, self.vflip, self.rot90)
        turns = rng.integers(1, 4) * turned
        log = self.scale_draw == "log"
        zoom = np.exp(rng.uniform(*np.log(self.scale))) if log else rng.uniform(*self.scale)
        stretch = np.sqrt(np.exp(rng.uniform(*self.log_ratio)))
        slant = np.tan(rng.uniform(-self.shear, self.shear))
        angle = rng.uniform(-self.rotate, self.rotate)

        flip = np.diag([-1.0 if mirror_x else 1.0, -1.0 if mirror_y else 1.0])
        turn = np.linalg.matrix_power(QUARTER_TURN, turns)
        zoom_and_stretch = np.diag([zoom * stretch, zoom / stretch])
        shear = np.array([[1.0, slant], [0.0, 1.0]])
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        return rotation @ shear @ zoom_and_stretch @ turn @ flip
