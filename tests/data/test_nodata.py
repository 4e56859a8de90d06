"""One rule of nodata: for training tiles, folders, statistics and prediction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from tests.helpers import refused

from pixelwise.augmentation import Augmentation, CenterCrop
from pixelwise.data.io.images import ImageReader
from pixelwise.data.io.nodata import filled, nodata_at
from pixelwise.data.io.raster_reader import RasterReader
from pixelwise.data.io.rasters import gdal
from pixelwise.data.labels import Labels
from pixelwise.data.loader import Samples
from pixelwise.data.samplers import SampleIndex
from pixelwise.data.sources.class_folders import FolderClassification
from pixelwise.data.sources.folder import FolderSegmentation
from pixelwise.data.sources.tiles import Tiles
from pixelwise.data.statistics import channel_statistics, class_histogram
from pixelwise.data.tiles.split import CropSampling
from pixelwise.types import FULL_SCALE, IGNORE

pytestmark = pytest.mark.fast

CLASSES = ["water", "land"]
NAN = float("nan")


def write(path: Path, image: np.ndarray, **options) -> Path:
    """(H, W, C) as a GeoTIFF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width, count = image.shape
    profile = {"driver": "GTiff", "height": height, "width": width, "count": count, "dtype": image.dtype}
    with rasterio.open(path, "w", **profile, **options) as dataset:
        dataset.write(np.moveaxis(image, -1, 0))
    return path


def pair(root: Path, image: np.ndarray, **options) -> Path:
    """An image with labels of 0 and 1, as folders and tiles read it."""
    mask = np.arange(image.shape[0] * image.shape[1]).reshape(image.shape[:2]) % 2
    write(root / "train/masks/a.tif", mask[..., None].astype(np.uint8))
    return write(root / "train/images/a.tif", image, **options)


BYTES = np.uint8([[(0, 0), (0, 9), (9, 9), (255, 255)]])
CASES = {
    "not finite": (np.float32([[(NAN, 1), (NAN, NAN), (1, 1), (np.inf, 1)]]), None, None, [1, 1, 0, 1]),
    "the file's value": (BYTES, 0, None, [1, 0, 0, 0]),
    "the user's in its place": (BYTES, 0, 255, [0, 0, 0, 1]),
    "the user's alone": (np.uint16([[(7, 7), (0, 7), (9, 9), (0, 0)]]), None, 7, [1, 0, 0, 0]),
    "a float": (np.float32([[(-9999, -9999), (-9999, 1), (1, 1), (2, 2)]]), -9999, None, [1, 0, 0, 0]),
    "NaN": (np.float32([[(NAN, NAN), (NAN, 1), (1, 1), (2, 2)]]), NAN, None, [1, 1, 0, 0]),
    "none": (BYTES, None, None, [0, 0, 0, 0]),
}
"""Image, the file's nodata, the user's, and which pixels are nodata."""


@pytest.mark.parametrize("case", CASES)
def test_training_and_prediction_agree(tmp_path, case):
    image, of_file, of_user, expected = CASES[case]
    file = pair(tmp_path, image, nodata=of_file)
    nothing = np.array([expected], bool)
    tile = Tiles(tmp_path, Labels(CLASSES), CLASSES, 2, nodata=of_user, window=32).split("train")[0]
    assert np.array_equal(tile.target == IGNORE, nothing)
    assert np.array_equal(np.zeros_like(nothing) if tile.nodata is None else tile.nodata, nothing)
    with gdal(), RasterReader(file, ImageReader(2, nodata=of_user)) as raster:
        assert np.array_equal(raster.valid(0, 1), ~nothing)
        assert np.array_equal(raster.read(0, 0, 1, 4), tile.image)
    if of_user is None:
        split = FolderSegmentation(tmp_path, Labels(CLASSES), 2).split("train")
        assert np.array_equal(split[0].target == IGNORE, nothing)
        assert np.array_equal(split.target(0), split[0].target)
        assert np.array_equal(split[0].image, tile.image)
        assert class_histogram(split, CLASSES).ignored == nothing.sum()


def test_masks_and_alpha_bands_count_as_in_rasterio(tmp_path):
    image = np.full((4, 6, 4), 9, np.uint8)
    image[:2, :, 3] = 0
    file = pair(tmp_path, image, photometric="rgb", alpha="yes")
    with rasterio.open(file) as dataset:
        known = dataset.dataset_mask() == 0
    split = FolderSegmentation(tmp_path, Labels(CLASSES)).split("train")
    assert np.array_equal(split[0].nodata, known)
    with (
        gdal(),
        rasterio.open(
            tmp_path / "b.tif", "w", driver="GTiff", height=4, width=6, count=3, dtype="uint8"
        ) as b,
    ):
        b.write(np.moveaxis(image[..., :3], -1, 0))
        b.write_mask(np.uint8(255) * ~known)
    with gdal(), RasterReader(tmp_path / "b.tif", ImageReader(3)) as raster:
        assert np.array_equal(~raster.valid(0, 4), known)


TYPES = {"uint8": (10, 255), "uint16": (600, 65535), "float32": (0.3, -9999)}


def half(dtype: str, nodata: float) -> np.ndarray:
    """(32, 48, 2): noise, and nodata on the left."""
    rng = np.random.default_rng(0)
    image = (rng.random((32, 48, 2)) * TYPES[dtype][0]).astype(dtype)
    image[:, :24] = nodata
    return image


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("kind", ["tiles", "folder", "classification"])
def test_statistics_leave_nodata_out(tmp_path, dtype, kind):
    nodata = TYPES[dtype][1]
    image = half(dtype, nodata)
    valid = image[:, 24:].reshape(-1, 2) / FULL_SCALE.get(dtype, 1)
    if kind == "classification":
        write(tmp_path / "train/water/a.tif", image, nodata=nodata)
        write(tmp_path / "train/land/b.tif", image, nodata=nodata)
        split = FolderClassification(tmp_path, CLASSES, 2).split("train")
    else:
        pair(tmp_path, image, nodata=nodata)
        source = FolderSegmentation(tmp_path, Labels(CLASSES), 2)
        if kind == "tiles":
            source = Tiles(tmp_path, Labels(CLASSES), CLASSES, 2, window=32)
        split = source.split("train")
    mean, std = channel_statistics(split)
    assert mean == pytest.approx(valid.mean(0).tolist(), rel=0.15)  # windows overlap
    assert std == pytest.approx(valid.std(0).tolist(), rel=0.15)
    if kind != "tiles":
        assert mean == pytest.approx(valid.mean(0).tolist(), rel=1e-6)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("kind", ["windows of tiles", "crops of tiles", "folder", "classification"])
def test_nodata_enters_the_network_as_the_mean(tmp_path, dtype, kind):
    nodata = TYPES[dtype][1]
    pair(tmp_path, half(dtype, nodata), nodata=nodata)
    mean = [0.2, 0.4]
    if kind.endswith("tiles"):
        source = Tiles(tmp_path, Labels(CLASSES), CLASSES, 2, window=[32, 48], draws=CropSampling(8))
    elif kind == "folder":
        source = FolderSegmentation(tmp_path, Labels(CLASSES), 2)
    else:
        write(tmp_path / "one/train/water/a.tif", half(dtype, nodata), nodata=nodata)
        write(tmp_path / "one/train/land/b.tif", half(dtype, nodata), nodata=nodata)
        source = FolderClassification(tmp_path / "one", CLASSES, 2)
    training = kind.startswith("crops")
    view = Augmentation(24) if training else CenterCrop()
    samples = Samples(source.split("train"), [view], 0, training=training, mean=mean)
    expected = np.array(mean) * FULL_SCALE.get(dtype, 1)
    expected = (np.rint(expected) if dtype != "float32" else expected).astype(dtype)
    seen = 0
    for index in range(8 if training else 1):
        sample = samples[SampleIndex(0, 0, index)]
        image = sample["image"].permute(1, 2, 0).numpy()
        nothing = (image == expected).all(-1)
        seen += nothing.sum()
        if kind == "classification":
            assert sample["target"].item() == 1  # land
            assert nothing.sum() == 32 * 24
        else:
            assert np.array_equal(sample["target"].numpy() == IGNORE, nothing)
    assert seen


def test_an_image_of_only_nodata_is_refused(tmp_path):
    pair(tmp_path, np.full((4, 6, 3), 7, np.uint8), nodata=7)
    with refused(r"a\.tif contains only nodata pixels[\s\S]*nodata=7"):
        FolderSegmentation(tmp_path, Labels(CLASSES)).split("train")[0]


def test_the_nodata_option_applies_to_png(tmp_path):
    """The option holds for every format that tiles may have."""
    image = np.full((4, 6, 3), 9, np.uint8)
    image[:2] = 0
    pair(tmp_path, image)
    Image.fromarray(image).save(tmp_path / "train/images/a.png")
    (tmp_path / "train/images/a.tif").unlink()
    raw = Tiles(tmp_path, Labels(CLASSES), CLASSES, nodata=0, window=32).split("train")[0]
    assert (raw.target[:2] == IGNORE).all()
    assert (raw.image == 9).all()


@pytest.mark.parametrize("dtype", TYPES)
def test_filled_keeps_dtype_and_other_pixels(dtype):
    image = half(dtype, TYPES[dtype][1])
    nothing = nodata_at(image, TYPES[dtype][1])
    result = filled(image, nothing)
    assert result.dtype == dtype
    assert np.array_equal(result[~nothing], image[~nothing])
    assert np.unique(result[nothing], axis=0).shape == (1, 2)
    assert filled(image, np.zeros_like(nothing)) is image
