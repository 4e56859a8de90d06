"""Tiny copies of public data sets in their published layouts, with their known traps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf
from PIL import Image

CONF = Path(__file__).parents[2] / "conf/data"
RNG = np.random.default_rng(0)


def stripes(values: list[int]) -> np.ndarray:
    """(40, 60) uint8: one stripe for each value."""
    columns = np.array(values, np.uint8)[np.arange(60) * len(values) // 60]
    return np.repeat(columns[None], 40, axis=0)


def save(file: Path, array: np.ndarray, palette: list[int] | None = None) -> None:
    """Write an image, with its folders."""
    file.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    if palette:
        image.putpalette(palette)
    image.save(file)


def photo(file: Path, side: tuple[int, int] = (40, 60)) -> None:
    """Write an image of noise."""
    save(file, RNG.integers(0, 256, (*side, 3), np.uint8))


def ade20k(root: Path) -> None:
    """0 is no class, 1…150 are the classes."""
    for split, prefix, count in (("training", "train", 4), ("validation", "val", 2)):
        for number in range(1, count + 1):
            name = f"ADE_{prefix}_{number:08d}"
            photo(root / f"images/{split}/{name}.jpg")
            save(root / f"annotations/{split}/{name}.png", stripes([0, 1, 2, 150]))


def cityscapes(root: Path) -> None:
    """34 ids, licence plates, several files of labels for each image, and empty labels for test."""
    for split, city, count in (("train", "aachen", 4), ("val", "lindau", 2), ("test", "berlin", 2)):
        for number in range(count):
            name = f"{city}_{number:06d}_000019"
            labels = stripes([0, 1, 3] if split == "test" else [*range(34), 255])
            photo(root / f"leftImg8bit/{split}/{city}/{name}_leftImg8bit.png")
            save(root / f"gtFine/{split}/{city}/{name}_gtFine_labelIds.png", labels)
            save(root / f"gtFine/{split}/{city}/{name}_gtFine_instanceIds.png", labels)
            photo(root / f"gtFine/{split}/{city}/{name}_gtFine_color.png")
            (root / f"gtFine/{split}/{city}/{name}_gtFine_polygons.json").write_text("{}")


def voc2012(root: Path) -> None:
    """Masks with a colour table and outlines of 255, lists of names, and photographs without masks."""
    palette = OmegaConf.load(CONF / "voc2012.yaml").palette
    table = [part for colour in palette for part in colour] + [0] * 3 * (255 - len(palette)) + [224, 224, 192]
    names = {
        "train": [f"2007_{n:06d}" for n in range(4)],
        "val": [f"2008_{n:06d}" for n in range(2)],
        "trainaug": [f"2007_{n:06d}" for n in range(6)],
    }
    for split, listed in names.items():
        for name in listed:
            photo(root / f"JPEGImages/{name}.jpg")
            for folder in ("SegmentationClassAug", *["SegmentationClass"] * (split != "trainaug")):
                save(root / f"{folder}/{name}.png", stripes([0, 255, 1, 20]), table)
        lists = root / "ImageSets/Segmentation"
        lists.mkdir(parents=True, exist_ok=True)
        (lists / f"{split}.txt").write_text("\n".join(listed) + "\n")
    photo(root / "JPEGImages/2009_000001.jpg")  # for detection only


def loveda(root: Path) -> None:
    """Two regions with the same file names, 0 where there are no data, and a test split without masks."""
    for split, count in (("Train", 2), ("Val", 1), ("Test", 1)):
        for region in ("Rural", "Urban"):
            for number in range(count):
                photo(root / f"{split}/{region}/images_png/{number}.png")
                if split != "Test":
                    save(root / f"{split}/{region}/masks_png/{number}.png", stripes([0, 1, 4, 7]))


def imagenet(root: Path) -> None:
    """1,000 class folders with one small photograph each in train, and three in val."""
    for index, folder in enumerate(OmegaConf.load(CONF / "imagenet.yaml").source.class_folders):
        photo(root / f"train/{folder}/{folder}_{index}.JPEG", (8, 8))
        if index in (0, 255, 999):
            photo(root / f"val/{folder}/ILSVRC2012_val_{index:08d}.JPEG", (40, 60))


BENCHMARKS: dict[str, Callable[[Path], None]] = {
    "ade20k": ade20k,
    "cityscapes": cityscapes,
    "voc2012": voc2012,
    "loveda": loveda,
    "imagenet": imagenet,
}
"""What draws each of them below a folder, by the name of the option of conf/data."""
