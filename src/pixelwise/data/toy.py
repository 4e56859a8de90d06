"""Cats and dogs drawn from code: a data set that needs no download and costs a millisecond an image.

The two classes differ in shape alone (ears, face, tail). Coat, size, pose, position, light, backdrop and
everything in between come from the same distributions, so a model that scores well has learnt to see shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pixelwise.data.toy_drawing import Canvas, Placement, light
from pixelwise.data.toy_figures import ANIMALS, POST, THINGS
from pixelwise.data.toy_shapes import Figure, Joint
from pixelwise.errors import UserError
from pixelwise.types import Raw, Split

SPLITS = {"train": 0, "val": 1, "test": 2}
"""A part of the key of each scene's random numbers, so that no two splits share a scene."""

MIN_SIZE = 32
"""Pixels; on anything smaller the ears are gone."""

TURN = np.radians((0, 12, 15))
"""How far body, head and tail turn to either side."""

Painter = Callable[[np.random.Generator, int, int], tuple[np.ndarray, np.ndarray | int]]
"""(rng, index, size) → image and target."""


# ---------------------------------------------------------------------------------------------- scenes
def _spread(rng: np.random.Generator, count: int, gap: float, tries: int = 16) -> np.ndarray:
    """Centres (count,), complex from 0 to 1: the first try that keeps them `gap` apart, or else the best."""
    x, y = rng.uniform(0.2, 0.8, (tries, count)), rng.uniform(0.32, 0.7, (tries, count))
    centres = x + 1j * y
    distances = np.abs(centres[:, :, None] - centres[:, None]) + 2 * np.eye(count)
    return centres[distances.min((1, 2)).clip(max=gap).argmax()]


def _place(rng: np.random.Generator, size: int, centre: complex, scale: float, figure: Figure) -> Placement:
    """Turn and mirror a figure near a centre from 0 to 1, moved so that nearly all of it is in the image."""
    slack = 0.9 * scale * figure.reach
    x = np.clip(centre.real, slack.real, 1 - slack.real)
    y = np.clip(centre.imag, slack.imag, 1 - slack.imag)
    return Placement(size * complex(x, y), size * scale, rng.normal(0, 0.15), rng.random() < 0.5)


def _foot(figure: Figure, place: Placement) -> float:
    """The y of a figure's lowest point, in pixels."""
    return place.centre.imag + place.scale * figure.reach.imag


def _scatter(canvas: Canvas) -> None:
    """Put up to three things behind everything else."""
    rng = canvas.rng
    for _ in range(rng.integers(4)):
        x, y, scale, rotation = rng.uniform((0, 0.2, 0.08, -0.3), (1, 1, 0.2, 0.3))
        thing = THINGS[rng.integers(len(THINGS))]
        canvas.draw(thing, Placement(canvas.size * complex(x, y), canvas.size * scale, rotation))


def _occlude(canvas: Canvas, animals: list[Placement], heads: np.ndarray) -> None:
    """Put a post or a thing in front of some of the animals, but never in front of a head."""
    rng, size = canvas.rng, canvas.size
    for animal in animals:
        chance, across, down, scale = rng.uniform((0, -0.6, 0.4, 0.45), (1, 0.6, 0.9, 0.75))
        if chance < 0.2:
            figure = POST
            place = Placement(animal.centre.real + across * animal.scale + 0.5j * size, 0.6 * scale * size)
        elif chance < 0.5:
            figure = THINGS[rng.integers(len(THINGS))]
            place = Placement(animal.centre + complex(across, down) * animal.scale, scale * animal.scale)
        else:
            continue
        clearance = figure.reach * place.scale + (0.4 + 0.4j) * animal.scale
        offset = heads - place.centre
        if np.all((abs(offset.real) > clearance.real) | (abs(offset.imag) > clearance.imag)):
            canvas.draw(figure, place)


def paint_scene(
    rng: np.random.Generator, size: int, labels: Sequence[int], scales: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one scene.

    Args:
        rng: decides everything but the arguments.
        size: height and width in pixels.
        labels: 1 for each cat, 2 for each dog.
        scales: for each animal the square root of its area, as a share of `size`.

    Returns:
        The image (size, size, 3) uint8 and its index mask (size, size) uint8: 0 background, 1 cat, 2 dog.
    """
    canvas = Canvas(rng, size)
    _scatter(canvas)

    figures = [ANIMALS[label][rng.integers(len(ANIMALS[label]))] for label in labels]
    centres = _spread(rng, len(labels), gap=2 * scales.mean())
    places = [_place(rng, size, *each) for each in zip(centres, scales, figures, strict=True)]
    animals = list(zip(figures, places, labels, strict=True))
    animals.sort(key=lambda animal: _foot(*animal[:2]))  # what stands lower in the image is nearer
    for figure, place, label in animals:
        canvas.cast_shadow(figure, place)
        canvas.draw(figure, place, label, bend=rng.uniform(-1, 1, len(Joint)) * TURN)

    _occlude(canvas, places, np.concatenate([place(figure.head) for figure, place, _ in animals]))
    return light(rng, canvas.image), canvas.mask


def _segmentation_item(rng: np.random.Generator, index: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """One to three animals of any class, and the mask."""
    count = (1, 1, 2, 2, 3)[rng.integers(5)]
    low, high = {1: (0.31, 0.44), 2: (0.27, 0.35), 3: (0.23, 0.28)}[count]
    return paint_scene(rng, size, rng.integers(1, 3, count).tolist(), rng.uniform(low, high, count))


def _classification_item(rng: np.random.Generator, index: int, size: int) -> tuple[np.ndarray, int]:
    """One larger animal; cats have even indices, dogs odd ones, so the classes balance."""
    image, _ = paint_scene(rng, size, [1 + index % 2], rng.uniform(0.42, 0.52, 1))
    return image, index % 2


# --------------------------------------------------------------------------------------------- sources
@dataclass(frozen=True)
class _ToySplit:
    """Draws scene `index` from (seed, name, index) alone, whatever the order and however many there are."""

    name: str
    count: int
    seed: int
    image_size: int
    paint: Painter

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Raw:
        index = range(self.count)[index]  # raises IndexError, which ends a loop over the split
        stream = np.random.Philox(key=[self.seed, SPLITS[self.name]], counter=[0, 0, 0, index])
        image, target = self.paint(np.random.Generator(stream), index, self.image_size)
        return Raw(image, target, f"{self.name}/{index:06d}")

    def size(self, index: int) -> tuple[int, int]:
        return self.image_size, self.image_size


class _Toy:
    """What both sources share; a subclass says how to paint an item and which classes it has.

    Args:
        seed: chooses the scenes.
        size: height and width of the images in pixels.
        counts: number of scenes in each split; a split left out does not exist.
        classes: their names, in the order of the targets.
    """

    paint: Painter
    known: tuple[str, ...]

    def __init__(
        self, classes: Sequence[str], counts: Mapping[str, int], seed: int = 0, size: int = 96
    ) -> None:
        if len(classes) != len(self.known):
            raise UserError(
                f"data.classes: {type(self).__name__} draws {len(self.known)} classes",
                found=list(classes),
                expected=f"a name for each of {', '.join(self.known)}, in this order",
                fix=f"data.classes=[{','.join(self.known)}]",
            )
        if size < MIN_SIZE:
            raise UserError(
                "data.source.size: too small to tell a cat from a dog",
                found=size,
                expected=f"at least {MIN_SIZE} pixels",
                fix="data.source.size=96",
            )
        for name, count in counts.items():
            if name not in SPLITS:
                raise UserError(
                    f"data.source.counts.{name}: no such split",
                    found=name,
                    expected=f"one of {', '.join(SPLITS)}",
                    fix=f"~data.source.counts.{name}",
                )
            if count < 1:
                raise UserError(
                    f"data.source.counts.{name}: a split has at least one scene",
                    found=count,
                    expected="1 or more",
                    fix=f"data.source.counts.{name}=100, or ~data.source.counts.{name} for no such split",
                )
        self.counts, self.seed, self.size = dict(counts), seed, size

    def split(self, name: str) -> Split | None:
        """The split of this name, or None where `counts` has none."""
        if name not in self.counts:
            return None
        return _ToySplit(name, self.counts[name], self.seed, self.size, self.paint)


class ToySegmentation(_Toy):
    """Scenes of one to three animals with an index mask: 0 background, 1 cat, 2 dog."""

    known = ("background", "cat", "dog")
    paint = staticmethod(_segmentation_item)


class ToyClassification(_Toy):
    """Pictures of one animal: 0 cat, 1 dog, equally many of each."""

    known = ("cat", "dog")
    paint = staticmethod(_classification_item)
