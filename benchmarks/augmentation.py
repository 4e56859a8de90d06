"""Time of one augmented sample on one thread, compared with the same augmentation in torchvision v2.

    python benchmarks/augmentation.py

Image and mask of 600² pixels become 512². The two sides alternate in each round, so that other load on the
machine slows both; the ratio is the median of the ratios of the rounds.
"""

from collections.abc import Callable
from time import perf_counter

import cv2
import numpy as np
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from pixelwise.augmentation import Augmentation, Blur, Colour, Geometry

ROUNDS = 60
SIZE = 512
TURN, ZOOM, JITTER = 10, (0.8, 1.25), {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.02}

crop = v2.RandomCrop(SIZE)
fill = {tv_tensors.Image: 0, tv_tensors.Mask: 255}
affine = v2.RandomAffine(TURN, scale=ZOOM, interpolation=v2.InterpolationMode.BILINEAR, fill=fill)
colour = v2.ColorJitter(**JITTER)

# name: (our augmentation, the same in torchvision)
CASES: dict[str, tuple[Augmentation, v2.Transform]] = {
    "crop": (Augmentation(SIZE), crop),
    "+ flip": (
        Augmentation(SIZE, geometry=Geometry(hflip=1)),
        v2.Compose([crop, v2.RandomHorizontalFlip(1)]),
    ),
    "+ rotation, zoom": (
        Augmentation(SIZE, geometry=Geometry(rotate=TURN, scale=ZOOM)),
        v2.Compose([affine, crop]),
    ),
    "+ colour": (Augmentation(SIZE, colour=Colour(**JITTER)), v2.Compose([crop, colour])),
    "+ blur": (
        Augmentation(SIZE, extra={"blur": Blur((0.7, 0.7), p=1)}),
        v2.Compose([crop, v2.GaussianBlur(7, sigma=0.7)]),
    ),
    "all of it": (
        Augmentation(
            SIZE,
            geometry=Geometry(hflip=0.5, rotate=TURN, scale=ZOOM),
            colour=Colour(**JITTER),
            extra={"blur": Blur((0.7, 0.7), p=1)},
        ),
        v2.Compose([affine, crop, v2.RandomHorizontalFlip(), colour, v2.GaussianBlur(7, sigma=0.7)]),
    ),
}


def milliseconds(work: Callable[[], object]) -> float:
    """Return the wall time of one call."""
    start = perf_counter()
    work()
    return 1000 * (perf_counter() - start)


def main() -> None:
    """Print one line per case."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (600, 600, 3), dtype=np.uint8)
    mask = rng.integers(0, 6, (600, 600), dtype=np.uint8)
    tensors = tv_tensors.Image(image.transpose(2, 0, 1).copy()), tv_tensors.Mask(mask)

    print(f"{'':<18}{'pixelwise':>10}{'torchvision':>13}{'ratio':>8}   (ms per sample, median of {ROUNDS})")
    for name, (ours, theirs) in CASES.items():
        times = np.array(
            [
                (milliseconds(lambda: ours(image, mask, rng)), milliseconds(lambda: theirs(*tensors)))  # noqa: B023
                for _ in range(ROUNDS + 3)
            ]
        )[3:]
        ratio = np.median(times[:, 1] / times[:, 0])
        print(f"{name:<18}{np.median(times[:, 0]):>10.2f}{np.median(times[:, 1]):>13.2f}{ratio:>7.1f}×")


if __name__ == "__main__":
    main()
