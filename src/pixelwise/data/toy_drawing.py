"""How the toy data set is painted: backdrops, coats, figures and light. No colour here depends on a class."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pixelwise.data.toy_shapes import RIM, RING, STRAIGHT, Figure, Ink

Colour = tuple[int, int, int]
Palette = tuple[Colour, ...]

FRACTION_BITS = 4
"""How many bits of a coordinate OpenCV takes for its fraction: lines move in steps of 1/16 pixel."""

# All colours are RGB.
FURS = ((224, 144, 70), (238, 214, 172), (150, 150, 158), (92, 88, 96), (148, 100, 68), (242, 240, 234),
        (204, 168, 120), (116, 132, 154))  # fmt: skip
HUES = ((132, 190, 100), (96, 158, 92), (150, 204, 236), (246, 222, 150), (240, 178, 178), (190, 170, 220),
        (120, 190, 186), (226, 120, 96), (88, 128, 190), (214, 204, 190))  # fmt: skip
EYES = ((150, 200, 90), (246, 200, 80), (130, 190, 230), (200, 130, 70))
NOSES = ((50, 40, 46), (60, 46, 50), (226, 130, 136))
INKS: dict[Ink, Colour] = {
    Ink.PUPIL: (34, 28, 34),
    Ink.SHINE: (255, 255, 255),
    Ink.LINE: (66, 52, 56),
    Ink.TONGUE: (236, 120, 130),
    Ink.BEAK: (246, 170, 60),
}
LIGHT_LINE = (214, 208, 204)


@dataclass(frozen=True)
class Placement:
    """Where a figure stands in the image."""

    centre: complex
    """x + iy in pixels."""
    scale: float
    """Pixels per unit, so the coat covers scale² pixels."""
    rotation: float = 0.0
    """Radians, clockwise."""
    mirrored: bool = False

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Figure coordinates → pixel coordinates, both complex."""
        points = -np.conj(points) if self.mirrored else points
        return self.centre + self.scale * np.exp(1j * self.rotation) * points


def pick(rng: np.random.Generator, palette: Palette) -> Colour:
    """One of the palette's colours, a little lighter or darker and a little off its hue."""
    colour = palette[rng.integers(len(palette))]
    lighter, *channels = rng.uniform(-1, 1, 4).tolist()
    red, green, blue = (
        min(max(round(c + 14 * lighter + 5 * own), 0), 255) for c, own in zip(colour, channels, strict=True)
    )
    return red, green, blue


def _fixed_point(points: np.ndarray) -> np.ndarray:
    """Complex pixel coordinates (…,) → what OpenCV draws, int32 (…, 2)."""
    return (points.view(np.float64) * 2**FRACTION_BITS).round().astype(np.int32).reshape(*points.shape, 2)


# ------------------------------------------------------------------------------------------- backdrops
def _texture(rng: np.random.Generator, size: int) -> np.ndarray:
    """Soft light, grass, planks, tiles or stripes in two colours: a few cells, enlarged to the image."""
    count = int(rng.integers(4, 10))
    cells, interpolation = (
        (rng.random((3, 3)), cv2.INTER_CUBIC),
        (rng.random((14, 48)), cv2.INTER_LINEAR),
        (rng.random((count, 1)), cv2.INTER_NEAREST),
        (np.indices((count, count)).sum(0) % 2, cv2.INTER_NEAREST),
        (np.arange(2 * count)[None] % 2, cv2.INTER_NEAREST),
    )[rng.integers(5)]
    first = np.array(pick(rng, HUES + FURS))
    second = first + rng.uniform(0.2, 0.6) * (np.array(pick(rng, HUES + FURS)) - first)
    coloured = first + cells[..., None] * (second - first)
    return cv2.resize(coloured.astype(np.uint8), (size, size), interpolation=interpolation)


def backdrop(rng: np.random.Generator, size: int) -> np.ndarray:
    """One texture, or one above and one below a level or hilly horizon; (size, size, 3) uint8."""
    image = _texture(rng, size)
    if rng.random() < 0.7:
        level, height, phase, waves = rng.uniform((0.3, 0, 0, 2), (0.7, 0.06, 6.3, 8))
        x = np.linspace(-0.1, 1.1, 25)
        hills = x + 1j * (level + height * np.sin(phase + waves * x))
        ground = size * np.append(hills, [1.1 + 1.1j, -0.1 + 1.1j])
        below = np.zeros((size, size), np.uint8)
        cv2.fillPoly(below, [_fixed_point(ground)], 255, shift=FRACTION_BITS)
        cv2.copyTo(_texture(rng, size), below, image)
    return image


def light(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Uneven coloured light, sometimes a slight blur, and the camera's noise; uint8 → uint8."""
    size = len(image)
    if rng.random() < 0.3:
        image = cv2.GaussianBlur(image, (3, 3), rng.uniform(0.3, 0.8))
    corners = rng.uniform(0.8, 1.1) + rng.uniform(-0.13, 0.13, (2, 2, 1)) + rng.uniform(-0.05, 0.05, 3)
    lamp = cv2.resize(corners.astype(np.float32), (size, size))
    noise = np.frombuffer(rng.bytes(image.size), np.int8).reshape(image.shape)
    lit = cv2.multiply(image, lamp, dtype=cv2.CV_32F)
    return cv2.add(lit, noise * np.float32(rng.uniform(0, 8) / 128), dtype=cv2.CV_8U)


# -------------------------------------------------------------------------------------------- figures
def _coat(rng: np.random.Generator, size: int, colour: Colour, placement: Placement) -> np.ndarray:
    """Plain, striped, spotted or patched fur around a placement, (size, size, 3) uint8."""
    fur = np.tile(np.array(colour, np.uint8), (size, size, 1))
    second = pick(rng, FURS)
    pattern = rng.integers(4)
    if pattern == 1:
        across = np.arange(-1.5, 1.5, rng.uniform(0.16, 0.3))
        slant = rng.uniform(-0.3, 0.3)
        stripes = placement(np.stack((across - slant - 1.5j, across + slant + 1.5j), 1))
        width = max(1, round(placement.scale * rng.uniform(0.05, 0.1)))
        cv2.polylines(fur, list(_fixed_point(stripes)), False, second, width, cv2.LINE_AA, FRACTION_BITS)
    elif pattern >= 2:
        count, radius = (24, 0.08) if pattern == 2 else (5, 0.35)
        centres, radii = rng.uniform(-1, 1, (count, 2)) @ (1, 1j), radius * rng.uniform(0.7, 1.3, count)
        for spot in _fixed_point(placement(centres[:, None] + radii[:, None] * RING)):
            cv2.fillPoly(fur, [spot], second, cv2.LINE_AA, FRACTION_BITS)
    return fur


def _shaded(image: np.ndarray, shade: np.ndarray) -> np.ndarray:
    """(size, size, 3) × (size, size) / 255, all uint8."""
    return cv2.multiply(image, cv2.cvtColor(shade, cv2.COLOR_GRAY2RGB), scale=1 / 255)


class Canvas:
    """An image with its mask. What is drawn later lies in front, in both.

    Args:
        rng: chooses the backdrop, and the colours and the pattern of each figure.
        size: height and width in pixels.
    """

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self.rng = rng
        self.size = size
        self.image = backdrop(rng, size)
        """(size, size, 3) uint8."""
        self.mask = np.zeros((size, size), np.uint8)

    def draw(self, figure: Figure, placement: Placement, label: int = 0, bend: np.ndarray = STRAIGHT) -> None:
        """Paint a figure into the image, and its label wherever its coat covers half a pixel or more.

        Args:
            figure: what to draw.
            placement: where to draw it.
            label: class index.
            bend: (3,) angle of each joint in radians.
        """
        outlines = figure.split(_fixed_point(placement(figure.posed(bend))))
        width = max(1, round(self.size / 96))

        shade = np.zeros_like(self.mask)
        for part, outline in zip(figure.coat, outlines, strict=False):
            cv2.fillPoly(shade, [outline], part.tone, shift=FRACTION_BITS)
            cv2.polylines(shade, [outline], True, RIM, width, cv2.LINE_AA, FRACTION_BITS)
        cover = cv2.convertScaleAbs(shade, alpha=255 / RIM)
        colour = pick(self.rng, FURS)
        fur = _coat(self.rng, self.size, colour, placement)
        self.image = cv2.add(_shaded(self.image, 255 - cover), _shaded(fur, shade))
        self.mask[cover >= 128] = label

        inks = INKS | {Ink.IRIS: pick(self.rng, EYES), Ink.NOSE: pick(self.rng, NOSES)}
        if sum(colour) < 3 * 110:  # where a dark line would be lost
            inks[Ink.LINE] = LIGHT_LINE
        for part, outline in zip(figure.inked, outlines[len(figure.coat) :], strict=True):
            if part.closed:
                cv2.fillPoly(self.image, [outline], inks[part.ink], cv2.LINE_AA, FRACTION_BITS)
            else:
                cv2.polylines(self.image, [outline], False, inks[part.ink], width, cv2.LINE_AA, FRACTION_BITS)

    def cast_shadow(self, figure: Figure, placement: Placement) -> None:
        """Darken the ground on which a figure stands."""
        foot = placement.centre + 0.9j * placement.scale * figure.reach.imag
        ellipse = foot + placement.scale * figure.reach.real * (RING.real + 0.3j * RING.imag)
        shade = np.full_like(self.mask, 255)
        cv2.fillPoly(shade, [_fixed_point(ellipse)], 170, cv2.LINE_AA, FRACTION_BITS)
        self.image = _shaded(self.image, shade)
