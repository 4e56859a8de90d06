"""All readers return the same pixels: those that viewers show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data.formats import DEEP, LOSSLESS, LOSSY, turned
from tests.helpers import refused

from pixelwise.data.io.images import ImageReader, read_image, read_size
from pixelwise.data.io.raster_reader import RasterReader
from pixelwise.data.io.rasters import gdal
from pixelwise.data.io.tiff import is_tiff
from pixelwise.data.labels import Labels
from pixelwise.data.sources.folder import FolderSegmentation
from pixelwise.data.sources.tiles import RasterTile
from pixelwise.errors import UserError

pytestmark = pytest.mark.fast

LABELS = Labels(["background", "figure"])
ALL = {**LOSSLESS, **LOSSY, **DEEP}


def scene() -> np.ndarray:
    """(20, 30, 3) uint8, different in every orientation."""
    colours = np.random.default_rng(0).integers(30, 60, (20, 30, 3), np.uint8)
    colours[2:9, 3:7] = 200, 180, 160
    colours[7:9, 3:20] = 210, 190, 170
    return colours


def by_training(root: Path, name: str, channels: int) -> np.ndarray:
    split = FolderSegmentation(root, LABELS, channels).split("train")
    raw = split[0]
    assert split.size(0) == raw.target.shape
    assert np.array_equal(split.image(0), raw.image)  # as the audit reads it
    return raw.image


def by_tiles(root: Path, name: str, channels: int) -> np.ndarray:
    mask = root / "train/masks" / f"{Path(name).stem}.png"
    tile = RasterTile("a", root / "train/images" / name, mask, LABELS, ImageReader(channels))
    image = np.concatenate([strip.image for strip in tile.strips()])
    assert (image.shape, image.dtype) == (tile.shape, tile.dtype)
    return image


def by_prediction(root: Path, name: str, channels: int) -> np.ndarray:
    """A TIFF window by window, from the last to the first."""
    file, reader = root / "train/images" / name, ImageReader(channels)
    if not is_tiff(file):
        return reader.read(file).image
    with gdal(), RasterReader(file, reader) as raster:
        height, width = raster.shape
        image = np.empty((height, width, channels), raster.dtype)
        for top in range(0, height, 7)[::-1]:
            for left in range(0, width, 11)[::-1]:
                size = min(7, height - top), min(11, width - left)
                image[top : top + size[0], left : left + size[1]] = raster.read(top, left, *size)
        return image


@pytest.mark.parametrize("read", [by_training, by_tiles, by_prediction])
@pytest.mark.parametrize("name", ALL)
def test_all_readers_return_what_viewers_show(tmp_path, name, read):
    images, masks = tmp_path / "train/images", tmp_path / "train/masks"
    images.mkdir(parents=True)
    masks.mkdir()
    shown = ALL[name](images / name, scene())
    Image.fromarray(np.zeros(shown.shape[:2], np.uint8)).save(masks / f"{Path(name).stem}.png")
    image = read(tmp_path, name, shown.shape[2])
    assert image.dtype == shown.dtype
    if name in LOSSY:
        assert image.shape == shown.shape
        assert np.abs(image.astype(float) - shown).mean() < 12
    elif name == "cmyk.tif":
        assert np.abs(image.astype(float) - shown).max() <= 1  # libtiff and Pillow round otherwise
    else:
        assert np.array_equal(image, shown)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ALL)
def test_channels_are_adapted_alike_in_every_format(tmp_path, name, channels):
    shown = ALL[name](tmp_path / name, scene())
    stored = shown.shape[2]
    if stored == 6:
        with refused("gives 6 channels"):
            read_image(tmp_path / name, channels)
        return
    image = read_image(tmp_path / name, channels).astype(float)
    colours = shown[..., : stored - (stored in (2, 4))].astype(float)
    if colours.shape[2] > channels:
        colours = colours @ np.array([[0.299], [0.587], [0.114]])
    difference = np.abs(image - np.broadcast_to(colours, image.shape))
    scale = {"uint8": 1, "uint16": 257, "float32": 1 / 255}[shown.dtype.name]
    assert difference.mean() < (12 if name in LOSSY else 1) * scale


@pytest.mark.parametrize("ending", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("tag", range(2, 9))
def test_an_orientation_can_be_ignored(tmp_path, tag, ending):
    file = tmp_path / f"a{ending}"
    turned(tag)(file, scene())
    stored = (20, 30) if tag < 5 else (30, 20)
    assert read_size(file) == (20, 30)
    assert read_image(file).shape == (20, 30, 3)
    image = ImageReader(3, exif="ignore").read(file).image
    assert image.shape == (*stored, 3)
    assert not np.array_equal(image, read_image(file))


def test_a_georeferenced_tiff_is_not_turned(tmp_path):
    """Its transform refers to the stored pixels, as GIS programs read it."""
    import rasterio
    from rasterio.transform import from_origin

    turned(6)(tmp_path / "a.tif", scene())
    with rasterio.open(tmp_path / "a.tif", "r+") as dataset:
        dataset.crs, dataset.transform = "EPSG:32633", from_origin(366676, 5808769, 0.05, 0.05)
    assert read_size(tmp_path / "a.tif") == read_image(tmp_path / "a.tif").shape[:2] == (30, 20)


def test_an_unknown_choice_about_exif_is_refused():
    with refused(r"ImageReader\.exif[\s\S]*rotate[\s\S]*apply[\s\S]*ignore"):
        ImageReader(3, exif="rotate")


@pytest.mark.parametrize("name", ["palette.png", "palette.tif"])
def test_chosen_bands_are_read_as_stored(tmp_path, name):
    LOSSLESS[name](tmp_path / name, scene())
    indices = np.array(Image.open(tmp_path / name))
    assert np.array_equal(ImageReader(1, bands=[1]).read(tmp_path / name).image[..., 0], indices)


@pytest.mark.parametrize("name", ["white_is_zero_8.tif", "palette.tif", "one_bit.tif", "four_bits.tif"])
def test_band_suggestions_never_change_the_shown_image(tmp_path, name):
    LOSSLESS[name](tmp_path / name, scene())
    with pytest.raises(UserError) as caught:
        ImageReader(2, exact=True, option="bands").read(tmp_path / name)
    assert "bands=" not in str(caught.value)


def test_a_tiff_is_recognised_by_its_content(tmp_path):
    LOSSLESS["rgb.tif"](tmp_path / "a.tif", scene())
    (tmp_path / "a.tif").rename(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png"), scene())


def test_unsupported_number_types_are_reported(tmp_path):
    Image.fromarray(np.zeros((4, 6), np.int32)).save(tmp_path / "a.tif")
    with refused(r"a\.tif stores its pixels as int32[\s\S]*float32"):
        read_image(tmp_path / "a.tif", 1)
