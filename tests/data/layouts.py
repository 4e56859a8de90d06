"""Small data sets in their published layouts."""

from __future__ import annotations

import numpy as np
from PIL import Image

BREEDS = {"Abyssinian": (1, 1, 1), "american_bulldog": (2, 2, 1), "Bengal": (6, 1, 2)}


def line(name):
    return " ".join(map(str, (name, *BREEDS[name.rpartition("_")[0]])))


def write_pets(root, published=True, per_breed=5):
    """Images of noise with a trimap: rows of animal, background and outline."""
    (root / "images").mkdir(parents=True)
    (root / "annotations/trimaps").mkdir(parents=True)
    names = [f"{breed}_{number}" for breed in BREEDS for number in range(1, per_breed + 1)]
    trimap = np.repeat(np.array([1, 2, 3], np.uint8), 8)[:, None] * np.ones((1, 30), np.uint8)
    rng = np.random.default_rng(0)
    for name in names:
        Image.fromarray(rng.integers(0, 256, (24, 30, 3), np.uint8)).save(root / f"images/{name}.jpg")
        Image.fromarray(trimap).save(root / f"annotations/trimaps/{name}.png")
    (root / "images/Abyssinian_100.mat").touch()  # as published: files that are not listed
    header = "#Image CLASS-ID SPECIES BREED ID\n#ID: 1:37 Class ids\n#SPECIES: 1:Cat 2:Dog\n"
    (root / "annotations/list.txt").write_text(header + "\n".join(map(line, names)) + "\n")
    if published:
        test = [name for name in names if name.endswith("_1")]
        train = [name for name in names if name not in test]
        for split, listed in {"trainval": train, "test": test}.items():
            (root / f"annotations/{split}.txt").write_text("\n".join(map(line, listed)) + "\n")
    return root
