"""Draw an aerial image of a city: roads, houses, lawns, trees, cars and a little clutter.

Lengths are in pixels of 5 cm for any image size, as in the Potsdam images.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np

from pixelwise.drawn.city import sprites
from pixelwise.drawn.city.sprites import (
    BUILDING,
    GREENS,
    IMPERVIOUS,
    LOW_VEGETATION,
    MINERALS,
    Sprite,
    grain,
    tint,
)

SUN = np.exp(0.9j)
"""Direction of shadows: x + iy, y downwards."""


class Scene(NamedTuple):
    """One drawn tile."""

    bands: np.ndarray
    """(size, size, 4) uint8: red, green, blue, infrared."""
    label: np.ndarray
    """(size, size) uint8 class indices, in the order of `sprites`."""
    height: np.ndarray
    """(size, size) uint8, height above the ground in decimetres."""


class Canvas:
    """The image while it is drawn; later sprites cover earlier ones."""

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self.rng, self.size = rng, size
        self.bands = _lawn(rng, size)
        self.label = np.full((size, size), LOW_VEGETATION, np.uint8)
        self.height = np.zeros((size, size), np.uint8)
        self.shade = np.zeros((size, size), np.uint8)

    def paste(self, sprite: Sprite, centre: complex, angle: float) -> None:
        """Draw a sprite and its shadow, rotated clockwise by `angle` radians around `centre` (x + iy)."""
        h, w = sprite.cover.shape
        turn = np.exp(1j * angle)
        reach = abs(turn.real) * w + abs(turn.imag) * h, abs(turn.imag) * w + abs(turn.real) * h
        left, top = (int(np.floor(c - r / 2)) for c, r in zip((centre.real, centre.imag), reach, strict=True))
        box = int(np.ceil(reach[0])) + 1, int(np.ceil(reach[1])) + 1
        corner = centre - complex(left, top) - turn * complex(w - 1, h - 1) / 2
        matrix = np.array([[turn.real, -turn.imag, corner.real], [turn.imag, turn.real, corner.imag]])
        cover: np.ndarray = cv2.warpAffine(sprite.cover, matrix, box, flags=cv2.INTER_NEAREST)
        length = float(sprite.height.max()) * 0.7
        for share in np.linspace(0, 1, 2 + int(length / 7))[1:]:
            offset = share * length * SUN
            target, part = self._clip(left + round(offset.real), top + round(offset.imag), box)
            np.maximum(self.shade[target], cover[part], out=self.shade[target])
        target, part = self._clip(left, top, box)
        if not (mask := np.ascontiguousarray(cover[part])).size:
            return
        for layer, pixels in ((self.bands, sprite.bands), (self.height, sprite.height)):
            turned = cv2.warpAffine(
                pixels, matrix, box, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
            )
            cv2.copyTo(np.ascontiguousarray(turned[part]), mask, layer[target])
        self.label[target][mask > 0] = sprite.label
        self.shade[target][mask > 0] = 0

    def pave(self, corners: np.ndarray, colour: np.ndarray) -> None:
        """Pave a polygon (n,) of complex points."""
        points = _fixed(corners)
        cv2.fillPoly(self.bands, [points], colour.tolist(), cv2.LINE_AA, 4)
        cv2.fillPoly(self.label, [points], IMPERVIOUS, shift=4)

    def mark(self, start: complex, end: complex, colour: float, width: int) -> None:
        """Paint a line on the ground; labels do not change."""
        ends = _fixed(np.array([start, end]))
        cv2.line(self.bands, ends[0], ends[1], (colour,) * 4, width, cv2.LINE_AA, 4)

    def finish(self) -> Scene:
        """Add shadows, uneven light, blur and noise, and return the scene."""
        rng, size = self.rng, self.size
        light = (
            1 + 0.05 * grain(rng, (size, size), 900) - 0.42 * cv2.blur(self.shade, (5, 5)) / np.float32(255)
        )
        bands = cv2.multiply(self.bands, cv2.merge([light.astype(np.float32)] * 4), dtype=cv2.CV_8U)
        bands = cv2.GaussianBlur(bands, (3, 3), 0.7)
        noise = rng.integers(-6, 7, bands.shape, np.int8)
        return Scene(cv2.add(bands, noise, dtype=cv2.CV_8U), self.label, self.height)

    def _clip(
        self, left: int, top: int, box: tuple[int, int]
    ) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Return the part of a box (width, height) inside the image, as slices of image and box."""
        rows, columns = (
            (max(0, low), max(0, min(self.size, low + length)))
            for low, length in ((top, box[1]), (left, box[0]))
        )
        target = np.s_[rows[0] : rows[1], columns[0] : columns[1]]
        part = np.s_[
            max(0, rows[0] - top) : max(0, rows[1] - top),
            max(0, columns[0] - left) : max(0, columns[1] - left),
        ]
        return target, part


def _fixed(points: np.ndarray) -> np.ndarray:
    """Return complex points in OpenCV's fixed-point coordinates, in 1/16 pixel."""
    return np.rint(16 * np.stack([points.real, points.imag], -1)).astype(np.int32)


def _lawn(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return fine grass in patches of several greens: (size, size, 4) uint8."""
    cells = max(2, size // 350)
    patches = np.stack([tint(rng, GREENS, 2.1) for _ in range(cells**2)]).reshape(cells, cells, 4)
    colours = cv2.resize(patches.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR)
    shade = 5 * rng.standard_normal((size, size), np.float32) + 4 * grain(rng, (size, size), 45)
    return cv2.add(colours, cv2.merge([shade] * 4), dtype=cv2.CV_8U)


class Street(NamedTuple):
    """A straight road of the street grid, in grid coordinates."""

    middle: float
    half: float
    """Half the width of the carriageway."""
    walk: float
    """Width of each pavement beside it."""


class City:
    """Draws one tile: a grid of streets, and plots between them.

    Args:
        rng: the only source of randomness.
        size: height and width of the tile.
    """

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self.rng, self.canvas = rng, Canvas(rng, size)
        self.turn = np.exp(1j * rng.uniform(-0.6, 0.6))
        self.reach = 0.75 * size + 200
        self.origin = complex(size / 2, size / 2)
        self.columns, self.rows = self._streets(), self._streets()
        self.houses: list[tuple[Sprite, complex, float]] = []
        self.trees: list[complex] = []

    def draw(self) -> Scene:
        """Draw everything, from the ground upwards."""
        asphalt = tint(self.rng, MINERALS, 0.9)
        for walk in (True, False):  # pavements first, so that they do not cover crossings
            for upright, streets in ((True, self.columns), (False, self.rows)):
                for street in streets:
                    self._pave(street, upright, asphalt, walk)
        for left, right in pairwise(self.columns):
            for upper, lower in pairwise(self.rows):
                self._block(left, right, upper, lower)
        for upright, streets in ((True, self.columns), (False, self.rows)):
            for street in streets:
                self._traffic(street, upright)
        for house in self.houses:
            self.canvas.paste(*house)
        for place in self.trees:
            if self._label(place) != BUILDING:
                size = int(self.rng.integers(70, 230))
                self.canvas.paste(sprites.crown(self.rng, size), place, self.rng.uniform(0, 6.3))
        return self.canvas.finish()

    def _streets(self) -> list[Street]:
        streets, middle = [], -self.reach - self.rng.uniform(0, 900)
        while middle < self.reach + 1300:
            streets.append(Street(middle, self.rng.uniform(55, 95), self.rng.uniform(18, 40)))
            middle += self.rng.uniform(1000, 1500)
        return streets

    def _at(self, u: float, v: float) -> complex:
        """Convert grid coordinates to pixels."""
        return self.origin + self.turn * complex(u, v)

    def _on(self, upright: bool, across: float, along: float) -> complex:
        """Convert a position across and along a street to pixels."""
        return self._at(across, along) if upright else self._at(along, across)

    def _label(self, place: complex) -> int:
        x, y = round(place.real), round(place.imag)
        inside = 0 <= x < self.canvas.size and 0 <= y < self.canvas.size
        return int(self.canvas.label[y, x]) if inside else BUILDING

    def _rectangle(self, u: tuple[float, float], v: tuple[float, float]) -> np.ndarray:
        return np.array([self._at(u[i], v[j]) for i, j in ((0, 0), (1, 0), (1, 1), (0, 1))])

    def _pave(self, street: Street, upright: bool, asphalt: np.ndarray, walk: bool) -> None:
        half = street.half + street.walk * walk
        across, along = (street.middle - half, street.middle + half), (-2 * self.reach, 2 * self.reach)
        colour = tint(self.rng, MINERALS, 0.9) if walk else asphalt
        self.canvas.pave(self._rectangle(*((across, along) if upright else (along, across))), colour)
        if walk:
            return
        for start in np.arange(-1.5 * self.reach, 1.5 * self.reach, 120):
            begin, end = (self._on(upright, street.middle, start + s) for s in (0, 60))
            self.canvas.mark(begin, end, 215, 5)

    def _traffic(self, street: Street, upright: bool) -> None:
        """Draw cars in both lanes, and plan trees along some pavements."""
        quarter, leafy = np.angle(self.turn) + (0 if upright else np.pi / 2), self.rng.random() < 0.5
        for side in (-1, 1):
            place = -self.reach
            while place < self.reach:
                place += self.rng.uniform(120, 600)
                across = street.middle + side * (street.half - 26)
                self._park(self._on(upright, across, place), quarter)
                if leafy and self.rng.random() < 0.5:
                    beside = street.middle + side * (street.half + 0.5 * street.walk + 30)
                    self.trees.append(self._on(upright, beside, place))

    def _park(self, place: complex, angle: float) -> None:
        """Draw a car if the ground is paved."""
        ends = [place + end * 1j * np.exp(1j * angle) for end in (-48, 0, 48)]
        if {IMPERVIOUS} == {self._label(end) for end in ends}:
            ahead = np.pi * self.rng.integers(2)
            self.canvas.paste(sprites.car(self.rng), place, angle + ahead + self.rng.normal(0, 0.03))

    def _block(self, left: Street, right: Street, upper: Street, lower: Street) -> None:
        """Divide the ground between four streets into plots, and draw them."""
        u = left.middle + left.half + left.walk, right.middle - right.half - right.walk
        v = upper.middle + upper.half + upper.walk, lower.middle - lower.half - lower.walk
        us = np.linspace(*u, 1 + max(1, round((u[1] - u[0]) / self.rng.uniform(330, 480))))
        vs = np.linspace(*v, 1 + max(1, round((v[1] - v[0]) / self.rng.uniform(330, 480))))
        reach = self.canvas.size / np.sqrt(2) + 400
        for u in pairwise(us):
            for v in pairwise(vs):
                if abs(complex(sum(u), sum(v))) / 2 < reach:  # otherwise outside the image
                    self._plot(u, v)

    def _plot(self, u: tuple[float, float], v: tuple[float, float]) -> None:
        """Draw a house with garden or yard, a car park, a building site, or a group of trees."""
        rng, angle = self.rng, float(np.angle(self.turn))
        kind = rng.choice(["house", "hall", "cars", "site", "grove"], p=[0.46, 0.26, 0.06, 0.11, 0.11])
        middle = self._at(sum(u) / 2, sum(v) / 2)
        extent = np.array([v[1] - v[0], u[1] - u[0]])
        if kind == "cars" or (kind != "grove" and rng.random() < 0.22):
            self._yard(u, v)
        if kind in ("house", "hall"):
            shape = (extent * rng.uniform(0.62, 0.88, 2)).astype(int)
            roof = sprites.gable_roof if kind == "house" else sprites.flat_roof
            quarter = np.pi / 2 * rng.integers(2)
            shape = shape[::-1] if quarter else shape
            spare = (extent - extent * 0.88) / 2
            shift = self.turn * complex(*rng.uniform(-1, 1, 2) * spare[::-1])
            self.houses.append((roof(rng, (int(shape[0]), int(shape[1]))), middle + shift, angle + quarter))
        elif kind == "cars":
            for row in np.arange(v[0] + 70, v[1] - 60, 150):
                for place in np.arange(u[0] + 40, u[1] - 30, 60):
                    if rng.random() < 0.55:
                        self._park(self._at(place, row), angle)
        elif kind == "site":
            shape = (extent * rng.uniform(0.45, 0.9, 2)).astype(int)
            self.canvas.paste(sprites.rubbish(rng, (int(shape[0]), int(shape[1]))), middle, angle)
        count = rng.poisson(9 if kind == "grove" else 2.0)
        self.trees += [self._at(rng.uniform(*u), rng.uniform(*v)) for _ in range(count)]

    def _yard(self, u: tuple[float, float], v: tuple[float, float]) -> None:
        """Pave a plot, with slabs or asphalt."""
        colour = tint(self.rng, MINERALS, 0.9)
        self.canvas.pave(self._rectangle(u, v), colour)
        if self.rng.random() < 0.5:
            joint, pitch = float(colour[:3].mean() - 24), self.rng.uniform(16, 26)
            for place in np.arange(u[0] + pitch, u[1], pitch):
                self.canvas.mark(self._at(place, v[0]), self._at(place, v[1]), joint, 1)
            for place in np.arange(v[0] + pitch, v[1], pitch):
                self.canvas.mark(self._at(u[0], place), self._at(u[1], place), joint, 1)


def draw_city(seed: int, tile: str, size: int) -> Scene:
    """Draw one tile, which depends on the arguments alone.

    Args:
        seed: chooses the city.
        tile: "row_column" of the tile.
        size: height and width in pixels.
    """
    row, column = (int(part) for part in tile.split("_"))
    stream = np.random.Philox(key=seed, counter=[0, 0, row, column])
    return City(np.random.Generator(stream), size).draw()
