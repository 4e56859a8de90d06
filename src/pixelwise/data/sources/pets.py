"""The Oxford-IIIT Pet data set as it is published (Parkhi et al., "Cats and dogs", CVPR 2012).

    ROOT/images/Abyssinian_1.jpg
    ROOT/annotations/trimaps/Abyssinian_1.png      1 animal, 2 background, 3 outline
    ROOT/annotations/list.txt                      image, class, species (1 cat, 2 dog), breed
    ROOT/annotations/{trainval,test}.txt           the same lines, by split

The images folder contains a few files that are not listed; they are ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from pixelwise.data.io.images import ImageReader
from pixelwise.data.io.listing import existing_root
from pixelwise.data.labels import Labels
from pixelwise.data.sources.file_split import FolderSplit, Item
from pixelwise.data.splits import random_split
from pixelwise.errors import UserError, guess, some
from pixelwise.kinds import FilePath, Fraction
from pixelwise.types import Source

SPECIES = {"1": "cat", "2": "dog"}


class Animal(NamedTuple):
    """One line of a list file."""

    name: str
    """Name of the image without suffix."""
    species: str

    @property
    def breed(self) -> str:
        """The part of the name before the number."""
        return self.name.rpartition("_")[0]


class _Pets(Source):
    """Base class of both sources; a subclass defines the target of an animal.

    Args:
        root: the folder that holds `images` and `annotations`, or its parent.
        classes: names in the order of their indices.
        val: share of the validation split, taken from the published training images, breed by breed.
        test: share of the test split if the published one is missing.
        seed: seed of the random split.

    Raises:
        UserError: the folder has another layout, or a list cannot be read.
    """

    reader = ImageReader(3, exif="ignore")
    """The trimaps were drawn on the images as stored."""

    def __init__(
        self,
        root: FilePath,
        classes: Sequence[str],
        val: Fraction = 0.15,
        test: Fraction = 0.15,
        seed: int = 0,
    ) -> None:
        self.root = _find_root(existing_root(root))
        self.classes = [str(name) for name in classes]
        folder = self.root / "annotations"
        self.published = (folder / "trainval.txt").is_file() and (folder / "test.txt").is_file()
        names = ("trainval", "test") if self.published else ("list",)
        lists = [read_list(folder / f"{name}.txt") for name in names]
        shares: dict[str, Any] = {"val": val, "test": 0 if self.published else test, "seed": seed}
        self.animals: dict[str, list[Animal]] = {"train": [], "val": [], "test": []}
        for breed in sorted({animal.breed for animal in lists[0]}):
            of_breed = {animal.name: animal for animal in lists[0] if animal.breed == breed}
            for split, keys in random_split(list(of_breed), **shares).items():
                self.animals[split] += [of_breed[key] for key in keys]
        if self.published:
            self.animals["test"] = lists[1]
        self.shares = shares

    def split(self, name: str) -> FolderSplit | None:
        """Return the split, or None if it is empty.

        Raises:
            UserError: files are missing or unreadable.
        """
        items = [self.item(animal) for animal in self.animals[name]]
        return FolderSplit(items, self.reader, self.read) if items else None

    def item(self, animal: Animal) -> Item:
        """Return the files of an animal's image and target."""
        raise NotImplementedError

    def read(self, target: Any) -> np.ndarray | int:
        """Read an item's target: a mask or a class index."""
        return int(target)

    def image(self, animal: Animal) -> Path:
        """Path of the image."""
        return self.root / "images" / f"{animal.name}.jpg"

    def describe(self) -> str:
        """Describe the origin of the splits, for the start of a run."""
        origin = "published trainval.txt and test.txt" if self.published else "list.txt"
        return f"splits from {origin}, divided at random within each breed: {self.shares}"


class PetsSegmentation(_Pets):
    """Background, cat and dog per pixel; the outline, which the trimaps leave undecided, is ignored."""

    def __init__(self, root: FilePath, classes: Sequence[str], **options: Any) -> None:
        super().__init__(root, classes, **options)
        if len(self.classes) != 3:
            raise UserError("data.classes", found=self.classes, expected="three names: background, cat, dog")
        self._labels = {
            species: Labels(self.classes, remap={1: index, 2: 0, 3: 255}, ignore=[0])
            for index, species in ((1, "cat"), (2, "dog"))
        }
        self._species = {a.name: a.species for animals in self.animals.values() for a in animals}

    def item(self, animal: Animal) -> Item:
        """Image and trimap."""
        return Item(animal.name, self.image(animal), self.root / "annotations/trimaps" / f"{animal.name}.png")

    def read(self, target: Path) -> np.ndarray:
        """Decode a trimap by the species of its animal."""
        return self._labels[self._species[target.stem]].read(target)


class PetsClassification(_Pets):
    """Cat or dog, or one of the 37 breeds, per image.

    Args:
        root: as in `PetsSegmentation`.
        classes: names in the order of their indices: the species, or the breeds as in the file names.
        label: "species" or "breed".
        **options: shares and seed of the splits.

    Raises:
        UserError: the lists contain a name that is not a class.
    """

    def __init__(
        self,
        root: FilePath,
        classes: Sequence[str],
        label: Literal["species", "breed"] = "species",
        **options: Any,
    ) -> None:
        super().__init__(root, classes, **options)
        self.label = label
        names = {getattr(animal, label) for animals in self.animals.values() for animal in animals}
        if unknown := sorted(names - {*self.classes}):
            raise UserError(
                f"the lists in {self.root / 'annotations'} contain names that are not classes",
                found=some(unknown),
                expected=f"{some(self.classes, 8)} (data.classes)",
                fix=guess(f"perhaps … in data.classes should be {unknown[0]}?", unknown[0], self.classes),
            )

    def item(self, animal: Animal) -> Item:
        """Image and class index."""
        return Item(animal.name, self.image(animal), self.classes.index(getattr(animal, self.label)))


def read_list(file: Path) -> list[Animal]:
    """Read the animals of a list file, in its order.

    Raises:
        UserError: a line does not consist of image, class, species and breed.
    """
    animals = []
    for number, line in enumerate(file.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        columns = line.split()
        if len(columns) != 4 or columns[2] not in SPECIES:
            expected = "image, class, species (1 cat, 2 dog), breed: Abyssinian_1 1 1 1"
            raise UserError(f"{file}, line {number}", found=line, expected=expected)
        animals.append(Animal(columns[0], SPECIES[columns[2]]))
    if not animals:
        raise UserError(f"{file} lists no image")
    return animals


def _find_root(root: Path) -> Path:
    """Find the folder with this layout: the given one, or a folder directly inside."""
    for folder in (root, *sorted(path for path in root.iterdir() if path.is_dir())):
        if (folder / "annotations/list.txt").is_file() and (folder / "images").is_dir():
            return folder
    raise UserError(
        f"data.root={root} is not the Oxford-IIIT Pet data set",
        found=some(sorted(path.name for path in root.iterdir()), 8),
        expected="images/ and annotations/list.txt, as images.tar.gz and annotations.tar.gz unpack",
    )
