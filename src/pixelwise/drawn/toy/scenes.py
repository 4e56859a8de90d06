"""Cats and dogs drawn by code: a data set without a download that takes a millisecond per image.

The two classes differ in shape only (ears, face, tail). Coat, size, pose, position, light and background come
from the same distributions, so that a model needs to learn shapes to get good scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from pixelwise.checks import checked
from pixelwise.drawn.toy.drawing import HEAD, Canvas, Figure, Sprite, light
from pixelwise.drawn.toy.figures import ANIMALS, OBJECTS, POST
from pixelwise.errors import UserError
from pixelwise.kinds import Count, Where, Whole
from pixelwise.types import Raw, Source, Split

SPLITS = {"train": 0, "val": 1, "test": 2}
"""Part of the random key of each scene, so that no two splits have a scene in common."""

Scene = tuple[np.ndarray, np.ndarray]
"""Image (size, size, 3) and index mask (size, size), both uint8: 0 background, 1 cat, 2 dog."""


# ---------------------------------------------------------------------------------------------- scenes
def _spread(rng: np.random.Generator, count: int, gap: float) -> np.ndarray:
    """Return centres (count,), complex from 0 to 1, with distances of `gap` or the largest of 16 tries."""
    centres = rng.uniform(0.2, 0.8, (16, count)) + 1j * rng.uniform(0.32, 0.7, (16, count))
    distances = np.abs(centres[:, :, None] - centres[:, None]) + 2 * np.eye(count)
    return centres[distances.min((1, 2)).clip(max=gap).argmax()]


def _place(rng: np.random.Generator, size: int, figure: Figure, centre: complex, scale: float) -> Sprite:
    """Rotate and mirror a figure near a centre, moved so that nearly all of it is inside the image."""
    slack = 0.9 * scale * figure.reach
    x = np.clip(centre.real, slack.real, 1 - slack.real)
    y = np.clip(centre.imag, slack.imag, 1 - slack.imag)
    return Sprite(figure, size * complex(x, y), size * scale, rng.normal(0, 0.15), rng.random() < 0.5)


def _occlude(canvas: Canvas, animals: list[Sprite]) -> None:
    """Draw a post or another object in front of some animals, but never in front of a head."""
    heads = np.array([animal.pixels(animal.figure.pivots[HEAD]) for animal in animals])
    for animal in animals:
        chance, across, down, scale = canvas.rng.uniform((0, -0.6, 0.4, 0.45), (1, 0.6, 0.9, 0.75))
        centre = animal.centre + complex(across, down) * animal.scale
        if chance < 0.2:
            cover = Sprite(POST, complex(centre.real, 0.5 * canvas.size), 0.6 * scale * canvas.size)
        elif chance < 0.5:
            cover = Sprite(OBJECTS[canvas.rng.integers(len(OBJECTS))], centre, scale * animal.scale)
        else:
            continue
        clearance = cover.figure.reach * cover.scale + (0.4 + 0.4j) * animal.scale
        offset = heads - cover.centre
        if np.all((abs(offset.real) > clearance.real) | (abs(offset.imag) > clearance.imag)):
            canvas.draw(cover)


def paint_scene(rng: np.random.Generator, size: int, labels: list[int], scales: np.ndarray) -> Scene:
    """Draw one scene.

    Args:
        rng: the only source of randomness.
        size: height and width in pixels.
        labels: 1 for each cat, 2 for each dog.
        scales: square root of the area of each animal, as a fraction of `size`.

    Returns:
        The image and the mask.
    """
    canvas = Canvas(rng, size)
    for _ in range(rng.integers(4)):  # objects behind the animals
        x, y, scale, rotation = rng.uniform((0, 0.2, 0.08, -0.3), (1, 1, 0.2, 0.3))
        item = OBJECTS[rng.integers(len(OBJECTS))]
        canvas.draw(Sprite(item, size * complex(x, y), size * scale, rotation))

    figures = [ANIMALS[label][rng.integers(len(ANIMALS[label]))] for label in labels]
    centres = _spread(rng, len(labels), gap=2 * scales.mean())
    animals = [_place(rng, size, *animal) for animal in zip(figures, centres, scales, strict=True)]
    feet = [animal.centre.imag + animal.scale * animal.figure.reach.imag for animal in animals]
    for i in np.argsort(feet):  # an animal lower in the image is nearer
        canvas.cast_shadow(animals[i])
        canvas.draw(animals[i], labels[i], bend=rng.uniform(-1, 1, 3))

    _occlude(canvas, animals)
    return light(rng, canvas.image), canvas.mask


# --------------------------------------------------------------------------------------------- sources
@dataclass(frozen=True)
class _ToySplit(Split):
    """Draws scene `index` from (seed, name, index) alone, whatever the order and number of scenes."""

    toy: _Toy
    name: str

    def __len__(self) -> int:
        return self.toy.counts[self.name]

    def __getitem__(self, index: int) -> Raw:
        index = range(len(self))[index]  # raises IndexError, which ends a loop over the split
        stream = np.random.Philox(key=[self.toy.seed, SPLITS[self.name]], counter=[0, 0, 0, index])
        return Raw(*self.toy.paint(np.random.Generator(stream), index), self.key(index))

    def key(self, index: int) -> str:
        """Return the key of one item, without drawing it."""
        return f"{self.name}/{index:06d}"

    def size(self, index: int) -> tuple[int, int]:
        """Return (H, W) of one image."""
        return self.toy.size, self.toy.size


Side = Annotated[
    int, Where(lambda v: v >= 32, "a whole number of pixels from 32, so that cats and dogs can be told apart")
]


@checked
class _Toy(Source):
    """Base class of both sources; a subclass defines its classes and draws the items.

    Args:
        classes: names of the classes, in the order of the class indices.
        counts: number of scenes in each split; a split without a number does not exist.
        seed: random seed of the scenes.
        size: height and width of the images in pixels.

    Raises:
        UserError: an argument is out of its range.
    """

    class_names: tuple[str, ...]

    def __init__(
        self,
        classes: Sequence[str],
        counts: Mapping[Literal["train", "val", "test"], Count],
        seed: Whole = 0,
        size: Side = 96,
    ) -> None:
        if len(classes) != len(self.class_names):
            what = f"data.classes: {type(self).__name__} draws {len(self.class_names)} classes"
            expected = f"a name for each of {', '.join(self.class_names)}, in this order"
            fix = f"data.classes=[{','.join(self.class_names)}]"
            raise UserError(what, found=list(classes), expected=expected, fix=fix)
        self.counts = {str(name): count for name, count in counts.items()}
        self.seed, self.size = seed, size

    def paint(self, rng: np.random.Generator, index: int) -> tuple[np.ndarray, np.ndarray | int]:
        """Return the image and the target of one item."""
        raise NotImplementedError

    def split(self, name: str) -> Split | None:
        """Return the split of this name, or None if `counts` does not have it."""
        return _ToySplit(self, name) if name in self.counts else None


class ToySegmentation(_Toy):
    """Scenes of one to three animals with an index mask: 0 background, 1 cat, 2 dog."""

    class_names = ("background", "cat", "dog")

    def paint(self, rng: np.random.Generator, index: int) -> Scene:
        """Return an image of one to three animals (smaller if there are more) and its mask."""
        count = (1, 1, 2, 2, 3)[rng.integers(5)]
        low, high = {1: (0.31, 0.44), 2: (0.27, 0.35), 3: (0.23, 0.28)}[count]
        return paint_scene(rng, self.size, rng.integers(1, 3, count).tolist(), rng.uniform(low, high, count))


class ToyClassification(_Toy):
    """Images of one animal: 0 cat, 1 dog, the same number of each."""

    class_names = ("cat", "dog")

    def paint(self, rng: np.random.Generator, index: int) -> tuple[np.ndarray, int]:
        """Return an image of one larger animal and its class: cats at even indices, dogs at odd ones."""
        image, _ = paint_scene(rng, self.size, [1 + index % 2], rng.uniform(0.42, 0.52, 1))
        return image, index % 2
