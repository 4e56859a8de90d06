"""Speed of random crops from decoded tiles, compared with decoding saved patches.

    python benchmarks/tiles.py             # 512² crops of 6000² tiles; --size, --crop, --tiles, --seconds

Both run in this process on one thread and read image and label. The patches are PNG files of the same size
that were cut before, as most projects use them. The goal is at least twice their rate.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from pixelwise.augmentation import Augmentation
from pixelwise.data.loader import Samples
from pixelwise.data.samplers import SampleIndex
from pixelwise.data.splits import Split
from pixelwise.drawn.city.potsdam_release import PALETTE, PotsdamSynthetic

CLASSES = ["impervious", "building", "low_vegetation", "tree", "car", "clutter"]


def main() -> None:
    """Print crops per second of each way, measured in turn, and the ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (("size", 6000), ("crop", 512), ("tiles", 2), ("seconds", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        tiles = [f"2_{10 + i}" for i in range(options.tiles)]
        source = PotsdamSynthetic(
            root / "tiles",
            inputs=["RGB"],
            split={"train": tiles},
            size=options.size,
            classes=CLASSES,
            palette=PALETTE.tolist(),
            window=options.crop,
        )
        split = source.split("train")
        assert split is not None
        patches = save_patches(root, split, options.crop)
        samples = Samples(split, [Augmentation(options.crop)], seed=0, training=True)
        ways: dict[str, Callable[[int], object]] = {
            "crops from tiles": lambda index: samples[SampleIndex(0, 0, index % len(split))],
            "PNG patches, OpenCV": lambda index: [
                cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in patches[index % len(patches)]
            ],
            "PNG patches, Pillow": lambda index: [
                np.array(Image.open(path)) for path in patches[index % len(patches)]
            ],
        }
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(3):
            for name, read in ways.items():
                rates[name].append(rate(read, options.seconds / 3))
    medians = {name: float(np.median(values)) for name, values in rates.items()}
    for name, median in medians.items():
        print(f"{name:<20} {median:8.1f} a second   {medians['crops from tiles'] / median:5.2f}×")


def save_patches(root: Path, split: Split, size: int) -> list[tuple[Path, Path]]:
    """Cut the windows of a split into PNG files, image and label."""
    patches = []
    for index in range(len(split)):
        raw = split[index]
        assert isinstance(raw.target, np.ndarray)
        assert raw.target.shape == (size, size)
        both = root / f"{index}.png", root / f"{index}_label.png"
        Image.fromarray(raw.image).save(both[0])
        Image.fromarray(raw.target).save(both[1])
        patches.append(both)
    order = np.random.default_rng(0).permutation(len(patches))
    return [patches[i] for i in order]


def rate(read: Callable[[int], object], seconds: float) -> float:
    """Return samples per second, after three that are not counted."""
    for index in range(3):
        read(index)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        read(count)
        count += 1
    return count / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
