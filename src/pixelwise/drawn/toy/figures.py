"""The figures of the toy data set: cats and dogs in four poses, and other objects.

Cats and dogs differ in the shape of ears, face and tail only. Figures have no colours.

Points are written as in SVG, "x,y x,y …" with y downwards, in hundredths of the figure's unit of length.
"""

from __future__ import annotations

import numpy as np

from pixelwise.drawn.toy.drawing import HEAD, RING, TAIL, Figure, Part


# ---------------------------------------------------------------------------------------------- shapes
def points(text: str) -> np.ndarray:
    """Return the points of a polygon."""
    return np.array([point.split(",") for point in text.split()], float) / 100 @ (1, 1j)


def curve(text: str, closed: bool = True) -> np.ndarray:
    """Return a Catmull-Rom spline. If both ends have x = 0, its mirror image completes it."""
    knots = points(text)
    if knots[0].real == knots[-1].real == 0:
        knots = np.append(knots, -knots[-2:0:-1].conj())
    padded = np.pad(knots, (1, 2), "wrap") if closed else np.pad(knots, 1, "edge")
    a, b, c, d = (padded[i : len(padded) - 3 + i, None] for i in range(4))
    t = np.linspace(0, 1, 4, endpoint=False)
    spline = (b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))).ravel()
    return spline if closed else np.append(spline, knots[-1])


def oval(x: float, y: float, rx: float, ry: float) -> np.ndarray:
    """Return an ellipse around (x, y) with radii rx and ry."""
    return (complex(x, y) + rx * RING.real + 1j * ry * RING.imag) / 100


def tube(start: float, end: float, text: str) -> np.ndarray:
    """Return the outline of a limb along the points, with half widths `start` and `end` and a round tip."""
    spine = curve(text, closed=False)
    along = np.gradient(spine)
    across = 1j * along / np.abs(along) * np.linspace(start, end, len(spine)) / 100
    tip = spine[-1] + across[-1] * np.exp(-1j * np.linspace(0, np.pi, 7)[1:-1])
    return np.concatenate((spine + across, tip, (spine - across)[::-1]))


def lines(*texts: str) -> list[Part]:
    """Return one open curve for each text."""
    return [Part("line", curve(text, closed=False)) for text in texts]


def both_sides(*parts: Part) -> list[Part]:
    """Return the parts, each followed by its mirror image about x = 0."""
    return [side for part in parts for side in (part, part._replace(outline=-part.outline.conj()))]


# ----------------------------------------------------------------- heads, centred on (0, 0), 0.7 high
def eye(x: float, y: float) -> list[Part]:
    """Return iris, pupil and highlight around (x, y)."""
    iris, pupil, shine = oval(x, y, 8, 9.5), oval(x, y, 5, 7.5), oval(x + 2, y - 3.5, 2.5, 2.5)
    return [Part("iris", iris), Part("pupil", pupil), Part("shine", shine)]


CAT_FACE = [
    *both_sides(Part(230, points("3,-20 33,-68 40,0")), Part(135, points("16,-24 29,-50 33,-13"))),
    Part(255, curve("0,-28 28,-20 42,8 24,27 0,31")),
    *both_sides(*eye(18, -2)),
    Part("tongue", oval(0, 22, 5, 8)),
    *both_sides(*lines("0,13 4,20 12,17", "15,15 52,3", "15,15 52,13", "15,15 52,23")),
    Part("nose", points("-6,7 6,7 0,14")),
]
"""Front view: pointed ears, wide cheeks, a small nose, whiskers."""

DOG_FACE = [
    Part(255, curve("0,-36 22,-32 31,-5 24,22 0,30")),
    Part(255, curve("0,0 16,6 22,28 12,42 0,44")),
    *both_sides(Part(200, curve("14,-32 34,-33 50,-2 52,28 40,36 29,15")), *eye(14, -11)),
    Part("tongue", oval(0, 38, 5, 8)),
    *both_sides(*lines("0,15 0,24 6,32 14,27")),
    Part("nose", oval(0, 12, 10, 7.5)),
]
"""Front view: long hanging ears, a narrow skull, a long muzzle with a big nose."""

CAT_PROFILE = [
    Part(180, points("0,-20 22,-66 30,-10")),
    Part(255, curve("-10,-27 16,-27 30,-8 38,8 30,25 0,30 -28,20 -30,-10")),
    Part(230, points("-26,-10 -16,-68 12,-22")),
    Part(135, points("-16,-20 -13,-50 3,-24")),
    *eye(14, -4),
    Part("tongue", oval(30, 22, 5, 8)),
    *lines("36,13 29,18 20,15", "24,12 61,0", "24,12 61,10", "24,12 61,20"),
    Part("nose", points("31,2 40,5 36,12")),
]
"""Side view to the right: pointed ears, a flat face, whiskers."""

DOG_PROFILE = [
    Part(255, curve("-24,-22 0,-33 18,-20 30,-6 62,-2 68,12 58,24 25,26 0,30 -28,16")),
    Part(200, curve("-20,-28 0,-24 2,10 -6,40 -22,42 -30,10")),
    *eye(14, -10),
    Part("tongue", oval(48, 26, 5, 8)),
    *lines("64,15 45,19 28,14"),
    Part("nose", oval(64, 1, 9, 7.5)),
]
"""Side view to the right: a long snout, one long hanging ear."""


# ----------------------------------------------------- bodies, about 1.2 wide, and tails, from (0, 0)
CAT_TAIL = tube(8, 6, "0,0 -26,0 -40,-28 -30,-56 -42,-76")
DOG_TAIL = tube(11, 6, "0,0 -12,-17 -16,-42")

SITTING = [  # seen from the front
    Part(235, curve("0,-25 24,-5 40,45 36,72 0,76")),
    *both_sides(Part(245, tube(9, 8, "10,15 13,45 13,68")), Part(255, oval(14, 72, 12, 8))),
]
STANDING = [  # facing right: far legs, body, near legs
    *(Part(170, tube(11, 8.5, leg)) for leg in ("20,10 23,34 26,58", "-34,10 -30,34 -26,58")),
    Part(235, curve("-52,0 -40,-21 5,-17 36,-30 46,0 32,20 -5,16 -38,20")),
    *(Part(245, tube(11, 8.5, leg)) for leg in ("32,8 36,35 40,62", "-38,8 -41,35 -44,62")),
]
LYING = [  # paws to the right
    Part(235, curve("-62,30 -50,0 -10,-8 30,-12 50,10 50,40 0,46 -50,46")),
    Part(245, oval(-34, 26, 22, 20)),
    Part(245, tube(9, 8.5, "30,30 50,38 74,38")),
]


def in_poses(face: list[Part], profile: list[Part], tail: np.ndarray) -> list[Figure]:
    """Return sitting, standing (side view, front view) and lying figures, each without and with a tongue."""
    figures = []
    for body, rump, head, neck in (
        (SITTING, -0.25 + 0.6j, face, -0.5j),
        (STANDING, -0.46 - 0.02j, profile, 0.48 - 0.48j),
        (STANDING, -0.46 - 0.02j, face, 0.42 - 0.46j),
        (LYING, -0.52 + 0.26j, face, 0.4 - 0.26j),
    ):
        parts = [Part(225, tail + rump, TAIL), *body]
        parts += [Part(part.paint, 1.2 * part.outline + neck, HEAD) for part in head]
        for hidden in ("tongue", None):
            figures.append(Figure([part for part in parts if part.paint != hidden], (0, neck, rump)))
    return figures


ANIMALS = {1: in_poses(CAT_FACE, CAT_PROFILE, CAT_TAIL), 2: in_poses(DOG_FACE, DOG_PROFILE, DOG_TAIL)}
"""Label → figures: 1 for cats, 2 for dogs, in the same order of poses."""


# --------------------------------------------------------------------------------------------- objects
LUMPS = ((-35, 15, 205), (36, 16, 205), (-12, -14, 235), (22, -8, 235), (0, 20, 255))
BUSH = [Part(tone, oval(x, y, 32, 28)) for x, y, tone in LUMPS]
BOX = [Part(230, points("-50,40 50,40 50,-25 -50,-25")), Part(255, points("-50,-25 -40,-42 40,-42 50,-25"))]
BALL = [Part(255, oval(0, 0, 50, 50)), *both_sides(*lines("30,-40 10,0 30,40"))]
MUSHROOM = [Part(255, tube(13, 17, "0,-10 0,10 2,35")), Part(215, curve("0,-50 32,-38 50,0 20,5 0,5"))]
BIRD = [
    Part(255, curve("-75,-12 -30,-10 5,-40 36,-40 45,-10 20,30 -20,25")),
    Part(205, curve("-40,5 0,-10 20,0 0,20")),
    Part("pupil", oval(28, -24, 6, 6)),
    Part("beak", points("42,-28 68,-16 42,-10")),
]
CUSHION = [Part(255, curve("0,-28 44,-36 40,0 44,36 0,28"))]

OBJECTS = [Figure(parts) for parts in (BUSH, BOX, BALL, MUSHROOM, BIRD, CUSHION)]
"""Objects behind the animals and in front of them."""

POST = Figure([Part(235, points("-10,-190 10,-190 10,190 -10,190"))])
"""A vertical post; it spans the image if its scale is at least a quarter of the image size."""
