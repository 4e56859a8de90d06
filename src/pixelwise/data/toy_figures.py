"""The figures of the toy data set: cats and dogs in four poses, and the things that stand about.

Cats and dogs differ in the shape of ears, face and tail. All else is shared, and nothing here has a colour.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

from pixelwise.data.toy_shapes import (
    Figure,
    Ink,
    Joint,
    Part,
    Point,
    both_sides,
    curve,
    ellipse,
    line,
    symmetric,
    tube,
)


# ------------------------------------------------------------------- heads, centred on (0, 0), 0.7 high
def _eye(x: float, y: float) -> list[Part]:
    return [
        Part(ellipse(x, y, 0.08, 0.095), ink=Ink.IRIS),
        Part(ellipse(x, y, 0.05, 0.075), ink=Ink.PUPIL),
        Part(ellipse(x + 0.02, y - 0.035, 0.025, 0.025), ink=Ink.SHINE),
    ]


def _stroke(*points: Point) -> Part:
    return Part(curve(*points, closed=False), ink=Ink.LINE, closed=False)


def _whiskers(x: float, y: float) -> list[Part]:
    return [_stroke((x, y + 0.02), (x + 0.37, y + dy)) for dy in (-0.1, 0.0, 0.1)]


def _tongue(x: float, y: float, out: bool) -> list[Part]:
    return [Part(ellipse(x, y, 0.05, 0.08), ink=Ink.TONGUE)] if out else []


def _cat_face(tongue: bool) -> list[Part]:
    """From the front: pointed ears, wide cheeks, a small nose, whiskers."""
    ear = Part(line((0.03, -0.2), (0.33, -0.68), (0.4, 0)), 230)
    inner_ear = Part(line((0.16, -0.24), (0.29, -0.5), (0.33, -0.13)), 135)
    return [
        *both_sides(ear, inner_ear),
        Part(symmetric((0, -0.28), (0.28, -0.2), (0.42, 0.08), (0.24, 0.27), (0, 0.31))),
        *both_sides(*_eye(0.18, -0.02)),
        *_tongue(0, 0.22, tongue),
        *both_sides(_stroke((0, 0.13), (0.04, 0.2), (0.12, 0.17)), *_whiskers(0.15, 0.13)),
        Part(line((-0.06, 0.07), (0.06, 0.07), (0, 0.14)), ink=Ink.NOSE),
    ]


def _dog_face(tongue: bool) -> list[Part]:
    """From the front: long hanging ears, a narrow skull, a long muzzle with a big nose."""
    ear = curve((0.14, -0.32), (0.34, -0.33), (0.5, -0.02), (0.52, 0.28), (0.4, 0.36), (0.29, 0.15))
    return [
        Part(symmetric((0, -0.36), (0.22, -0.32), (0.31, -0.05), (0.24, 0.22), (0, 0.3))),
        Part(symmetric((0, 0), (0.16, 0.06), (0.22, 0.28), (0.12, 0.42), (0, 0.44))),
        *both_sides(Part(ear, 200), *_eye(0.14, -0.11)),
        *_tongue(0, 0.38, tongue),
        *both_sides(_stroke((0, 0.15), (0, 0.24), (0.06, 0.32), (0.14, 0.27))),
        Part(ellipse(0, 0.12, 0.1, 0.075), ink=Ink.NOSE),
    ]


def _cat_profile(tongue: bool) -> list[Part]:
    """Looking to the right: pointed ears, a flat face, whiskers."""
    skull = ((-0.1, -0.27), (0.16, -0.27), (0.3, -0.08), (0.38, 0.08), (0.3, 0.25))
    return [
        Part(line((0, -0.2), (0.22, -0.66), (0.3, -0.1)), 180),
        Part(curve(*skull, (0, 0.3), (-0.28, 0.2), (-0.3, -0.1))),
        Part(line((-0.26, -0.1), (-0.16, -0.68), (0.12, -0.22)), 230),
        Part(line((-0.16, -0.2), (-0.13, -0.5), (0.03, -0.24)), 135),
        *_eye(0.14, -0.04),
        *_tongue(0.3, 0.22, tongue),
        _stroke((0.36, 0.13), (0.29, 0.18), (0.2, 0.15)),
        *_whiskers(0.24, 0.1),
        Part(line((0.31, 0.02), (0.4, 0.05), (0.36, 0.12)), ink=Ink.NOSE),
    ]


def _dog_profile(tongue: bool) -> list[Part]:
    """Looking to the right: a long snout, one long hanging ear."""
    snout = ((0.3, -0.06), (0.62, -0.02), (0.68, 0.12), (0.58, 0.24), (0.25, 0.26))
    ear = curve((-0.2, -0.28), (0, -0.24), (0.02, 0.1), (-0.06, 0.4), (-0.22, 0.42), (-0.3, 0.1))
    return [
        Part(curve((-0.24, -0.22), (0, -0.33), (0.18, -0.2), *snout, (0, 0.3), (-0.28, 0.16))),
        Part(ear, 200),
        *_eye(0.14, -0.1),
        *_tongue(0.48, 0.26, tongue),
        _stroke((0.64, 0.15), (0.45, 0.19), (0.28, 0.14)),
        Part(ellipse(0.64, 0.01, 0.09, 0.075), ink=Ink.NOSE),
    ]


# --------------------------------------------------------------------------- bodies, about 1.2 wide
def _tail(x: float, y: float, cat: bool) -> Part:
    """Grows to the left from (x, y): long, thin and curved, or short, thick and upright."""
    if cat:
        curl = ((x - 0.26, y), (x - 0.4, y - 0.28), (x - 0.3, y - 0.56), (x - 0.42, y - 0.76))
        outline = tube((x, y), *curl, start=0.08, end=0.06)
    else:
        outline = tube((x, y), (x - 0.12, y - 0.17), (x - 0.16, y - 0.42), start=0.11, end=0.06)
    return Part(outline, 225, joint=Joint.TAIL)


def _leg(hip: Point, foot: Point, tone: int) -> Part:
    knee = ((hip[0] + foot[0]) / 2, (hip[1] + foot[1]) / 2)
    return Part(tube(hip, knee, foot, start=0.11, end=0.085), tone)


def _sitting() -> list[Part]:
    """From the front."""
    foreleg = Part(tube((0.1, 0.15), (0.13, 0.45), (0.13, 0.68), start=0.09, end=0.08), 245)
    return [
        Part(symmetric((0, -0.25), (0.24, -0.05), (0.4, 0.45), (0.36, 0.72), (0, 0.76)), 235),
        *both_sides(foreleg, Part(ellipse(0.14, 0.72, 0.12, 0.08))),
    ]


def _standing() -> list[Part]:
    """From the side, heading right."""
    belly = ((0.46, 0), (0.32, 0.2), (-0.05, 0.16), (-0.38, 0.2))
    return [
        _leg((0.2, 0.1), (0.26, 0.58), 170),
        _leg((-0.34, 0.1), (-0.26, 0.58), 170),
        Part(curve((-0.52, 0), (-0.4, -0.21), (0.05, -0.17), (0.36, -0.3), *belly), 235),
        _leg((0.32, 0.08), (0.4, 0.62), 245),
        _leg((-0.38, 0.08), (-0.44, 0.62), 245),
    ]


def _lying() -> list[Part]:
    """From the side, paws to the right."""
    back = ((-0.62, 0.3), (-0.5, 0), (-0.1, -0.08), (0.3, -0.12), (0.5, 0.1))
    return [
        Part(curve(*back, (0.5, 0.4), (0, 0.46), (-0.5, 0.46)), 235),
        Part(ellipse(-0.34, 0.26, 0.22, 0.2), 245),
        Part(tube((0.3, 0.3), (0.5, 0.38), (0.74, 0.38), start=0.09, end=0.085), 245),
    ]


def _animal(cat: bool, pose: int, tongue: bool) -> Figure:
    """Sits and faces us (pose 0), stands in profile (1), stands and faces us (2) or lies (3)."""
    face, profile = (_cat_face, _cat_profile) if cat else (_dog_face, _dog_profile)
    body, rump, head, neck = (
        (_sitting, (-0.25, 0.6), face, (0, -0.5)),
        (_standing, (-0.46, -0.02), profile, (0.48, -0.48)),
        (_standing, (-0.46, -0.02), face, (0.42, -0.46)),
        (_lying, (-0.52, 0.26), face, (0.4, -0.26)),
    )[pose]
    moved = [replace(p, outline=1.2 * p.outline + complex(*neck), joint=Joint.HEAD) for p in head(tongue)]
    return Figure([_tail(*rump, cat), *body(), *moved], head=neck, rump=rump)


ANIMALS = {
    label: [_animal(cat, pose, tongue) for pose, tongue in product(range(4), (False, True))]
    for label, cat in ((1, True), (2, False))
}
"""All cats under label 1 and all dogs under label 2, in the same order of poses."""


# ---------------------------------------------------------------------------------------------- things
def _bush() -> Figure:
    lumps = ((-0.35, 0.15, 205), (0.36, 0.16, 205), (-0.12, -0.14, 235), (0.22, -0.08, 235), (0, 0.2, 255))
    return Figure([Part(ellipse(x, y, 0.32, 0.28), tone) for x, y, tone in lumps])


def _box() -> Figure:
    side, lid = ((-0.5, 0.4), (0.5, 0.4), (0.5, -0.25), (-0.5, -0.25)), ((-0.5, -0.25), (-0.4, -0.42))
    return Figure([Part(line(*side), 230), Part(line(*lid, (0.4, -0.42), (0.5, -0.25)))])


def _ball() -> Figure:
    return Figure([Part(ellipse(0, 0, 0.5, 0.5)), *both_sides(_stroke((0.3, -0.4), (0.1, 0), (0.3, 0.4)))])


def _mushroom() -> Figure:
    cap = symmetric((0, -0.5), (0.32, -0.38), (0.5, 0), (0.2, 0.05), (0, 0.05))
    return Figure([Part(tube((0, -0.1), (0, 0.1), (0.02, 0.35), start=0.13, end=0.17), 255), Part(cap, 215)])


def _bird() -> Figure:
    breast = ((0.05, -0.4), (0.36, -0.4), (0.45, -0.1), (0.2, 0.3), (-0.2, 0.25))
    return Figure(
        [
            Part(curve((-0.75, -0.12), (-0.3, -0.1), *breast)),
            Part(curve((-0.4, 0.05), (0, -0.1), (0.2, 0), (0, 0.2)), 205),
            Part(ellipse(0.28, -0.24, 0.06, 0.06), ink=Ink.PUPIL),
            Part(line((0.42, -0.28), (0.68, -0.16), (0.42, -0.1)), ink=Ink.BEAK),
        ]
    )


def _cushion() -> Figure:
    return Figure([Part(symmetric((0, -0.28), (0.44, -0.36), (0.4, 0), (0.44, 0.36), (0, 0.28)))])


THINGS = (_bush(), _box(), _ball(), _mushroom(), _bird(), _cushion())
"""What lies about, behind the animals and in front of them."""

POST = Figure([Part(line((-0.1, -1.9), (0.1, -1.9), (0.1, 1.9), (-0.1, 1.9)), 235)])
"""Crosses the whole image when its scale is a quarter of the image's size or more."""
