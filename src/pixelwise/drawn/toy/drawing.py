"""Draw the scenes of the toy data set: figures, backgrounds, fur and light. No colour depends on a class.

Points are complex numbers, x + iy with y downwards, so that rotating, scaling and moving a figure is one
multiplication and one addition.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

FRACTION_BITS = 4
"""Number of fraction bits in OpenCV's coordinates: positions have a resolution of 1/16 pixel."""

RIM = 105
"""Tone of every outline. No part is darker, so tone / `RIM`, clipped at 1, is the coverage of a pixel."""

RING = np.exp(2j * np.pi * np.arange(18) / 18)
"""A circle of radius 1 around 0."""

BODY, HEAD, TAIL = range(3)
"""The joints; each part turns with one of them."""

TURN = np.radians((0, 12, 15))
"""Largest rotation of each joint in both directions, in radians."""

Colour = tuple[int, ...]
"""RGB."""

FURS = ((224, 144, 70), (238, 214, 172), (150, 150, 158), (92, 88, 96), (148, 100, 68), (242, 240, 234),
        (204, 168, 120), (116, 132, 154))  # fmt: skip
HUES = ((132, 190, 100), (96, 158, 92), (150, 204, 236), (246, 222, 150), (240, 178, 178), (190, 170, 220),
        (120, 190, 186), (226, 120, 96), (88, 128, 190), (214, 204, 190))  # fmt: skip
EYES = ((150, 200, 90), (246, 200, 80), (130, 190, 230), (200, 130, 70))
NOSES = ((50, 40, 46), (60, 46, 50), (226, 130, 136))
INKS = {"pupil": (34, 28, 34), "shine": (255, 255, 255), "tongue": (236, 120, 130), "beak": (246, 170, 60)}
DARK_LINE, LIGHT_LINE = (66, 52, 56), (214, 208, 204)


# --------------------------------------------------------------------------------------------- figures
class Part(NamedTuple):
    """One outline and its paint."""

    paint: int | str
    """Brightness of the coat (`RIM` to 255) or the name of an ink; "line" is an open line, others fill."""
    outline: np.ndarray
    """(N,) complex."""
    joint: int = BODY


def _fixed_point(points: np.ndarray, bits: int = FRACTION_BITS) -> np.ndarray:
    """Complex pixel coordinates (…,) → OpenCV's fixed-point coordinates, int32 (…, 2)."""
    return (points.view(float) * 2**bits).round().astype(np.int32).reshape(*points.shape, 2)


class Figure:
    """Parts that move together, scaled so that the coat covers an area of 1.

    Thus cats and dogs of the same scale cover the same number of pixels.

    Args:
        parts: the coat from back to front, then the inks.
        pivots: the point around which each joint turns.
    """

    def __init__(self, parts: list[Part], pivots: tuple[complex, ...] = (0, 0, 0)) -> None:
        self.tones = [part.paint for part in parts if isinstance(part.paint, int)]
        self.inks = [part.paint for part in parts if isinstance(part.paint, str)]
        outlines = [part.outline for part in parts]
        lengths = [len(outline) for outline in outlines]
        self.joints = np.repeat([part.joint for part in parts], lengths)
        self.cuts = np.cumsum(lengths)[:-1]
        """Indices that split the points of `posed` into the outlines of `tones`, then of `inks`."""

        coat = outlines[: len(self.tones)]
        covered = np.zeros((400, 400), np.uint8)  # from -2 to 2
        for outline in coat:
            cv2.fillPoly(covered, [_fixed_point((outline + (2 + 2j)) * 100, bits=0)], 1)
        unit = (np.count_nonzero(covered) / 100**2) ** 0.5
        xy = np.concatenate(coat).view(float).reshape(-1, 2)
        centre = (xy.min(0) + xy.max(0)) / 2 @ (1, 1j)
        self.points = (np.concatenate(outlines) - centre) / unit
        self.pivots = (np.array(pivots) - centre) / unit
        self.reach = (xy.max(0) @ (1, 1j) - centre) / unit
        """Half the width + i half the height."""

    def posed(self, bend: np.ndarray | float) -> np.ndarray:
        """Return all points, each joint turned by `bend` (3,), from -1 to 1 times its largest rotation."""
        pivot = self.pivots[self.joints]
        return pivot + (self.points - pivot) * np.exp(1j * (bend * TURN))[self.joints]


class Sprite(NamedTuple):
    """A figure and its position in the image."""

    figure: Figure
    centre: complex
    """x + iy in pixels."""
    scale: float
    """Pixels per unit, so the coat covers scale² pixels."""
    rotation: float = 0.0
    """Radians, clockwise."""
    mirrored: bool = False

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Convert figure coordinates to pixel coordinates, both complex."""
        points = -points.conj() if self.mirrored else points
        return self.centre + self.scale * np.exp(1j * self.rotation) * points


# -------------------------------------------------------------------------------------------- painting
def _pick(rng: np.random.Generator, palette: tuple[Colour, ...]) -> Colour:
    """Return a random colour of the palette, slightly changed in brightness and hue."""
    colour = palette[rng.integers(len(palette))]
    lighter, *hue = rng.uniform(-1, 1, 4).tolist()
    return tuple(min(max(round(c + 14 * lighter + 5 * h), 0), 255) for c, h in zip(colour, hue, strict=True))


def _texture(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return a background texture of two colours: a few cells, enlarged to the image."""
    count = int(rng.integers(4, 10))
    glow, grass, planks = (rng.random(shape) for shape in ((3, 3), (14, 48), (count, 1)))
    tiles, stripes = np.indices((count, count)).sum(0) % 2, np.arange(2 * count)[None] % 2
    kind = int(rng.integers(5))
    cells = (glow, grass, planks, tiles, stripes)[kind]
    smoothness = {0: cv2.INTER_CUBIC, 1: cv2.INTER_LINEAR}.get(kind, cv2.INTER_NEAREST)
    first = np.array(_pick(rng, HUES + FURS))
    change = rng.uniform(0.2, 0.6) * (np.array(_pick(rng, HUES + FURS)) - first)
    coloured = (first + cells[..., None] * change).astype(np.uint8)
    return cv2.resize(coloured, (size, size), interpolation=smoothness)


def _backdrop(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return a background of one texture, or of two with a flat or hilly horizon; (size, size, 3) uint8."""
    image = _texture(rng, size)
    if rng.random() < 0.7:
        level, height, phase, waves = rng.uniform((0.3, 0, 0, 2), (0.7, 0.06, 6.3, 8))
        x = np.linspace(-0.1, 1.1, 25)
        hills = x + 1j * (level + height * np.sin(phase + waves * x))
        ground = _fixed_point(size * np.append(hills, [1.1 + 1.1j, -0.1 + 1.1j]))
        below = cv2.fillPoly(np.zeros((size, size), np.uint8), [ground], 255, shift=FRACTION_BITS)
        cv2.copyTo(_texture(rng, size), below, image)
    return image


def light(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Add uneven coloured light, sometimes a slight blur, and camera noise; uint8 → uint8."""
    if rng.random() < 0.3:
        image = cv2.GaussianBlur(image, (3, 3), rng.uniform(0.3, 0.8))
    corners = rng.uniform(0.8, 1.1) + rng.uniform(-0.13, 0.13, (2, 2, 1)) + rng.uniform(-0.05, 0.05, 3)
    lamp = cv2.resize(corners.astype(np.float32), image.shape[:2])
    noise = np.frombuffer(rng.bytes(image.size), np.int8).reshape(image.shape)
    grain = noise * np.float32(rng.uniform(0, 8) / 128)
    return cv2.add(cv2.multiply(image, lamp, dtype=cv2.CV_32F), grain, dtype=cv2.CV_8U)


def _fur(rng: np.random.Generator, size: int, colour: Colour, sprite: Sprite) -> np.ndarray:
    """Return plain, striped, spotted or patched fur around a sprite, (size, size, 3) uint8."""
    fur = np.tile(np.array(colour, np.uint8), (size, size, 1))
    second, pattern = _pick(rng, FURS), rng.integers(4)
    if pattern == 1:
        across, slant = np.arange(-1.5, 1.5, rng.uniform(0.16, 0.3)), rng.uniform(-0.3, 0.3)
        stripes = sprite.pixels(np.stack((across - slant - 1.5j, across + slant + 1.5j), 1))
        width = max(1, round(sprite.scale * rng.uniform(0.05, 0.1)))
        cv2.polylines(fur, list(_fixed_point(stripes)), False, second, width, cv2.LINE_AA, FRACTION_BITS)
    elif pattern >= 2:
        count, radius = (24, 0.08) if pattern == 2 else (5, 0.35)
        centres, radii = rng.uniform(-1, 1, (count, 2)) @ (1, 1j), radius * rng.uniform(0.7, 1.3, count)
        for spot in _fixed_point(sprite.pixels(centres[:, None] + radii[:, None] * RING)):
            cv2.fillPoly(fur, [spot], second, cv2.LINE_AA, FRACTION_BITS)
    return fur


def _shaded(image: np.ndarray, shade: np.ndarray) -> np.ndarray:
    """Return image (size, size, 3) × shade (size, size) / 255, all uint8."""
    return cv2.multiply(image, cv2.cvtColor(shade, cv2.COLOR_GRAY2RGB), scale=1 / 255)


class Canvas:
    """An image (size, size, 3) and its mask (size, size), both uint8; later figures cover earlier ones."""

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self.rng, self.size = rng, size
        self.image, self.mask = _backdrop(rng, size), np.zeros((size, size), np.uint8)

    def draw(self, sprite: Sprite, label: int = 0, bend: np.ndarray | float = 0) -> None:
        """Draw a figure, and its label in all pixels that the coat covers by half or more.

        Args:
            sprite: the figure and its position.
            label: class index.
            bend: rotation of body, head and tail, (3,) from -1 to 1.
        """
        figure = sprite.figure
        outlines = np.split(_fixed_point(sprite.pixels(figure.posed(bend))), figure.cuts)
        width, shade = max(1, round(self.size / 96)), np.zeros_like(self.mask)
        for tone, outline in zip(figure.tones, outlines, strict=False):
            cv2.fillPoly(shade, [outline], tone, shift=FRACTION_BITS)
            cv2.polylines(shade, [outline], True, RIM, width, cv2.LINE_AA, FRACTION_BITS)
        cover = cv2.convertScaleAbs(shade, alpha=255 / RIM)
        self.mask[cover >= 128] = label

        colour = _pick(self.rng, FURS)
        fur = _fur(self.rng, self.size, colour, sprite)
        self.image = cv2.add(_shaded(self.image, 255 - cover), _shaded(fur, shade))

        inks = INKS | {"iris": _pick(self.rng, EYES), "nose": _pick(self.rng, NOSES)}
        line = LIGHT_LINE if sum(colour) < 3 * 110 else DARK_LINE  # dark lines are invisible on dark fur
        for ink, outline in zip(figure.inks, outlines[len(figure.tones) :], strict=True):
            if ink == "line":
                cv2.polylines(self.image, [outline], False, line, width, cv2.LINE_AA, FRACTION_BITS)
            else:
                cv2.fillPoly(self.image, [outline], inks[ink], cv2.LINE_AA, FRACTION_BITS)

    def cast_shadow(self, sprite: Sprite) -> None:
        """Darken the ground below a figure."""
        reach = sprite.scale * sprite.figure.reach
        ellipse = sprite.centre + 0.9j * reach.imag + reach.real * (RING.real + 0.3j * RING.imag)
        shade = np.full_like(self.mask, 255)
        cv2.fillPoly(shade, [_fixed_point(ellipse)], 170, cv2.LINE_AA, FRACTION_BITS)
        self.image = _shaded(self.image, shade)
