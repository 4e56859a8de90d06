"""Geometry of the toy data set: outlines, and figures made of them.

Points are complex numbers, x + iy with y downwards, because then turning, scaling, mirroring and moving a
whole figure is one product and one sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

import cv2
import numpy as np

Point = tuple[float, float]

RIM = 105
"""Tone of every outline. No part is darker, so tone / `RIM`, clipped at 1, is a pixel's covered share."""


RING = np.exp(2j * np.pi * np.arange(18) / 18)
"""A circle of radius 1 around 0."""


class Ink(IntEnum):
    """What a part is painted with."""

    COAT, PUPIL, IRIS, SHINE, NOSE, TONGUE, BEAK, LINE = range(8)


class Joint(IntEnum):
    """What a part turns with."""

    BODY, HEAD, TAIL = range(3)


STRAIGHT = np.zeros(len(Joint))
"""The angles of the joints as the figures are drawn."""


@dataclass(frozen=True)
class Part:
    """One outline, filled with the coat or, on top of the whole coat, with another ink."""

    outline: np.ndarray
    """(N,) complex."""
    tone: int = 255
    """How bright the coat is here, from `RIM` to 255."""
    ink: Ink = Ink.COAT
    closed: bool = True
    """False for a line, such as a whisker."""
    joint: Joint = Joint.BODY


def ellipse(x: float, y: float, rx: float, ry: float) -> np.ndarray:
    """An upright ellipse around (x, y)."""
    return complex(x, y) + rx * RING.real + 1j * ry * RING.imag


def line(*points: Point) -> np.ndarray:
    """The points as they are, joined by straight lines."""
    return np.array([complex(*point) for point in points])


def curve(*points: Point, closed: bool = True) -> np.ndarray:
    """A Catmull-Rom spline through the points."""
    knots = line(*points)
    before, after = (knots[-1:], knots[:2]) if closed else (knots[:1], knots[-1:])
    padded = np.concatenate((before, knots, after))
    a, b, c, d = (padded[i : len(padded) - 3 + i, None] for i in range(4))
    t = np.linspace(0, 1, 4, endpoint=False)
    spline = (b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))).ravel()
    return spline if closed else np.append(spline, knots[-1])


def symmetric(*points: Point) -> np.ndarray:
    """A closed spline through the points, which run down from x = 0 to x = 0, and their mirror images."""
    return curve(*points, *((-x, y) for x, y in points[-2:0:-1]))


def tube(*points: Point, start: float, end: float) -> np.ndarray:
    """A limb along the points with a round tip; `start` and `end` are its half widths."""
    spine = curve(*points, closed=False)
    along = np.gradient(spine)
    across = 1j * along / np.abs(along) * np.linspace(start, end, len(spine))
    tip = spine[-1] + across[-1] * np.exp(-1j * np.linspace(0, np.pi, 7)[1:-1])
    return np.concatenate((spine + across, tip, (spine - across)[::-1]))


def both_sides(*parts: Part) -> list[Part]:
    """The parts and their mirror images about x = 0."""
    return [side for part in parts for side in (part, replace(part, outline=-part.outline.conj()))]


class Figure:
    """Parts that move together, in a unit of length in which the coat covers an area of 1.

    Measuring size by area lets cats and dogs of one size cover equally many pixels.

    Args:
        parts: from back to front.
        head: centre of the head, around which the head turns.
        rump: where the tail turns.
    """

    def __init__(self, parts: Sequence[Part], head: Point = (0, 0), rump: Point = (0, 0)) -> None:
        self.coat = [part for part in parts if part.ink is Ink.COAT]
        self.inked = [part for part in parts if part.ink is not Ink.COAT]
        drawn = self.coat + self.inked
        self._joints = np.repeat([part.joint for part in drawn], [len(part.outline) for part in drawn])
        self._cuts = np.cumsum([len(part.outline) for part in drawn])[:-1]

        fur = np.concatenate([part.outline for part in self.coat])
        low, high = complex(fur.real.min(), fur.imag.min()), complex(fur.real.max(), fur.imag.max())
        centre, unit = (low + high) / 2, _area([part.outline for part in self.coat]) ** 0.5
        self._points = (np.concatenate([part.outline for part in drawn]) - centre) / unit
        self._pivots = (line((0, 0), head, rump) - centre) / unit
        self.head = self._pivots[[Joint.HEAD]]
        """Centre of the head, (1,) complex."""
        self.reach = (high - centre) / unit
        """Half the width + i half the height."""

    def posed(self, bend: np.ndarray) -> np.ndarray:
        """All points, with each joint turned by its angle in `bend` (3,), radians."""
        pivot = self._pivots[self._joints]
        return pivot + (self._points - pivot) * np.exp(1j * bend)[self._joints]

    def split(self, points: np.ndarray) -> list[np.ndarray]:
        """Points in the order of `posed` → one array for each part of `coat`, then of `inked`."""
        return np.split(points, self._cuts)


def _area(outlines: list[np.ndarray], resolution: int = 100) -> float:
    """Area of the union of outlines that lie between -2 and 2, by counting pixels."""
    canvas = np.zeros((4 * resolution, 4 * resolution), np.uint8)
    for outline in outlines:
        pixels = (outline + (2 + 2j)) * resolution
        cv2.fillPoly(canvas, [np.stack((pixels.real, pixels.imag), 1).round().astype(np.int32)], 1)
    return np.count_nonzero(canvas) / resolution**2
