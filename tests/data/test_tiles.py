"""Rasters: bands, number types, nodata, and their errors."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from tests.helpers import refused

from pixelwise.augmentation import CenterCrop
from pixelwise.data.io.images import ImageReader
from pixelwise.data.io.raster_reader import RasterReader
from pixelwise.data.io.rasters import gdal
from pixelwise.data.labels import Labels
from pixelwise.data.loader import Samples
from pixelwise.data.samplers import SampleIndex
from pixelwise.data.sources.tiles import Tiles
from pixelwise.types import IGNORE

pytestmark = pytest.mark.fast

CLASSES = ["water", "land"]
HEIGHT, WIDTH = 600, 90  # more than one strip


def write(path, pixels, **options):
    """(H, W, C) as a GeoTIFF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width, count = pixels.shape
    profile = {"driver": "GTiff", "height": height, "width": width, "count": count, "dtype": pixels.dtype}
    with rasterio.open(path, "w", **profile | options) as dataset:
        dataset.write(np.moveaxis(pixels, -1, 0))


def noise(dtype="uint8", bands=3, height=HEIGHT):
    rng = np.random.default_rng(0)
    if dtype == "float32":
        return rng.normal(size=(height, WIDTH, bands)).astype(np.float32)
    return rng.integers(1, np.iinfo(dtype).max, (height, WIDTH, bands), dtype)


def label(height=HEIGHT):
    return np.tile((np.arange(WIDTH) > 40).astype(np.uint8)[None, :, None], (height, 1, 1))


def pair(root, name="a", image=None, truth=None, split="train", **options):
    write(root / f"images/{split}/{name}.tif", noise() if image is None else image, **options)
    write(root / f"masks/{split}/{name}.tif", label() if truth is None else truth)


def tiles(root, channels=3, labels=None, **options):
    return Tiles(root, labels or Labels(CLASSES), CLASSES, channels, window=[HEIGHT, WIDTH], **options)


def only(split):
    assert len(split) == 1
    return split[0]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("bands", [1, 3, 7])
def test_any_bands_and_number_type(tmp_path, dtype, bands):
    image = noise(dtype, bands)
    pair(tmp_path, image=image)
    raw = only(tiles(tmp_path, bands).split("train"))
    assert raw.image.dtype == dtype
    assert np.array_equal(raw.image, image)
    assert np.array_equal(raw.target, label()[..., 0])
    assert raw.key == "train/a/0_0"
    assert tiles(tmp_path, bands).split("val") is None


def test_bands_are_chosen_in_order(tmp_path):
    image = noise(bands=5)
    pair(tmp_path, image=image)
    raw = only(tiles(tmp_path, 3, bands=[5, 1, 2]).split("train"))
    assert np.array_equal(raw.image, image[..., [4, 0, 1]])


@pytest.mark.parametrize("kind", ["header", "config", "nan", "mask of alpha"])
def test_nodata_is_ignored(tmp_path, kind):
    image, options, settings = noise("float32" if kind == "nan" else "uint16"), {}, {}
    if kind == "nan":
        image[520, 5, 1] = np.nan  # one NaN band makes the pixel nodata
    elif kind == "mask of alpha":
        image = np.concatenate([image, np.full((HEIGHT, WIDTH, 1), 65535, np.uint16)], -1)
        image[520, 5, 3] = 0
        options, settings = {"photometric": "rgb", "alpha": "yes"}, {"bands": [1, 2, 3]}
    else:
        image[520, 5] = 7
        image[520, 6, 0] = 7  # the other bands are valid
        options = {"nodata": 7} if kind == "header" else {}
        settings = {"nodata": 7} if kind == "config" else {}
    pair(tmp_path, image=image, **options)
    raw = only(tiles(tmp_path, **settings).split("train"))
    expected = label()[..., 0].copy()
    expected[520, 5] = IGNORE
    assert np.array_equal(raw.target, expected)
    assert np.isfinite(raw.image).all()


@pytest.mark.parametrize("kind", ["header", "config"])
def test_nodata_bands_are_read_as_in_prediction(tmp_path, kind):
    image = noise("float32", 2)
    image[:10] = -9999
    image[20:30, :, 0] = -9999  # one band only: the pixel stays valid
    image[40:50, :, 1] = np.inf
    options = {"nodata": -9999} if kind == "header" else {}
    settings = {"nodata": -9999} if kind == "config" else {}
    pair(tmp_path, image=image, **options)
    raw = only(tiles(tmp_path, 2, **settings).split("train"))
    nothing = np.zeros((HEIGHT, WIDTH), bool)
    nothing[:10] = nothing[40:50] = True
    expected = np.where(image == -9999, 0, image)
    assert np.array_equal(raw.image[~nothing], expected[~nothing])
    assert np.array_equal(raw.nodata, nothing)
    assert np.array_equal(raw.target == IGNORE, nothing)
    expected[nothing] = 0.25, -0.5
    sample = Samples(tiles(tmp_path, 2, **settings).split("train"), [CenterCrop()], 0, mean=[0.25, -0.5])
    assert np.array_equal(sample[SampleIndex(0, 0, 0)]["image"].permute(1, 2, 0), expected)
    file, reader = tmp_path / "images/train/a.tif", ImageReader(2, **settings)
    with gdal(), RasterReader(file, reader, mean=[0.25, -0.5]) as raster:
        assert np.array_equal(raster.read(5, 0, 100, WIDTH), expected[5:105])
        assert raster.read(0, 0, 10, WIDTH) is None
        assert np.array_equal(raster.valid(0, HEIGHT), ~nothing)


def test_nodata_of_a_label_is_ignored(tmp_path):
    truth = label().astype(np.int16)
    truth[30:40] = -9999
    write(tmp_path / "images/train/a.tif", noise())
    write(tmp_path / "masks/train/a.tif", truth, nodata=-9999)
    raw = only(tiles(tmp_path).split("train"))
    assert (raw.target[30:40] == IGNORE).all()
    assert (raw.target[40:] == label()[40:, :, 0]).all()


def test_labels_may_be_colours(tmp_path):
    palette = np.array([[0, 0, 200], [90, 60, 30]], np.uint8)
    pair(tmp_path, truth=palette[label()[..., 0]])
    raw = only(tiles(tmp_path, labels=Labels(CLASSES, palette=palette.tolist())).split("train"))
    assert np.array_equal(raw.target, label()[..., 0])


def split_is_refused(root, match, **options):
    with refused(match):
        tiles(root, **options).split("train")
    assert not [path for path in root.glob("prepared/*") if path.is_dir()]


def test_wrong_bands_are_refused(tmp_path):
    pair(tmp_path, image=noise(bands=4))
    split_is_refused(tmp_path, r"a\.tif gives 4 channels[\s\S]*3 \(data.channels\)[\s\S]*data.channels=4")
    split_is_refused(tmp_path, r"bands=\[1, 2, 9\]: \S+a\.tif has no such band[\s\S]*1 to 4", bands=[1, 2, 9])


def test_tiles_of_only_nodata_are_refused(tmp_path):
    pair(tmp_path, image=np.full((HEIGHT, WIDTH, 3), 7, np.uint8), nodata=7)
    split_is_refused(tmp_path, r"a\.tif contains only nodata pixels")


def test_unknown_labels_are_reported_with_place_and_count(tmp_path):
    truth = label()
    truth[550, 3:6] = truth[590, 0] = 9
    pair(tmp_path, truth=truth)
    split_is_refused(
        tmp_path, r"masks/train/a\.tif holds labels[\s\S]*9: 4 pixels, first at row 550, column 3"
    )


def test_sizes_types_and_floats_are_checked(tmp_path):
    pair(tmp_path / "size", truth=label(HEIGHT - 1))
    split_is_refused(tmp_path / "size", r"differs in size[\s\S]*599×90[\s\S]*600×90")
    pair(tmp_path / "type", image=noise().astype(np.int32))
    split_is_refused(tmp_path / "type", "stores its pixels as int32")
    pair(tmp_path / "mixed", "a")
    pair(tmp_path / "mixed", "b", noise("uint16"))
    split_is_refused(tmp_path / "mixed", r"have different number types[\s\S]*uint16: train/b; uint8: train/a")
    pair(tmp_path / "float", truth=label().astype(np.float32) / 2)
    split_is_refused(tmp_path / "float", "0.5: 29,400 pixels")


def test_a_truncated_raster_is_refused(tmp_path):
    pair(tmp_path)
    path = tmp_path / "images/train/a.tif"
    path.write_bytes(path.read_bytes()[:50000])
    split_is_refused(tmp_path, r"images/train/a\.tif cannot be read as an image")
