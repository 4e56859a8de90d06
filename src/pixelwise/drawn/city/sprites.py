"""The objects in the drawn city, seen from above: roofs, trees, cars, rubbish; 5 cm per pixel.

Sprites are drawn upright and rotated when they are pasted. Roofs have the colours of paving, and trees the
colours of lawns: classes differ in texture, shape and shadow, and hardly in the colour of single pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

IMPERVIOUS, BUILDING, LOW_VEGETATION, TREE, CAR, CLUTTER = range(6)

MINERALS = ((112, 112, 116), (142, 140, 138), (172, 166, 156), (150, 104, 88), (126, 84, 72), (92, 94, 100))
"""Colours of roads, yards and roofs."""
GREENS = ((76, 98, 58), (98, 112, 66), (60, 82, 52), (118, 116, 78), (84, 104, 84))
"""Colours of lawns and trees."""
PAINTS = ((40, 42, 46), (226, 228, 230), (150, 154, 160), (120, 30, 32), (34, 54, 96), (96, 104, 80))
"""Colours of cars, in addition to those of roads."""


class Sprite(NamedTuple):
    """An object seen from above, upright."""

    bands: np.ndarray
    """(h, w, 4) uint8: red, green, blue, infrared."""
    cover: np.ndarray
    """(h, w) uint8: 255 inside the object, 0 outside."""
    height: np.ndarray
    """(h, w) uint8, height above the ground in decimetres."""
    label: int
    """Class index."""


def tint(rng: np.random.Generator, palette: tuple[tuple[int, ...], ...], infrared: float) -> np.ndarray:
    """Return a random colour of a palette, slightly lighter or darker, with infrared: (4,) float."""
    colour = np.array(palette[rng.integers(len(palette))], float)
    colour = colour * rng.uniform(0.82, 1.18) + rng.normal(0, 4, 3)
    return np.append(colour, colour.mean() * infrared * rng.uniform(0.9, 1.1)).clip(8, 247)


def grain(rng: np.random.Generator, shape: tuple[int, int], cell: float) -> np.ndarray:
    """Return smooth noise (h, w) float32 of mean 0, standard deviation about 1 and scale `cell` pixels."""
    rows, columns = (max(2, round(side / cell) + 1) for side in shape)
    noise = rng.standard_normal((rows, columns), np.float32)
    return cv2.resize(noise, shape[::-1], interpolation=cv2.INTER_CUBIC)


def painted(colour: np.ndarray, shade: np.ndarray) -> np.ndarray:
    """Return an area of one colour (4,) plus `shade` (h, w) grey levels: (h, w, 4) uint8."""
    return np.clip(colour + shade[..., None], 0, 255).astype(np.uint8)


def _full(shape: tuple[int, int]) -> np.ndarray:
    return np.full(shape, 255, np.uint8)


def _boxes(rng: np.random.Generator, bands: np.ndarray, height: np.ndarray, count: int, tall: int) -> None:
    """Draw boxes on a roof: chimneys, skylights, machines."""
    for _ in range(count):
        h, w = rng.integers(10, 34, 2)
        y, x = (int(rng.integers(4, max(5, side - 38))) for side in height.shape)
        bands[y : y + h, x : x + w] = tint(rng, MINERALS + PAINTS[:3], 0.9)
        bands[y + h : y + h + 5, x : x + w] //= 2
        height[y : y + h, x : x + w] += np.uint8(tall)


def gable_roof(rng: np.random.Generator, shape: tuple[int, int]) -> Sprite:
    """Draw a roof of two slopes, one in the light and one in the shade, with tiles and chimneys."""
    h, w = shape
    y = np.arange(h, dtype=np.float32)[:, None]
    period, step = rng.uniform(7, 11), rng.uniform(12, 20)
    rows = 13 * np.sin(y * (2 * np.pi / period))
    slope = np.where(y < h / 2, 1.0, -1.0) * rng.choice([-1, 1]) * rng.uniform(12, 24)
    ridge = np.where(abs(y - h / 2) < 3, 26.0, 0.0)
    shade = rows + slope + ridge + 5 * grain(rng, shape, step)
    bands = painted(tint(rng, MINERALS, 0.9), shade)
    eaves, rise = rng.uniform(30, 60), rng.uniform(15, 40)
    height = np.tile(eaves + rise * (1 - abs(2 * y / h - 1)), (1, w)).astype(np.uint8)
    _boxes(rng, bands, height, int(rng.integers(1, 4)), 10)
    return Sprite(bands, _full(shape), height, BUILDING)


def flat_roof(rng: np.random.Generator, shape: tuple[int, int]) -> Sprite:
    """Draw a flat roof: gravel, felt seams, a bright parapet, and machines."""
    h, w = shape
    x = np.arange(w, dtype=np.float32)[None]
    seams = np.where(x % rng.uniform(26, 44) < 3, -16.0, 0.0)
    shade = 10 * grain(rng, shape, 3.5) + 7 * grain(rng, shape, 60) + seams
    colour = tint(rng, MINERALS + PAINTS[:3], 0.9)
    bands = painted(colour, shade)
    cv2.rectangle(bands, (3, 3), (w - 4, h - 4), (np.minimum(colour + 55, 250)).tolist(), 7)
    height = np.full(shape, rng.integers(40, 130), np.uint8)
    _boxes(rng, bands, height, int(rng.integers(2, 7)), 15)
    return Sprite(bands, _full(shape), height, BUILDING)


def crown(rng: np.random.Generator, diameter: int) -> Sprite:
    """Draw a tree crown: round with a ragged edge, lighter in its centre."""
    shape = (diameter, diameter)
    y, x = np.mgrid[-1 : 1 : diameter * 1j, -1 : 1 : diameter * 1j].astype(np.float32)
    ragged = np.hypot(x, y) + 0.09 * grain(rng, shape, diameter / 7)
    dome = (1 - ragged**2).clip(0)
    leaves = 17 * grain(rng, shape, rng.uniform(5, 8)) + 10 * grain(rng, shape, 14)
    bands = painted(tint(rng, GREENS, 2.1), leaves + 22 * dome - 16)
    height = (rng.uniform(40, 140) * np.sqrt(dome)).astype(np.uint8)
    return Sprite(bands, np.where(ragged < 0.93, 255, 0).astype(np.uint8), height, TREE)


def car(rng: np.random.Generator) -> Sprite:
    """Draw a car of about 40 × 90 pixels: bonnet, windows, roof."""
    w, h = int(rng.integers(36, 45)), int(rng.integers(82, 99))
    paint = tint(rng, PAINTS + MINERALS, 0.9)
    bands, cover = painted(paint, np.zeros((h, w))), np.zeros((h, w), np.uint8)
    outline = [
        (8, 0),
        (w - 9, 0),
        (w - 1, 10),
        (w - 1, h - 8),
        (w - 7, h - 1),
        (6, h - 1),
        (0, h - 8),
        (0, 10),
    ]
    cv2.fillPoly(cover, [np.array(outline)], 255)
    glass, roof = (38, 44, 52, 30), np.minimum(paint + 22, 250).tolist()
    cv2.fillPoly(bands, [np.array([(3, 28), (w - 4, 28), (w - 8, 42), (7, 42)])], glass)
    cv2.fillPoly(bands, [np.array([(7, h - 24), (w - 8, h - 24), (w - 4, h - 13), (3, h - 13)])], glass)
    cv2.rectangle(bands, (2, 42), (w - 3, h - 25), glass, 2)
    cv2.rectangle(bands, (6, 42), (w - 7, h - 25), roof, -1)
    cv2.rectangle(bands, (0, 0), (w - 1, h - 1), (paint * 0.6).tolist(), 1)
    return Sprite(bands, cover, np.full((h, w), 15, np.uint8), CAR)


def rubbish(rng: np.random.Generator, shape: tuple[int, int]) -> Sprite:
    """Draw a building site with boards, tarpaulins and rubble of many colours."""
    bands = painted(tint(rng, MINERALS, 0.9), 12 * grain(rng, shape, 9))
    for _ in range(max(6, shape[0] * shape[1] // 500)):
        middle, half = rng.uniform((0, 0), shape[::-1]), rng.uniform(4, 17, 2)
        box = cv2.boxPoints((middle.tolist(), (2 * half).tolist(), float(rng.uniform(0, 180))))
        colour = tint(rng, GREENS, 2.1) if rng.random() < 0.3 else tint(rng, MINERALS + PAINTS[:3], 0.9)
        cv2.fillPoly(bands, [box.astype(np.int32)], colour.tolist())
    ragged = grain(rng, shape, 30)
    edge = np.minimum.outer(*(np.minimum(np.arange(n), np.arange(n)[::-1]) for n in shape))
    cover = np.where(edge > 10 + 5 * ragged, 255, 0).astype(np.uint8)
    height = np.clip(10 + 6 * ragged, 0, 30).astype(np.uint8)
    return Sprite(bands, cover, height, CLUTTER)
