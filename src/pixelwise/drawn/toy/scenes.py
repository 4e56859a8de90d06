"""Cats and dogs drawn from code: a data set that needs no download and costs a millisecond an image.

The two classes differ in shape alone (ears, face, tail). Coat, size, pose, position, light, backdrop and
everything in between come from the same distributions, so a model that scores well has learnt to see shapes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pixelwise import checks
from pixelwise.drawn.toy.drawing import HEAD, Canvas, Figure, Sprite, light
from pixelwise.drawn.toy.figures import ANIMALS, POST, THINGS
from pixelwise.errors import UserError
from pixelwise.types import Raw, Source, Split

SPLITS = {"train": 0, "val": 1, "test": 2}
"""A part of the key of each scene's random numbers, so that no two splits share a scene."""

Scene = tuple[np.ndarray, np.ndarray]
"""Image (size, size, 3) and index mask (size, size), both uint8: 0 background, 1 cat, 2 dog."""


# ---------------------------------------------------------------------------------------------- scenes
def _spread(rng: np.random.Generator, count: int, gap: float) -> np.ndarray:
    """Centres (count,), complex from 0 to 1: of 16 tries the first `gap` apart, or the best."""
    centres = rng.uniform(0.2, 0.8, (16, count)) + 1j * rng.uniform(0.32, 0.7, (16, count))
    distances = np.abs(centres[:, :, None] - centres[:, None]) + 2 * np.eye(count)
    return centres[distances.min((1, 2)).clip(max=gap).argmax()]


def _place(rng: np.random.Generator, size: int, figure: Figure, centre: complex, scale: float) -> Sprite:
    """Turn and mirror a figure near a centre from 0 to 1, moved so that nearly all of it is in the image."""
    slack = 0.9 * scale * figure.reach
    x = np.clip(centre.real, slack.real, 1 - slack.real)
    y = np.clip(centre.imag, slack.imag, 1 - slack.imag)
    return Sprite(figure, size * complex(x, y), size * scale, rng.normal(0, 0.15), rng.random() < 0.5)


def _occlude(canvas: Canvas, animals: list[Sprite]) -> None:
    """Put a post or a thing in front of some of the animals, but never in front of a head."""
    heads = np.array([animal.pixels(animal.figure.pivots[HEAD]) for animal in animals])
    for animal in animals:
        chance, across, down, scale = canvas.rng.uniform((0, -0.6, 0.4, 0.45), (1, 0.6, 0.9, 0.75))
        centre = animal.centre + complex(across, down) * animal.scale
        if chance < 0.2:
            cover = Sprite(POST, complex(centre.real, 0.5 * canvas.size), 0.6 * scale * canvas.size)
        elif chance < 0.5:
            cover = Sprite(THINGS[canvas.rng.integers(len(THINGS))], centre, scale * animal.scale)
        else:
            continue
        clearance = cover.figure.reach * cover.scale + (0.4 + 0.4j) * animal.scale
        offset = heads - cover.centre
        if np.all((abs(offset.real) > clearance.real) | (abs(offset.imag) > clearance.imag)):
            canvas.draw(cover)


def paint_scene(rng: np.random.Generator, size: int, labels: list[int], scales: np.ndarray) -> Scene:
    """Draw one scene.

    Args:
        rng: decides everything but the arguments.
        size: height and width in pixels.
        labels: 1 for each cat, 2 for each dog.
        scales: for each animal the square root of its area, as a share of `size`.

    Returns:
        Its image and its mask.
    """
    canvas = Canvas(rng, size)
    for _ in range(rng.integers(4)):  # things behind the animals
        x, y, scale, rotation = rng.uniform((0, 0.2, 0.08, -0.3), (1, 1, 0.2, 0.3))
        thing = THINGS[rng.integers(len(THINGS))]
        canvas.draw(Sprite(thing, size * complex(x, y), size * scale, rotation))

    figures = [ANIMALS[label][rng.integers(len(ANIMALS[label]))] for label in labels]
    centres = _spread(rng, len(labels), gap=2 * scales.mean())
    animals = [_place(rng, size, *each) for each in zip(figures, centres, scales, strict=True)]
    feet = [animal.centre.imag + animal.scale * animal.figure.reach.imag for animal in animals]
    for i in np.argsort(feet):  # who stands lower in the image is nearer
        canvas.cast_shadow(animals[i])
        canvas.draw(animals[i], labels[i], bend=rng.uniform(-1, 1, 3))

    _occlude(canvas, animals)
    return light(rng, canvas.image), canvas.mask


# --------------------------------------------------------------------------------------------- sources
@dataclass(frozen=True)
class _ToySplit(Split):
    """Draws scene `index` from (seed, name, index) alone, whatever the order and however many there are."""

    toy: _Toy
    name: str

    def __len__(self) -> int:
        return self.toy.counts[self.name]

    def __getitem__(self, index: int) -> Raw:
        index = range(len(self))[index]  # raises IndexError, which ends a loop over the split
        stream = np.random.Philox(key=[self.toy.seed, SPLITS[self.name]], counter=[0, 0, 0, index])
        return Raw(*self.toy.paint(np.random.Generator(stream), index), self.key(index))

    def key(self, index: int) -> str:
        """The key of one item, found without drawing it."""
        return f"{self.name}/{index:06d}"

    def size(self, index: int) -> tuple[int, int]:
        """(H, W) of one image."""
        return self.toy.size, self.toy.size


class _Toy(Source):
    """What both sources share; a subclass says how to paint an item and which classes it has.

    Args:
        classes: their names, in the order of the targets.
        counts: number of scenes in each split; a split left out does not exist.
        seed: chooses the scenes.
        size: height and width of the images in pixels.
    """

    known: tuple[str, ...]

    def __init__(self, classes: list[str], counts: dict[str, int], seed: int = 0, size: int = 96) -> None:
        if len(classes) != len(self.known):
            what = f"data.classes: {type(self).__name__} draws {len(self.known)} classes"
            expected = f"a name for each of {', '.join(self.known)}, in this order"
            fix = f"data.classes=[{','.join(self.known)}]"
            raise UserError(what, found=list(classes), expected=expected, fix=fix)
        pixels = "one number of pixels, at least 32, to tell a cat from a dog"  # below that the ears are gone
        key = "data.source.size, which is data.crop_size"
        self.size = checks.whole(key, size, 32, expected=pixels, fix="data.crop_size=96")
        for name, count in counts.items():
            expected = f"1 scene or more for {', '.join(SPLITS)}"
            key, low = f"data.source.counts.{name}", 1 if name in SPLITS else math.inf
            checks.whole(key, count, low, expected=expected, fix=f"~{key}")
        self.counts, self.seed = dict(counts), checks.whole("data.source.seed", seed, 0)

    def paint(self, rng: np.random.Generator, index: int) -> tuple[np.ndarray, np.ndarray | int]:
        """Image and target of one item."""
        raise NotImplementedError

    def split(self, name: str) -> Split | None:
        """The split of this name, or None where `counts` has none."""
        return _ToySplit(self, name) if name in self.counts else None


class ToySegmentation(_Toy):
    """Scenes of one to three animals with an index mask: 0 background, 1 cat, 2 dog."""

    known = ("background", "cat", "dog")

    def paint(self, rng: np.random.Generator, index: int) -> Scene:
        """Animals of any class, the smaller the more there are, and the mask."""
        count = (1, 1, 2, 2, 3)[rng.integers(5)]
        low, high = {1: (0.31, 0.44), 2: (0.27, 0.35), 3: (0.23, 0.28)}[count]
        return paint_scene(rng, self.size, rng.integers(1, 3, count).tolist(), rng.uniform(low, high, count))


class ToyClassification(_Toy):
    """Pictures of one animal: 0 cat, 1 dog, equally many of each."""

    known = ("cat", "dog")

    def paint(self, rng: np.random.Generator, index: int) -> tuple[np.ndarray, int]:
        """One larger animal; cats have even indices, dogs odd ones, so the classes balance."""
        image, _ = paint_scene(rng, self.size, [1 + index % 2], rng.uniform(0.42, 0.52, 1))
        return image, index % 2
