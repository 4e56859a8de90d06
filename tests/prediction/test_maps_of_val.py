"""Maps of predict.py for the validation images have the scores that the run reports."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from tests.data.formats import LOSSLESS, LOSSY, turned
from tests.helpers import Script

CLASSES = ("background", "figure")
TRAIN = (
    "encoder=test_resnet",
    "data.classes=[background,figure]",
    "data.batch_size=4",
    "data.num_workers=0",
    "optimizer.lr=3e-3",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "callbacks.report.most=0",
)


def scene(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Bright figures on dark noise (48, 64, 3) uint8, and their mask; every rotation and flip differs."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((48, 64), np.uint8)
    top, left = rng.integers(4, 16, 2)
    mask[top : top + 20, left : left + 8] = mask[top + 14 : top + 20, left : left + 34] = 1
    image = rng.integers(0, 60, (48, 64, 3)) + 150 * mask[..., None]
    return image.astype(np.uint8), mask


def score_of_maps(maps: Path, masks: Path) -> dict[str, float]:
    """The IoU of each class from the confusion matrix of all maps."""
    counts = np.zeros((len(CLASSES), 256), np.int64)
    for file in masks.iterdir():
        with rasterio.open(file) as dataset:
            truth = dataset.read(1)
        raster = maps / f"{file.stem}.tif"
        written = raster if raster.exists() else raster.with_suffix(".png")
        with rasterio.open(written) as dataset:
            predicted = dataset.read(1)
        assert predicted.shape == truth.shape, file.stem
        counts += [np.bincount(predicted[truth == label], minlength=256) for label in range(len(CLASSES))]
    hits = np.array([counts[label, label] for label in range(len(CLASSES))])
    union = counts[:, :-1].sum(1) + counts[:, : len(CLASSES)].sum(0) - hits
    return dict(zip(CLASSES, (hits / union).tolist(), strict=True))


def check(script: Script, folder: Path, words: list[str], images: Path, masks: Path, minimum: float) -> None:
    """Train, predict the validation images, and compare the scores."""
    done = script("train.py", *words, *TRAIN, f"hydra.run.dir={folder / 'run'}")
    assert done.returncode == 0, done.stderr
    done = script("predict.py", f"run={folder / 'run'}", f"input={images}", f"output={folder / 'maps'}")
    assert done.returncode == 0, done.stderr
    scores = json.loads((folder / "run/metrics.json").read_text())
    for name, iou in score_of_maps(folder / "maps", masks).items():
        # another batch size may round a few pixels at class borders differently
        assert abs(iou - scores[f"val/iou/{name}"]) < 5e-4
    assert scores["val/iou/figure"] > minimum


def test_every_image_format_gives_the_scores_of_the_run(script: Script, tmp_path: Path) -> None:
    """One run, trained on PNGs with orientation tags and validated on every 8-bit format."""
    root = tmp_path / "data"
    for name in ("train/images", "train/masks", "val/images", "val/masks"):
        (root / name).mkdir(parents=True)
    for seed in range(8):
        image, mask = scene(seed)
        turned(2 + seed % 7)(root / f"train/images/{seed}.png", image)
        Image.fromarray(mask).save(root / f"train/masks/{seed}.png")
    for seed, (name, write) in enumerate({**LOSSLESS, **LOSSY}.items()):
        image, mask = scene(100 + seed)
        end = name.rpartition(".")[2]
        write(root / f"val/images/{seed}.{end}", image)
        Image.fromarray(mask).save(root / f"val/masks/{seed}.png")
    words = ["data=folder", f"data.root={root}", "data.crop_size=48", "epochs=12"]
    check(script, tmp_path, words, root / "val/images", root / "val/masks", 0.7)


@pytest.mark.slow
def test_tiles_with_nodata_and_chosen_bands_give_its_scores(script: Script, tmp_path: Path) -> None:
    """16-bit tiles, larger than a window, with nodata and with bands in another order."""
    root = tmp_path / "data"
    for split, count in {"train": 4, "val": 2}.items():
        for seed in range(count):
            rows = [[scene(1000 * count + 10 * seed + 2 * row + i) for i in range(2)] for row in range(2)]
            image, mask = (
                np.concatenate([np.concatenate([pair[kind] for pair in row], axis=1) for row in rows])
                for kind in (0, 1)
            )
            deep = image.astype(np.uint16) * 10
            deep[40:70, 20:] = 65535
            for kind, array, nodata in (("images", deep, 65535), ("masks", mask[..., None], None)):
                path = root / kind / split / f"{seed}.tif"
                path.parent.mkdir(parents=True, exist_ok=True)
                profile = {"driver": "GTiff", "height": 96, "width": 128, "dtype": array.dtype}
                with rasterio.open(path, "w", count=array.shape[2], nodata=nodata, **profile) as dataset:
                    dataset.write(np.moveaxis(array, -1, 0))
    words = ["data=tiles", f"data.root={root}", "data.crop_size=48", "data.source.window=64", "epochs=6"]
    words += ["data.source.bands=[3,1]", "data.channels=2", "data.source.draws.count=32"]
    check(script, tmp_path, words, root / "images/val", root / "masks/val", 0.5)
    with rasterio.open(tmp_path / "maps/0.tif") as dataset:
        nothing = dataset.read(1) == 255
    assert nothing[40:70, 20:].all()
    assert nothing.sum() == 30 * 108
