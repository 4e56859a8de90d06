"""What a label file says besides its numbers: nodata, a mask band, its compression, its colours."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.enums import ColorInterp
from tests.data.test_label_numbers import tiff
from tests.data.test_labels import CLASSES, PALETTE, save
from tests.helpers import refused

from pixelwise.data.io.images import ImageReader
from pixelwise.data.labels import LabelError, Labels

pytestmark = pytest.mark.fast


TEXTS = ["-3.40282e+38", "-3.4028234663852886e+38", "-1.7976931348623157e+308", "-9999", "0.1", "-inf", "nan"]


@pytest.mark.parametrize("text", TEXTS)
def test_nodata_of_floats_may_be_rounded_in_the_metadata(tmp_path, text):
    """As programs write it; a longer type has a smaller least number."""
    least = float(np.finfo(np.float32).min)
    stored = least if -np.inf < float(text) < -3e38 else float(text)
    image = Image.fromarray(np.array([[0, stored, 2]], np.float32))
    image.save(tmp_path / "m.tif", tiffinfo={42113: text})  # the tag GDAL_NODATA
    assert Labels(CLASSES).read(tmp_path / "m.tif").tolist() == [[0, 255, 2]]
    assert ImageReader(1).read(tmp_path / "m.tif").nodata.tolist() == [[False, True, False]]


@pytest.mark.parametrize(
    ("coding", "dtype"),
    [
        *product(["numbers", "threshold"], ["uint8", "int16", "float32"]),
        ("colours", "uint8"),
        ("alpha", "uint8"),
    ],
)
def test_what_a_mask_band_excludes_is_ignored(tmp_path, coding, dtype):
    valid = np.array([[255, 255, 255], [0, 255, 0]], np.uint8)
    target = np.array([[0, 1, 1], [0, 1, 1]], dtype)
    palette = np.array([[0, 0, 0], [255, 0, 0]], np.uint8)
    planes = np.moveaxis(palette[target], -1, 0) if coding in ("colours", "alpha") else target[None]
    if coding == "alpha":
        planes = np.concatenate([planes, valid[None]])
    profile = {"driver": "GTiff", "height": 2, "width": 3, "count": len(planes), "dtype": dtype}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            tmp_path / "m.tif", "w", photometric="rgb" if len(planes) > 2 else None, **profile
        ) as file,
    ):
        if coding == "alpha":
            file.colorinterp = [*file.colorinterp[:3], ColorInterp.alpha]
        else:
            file.write_mask(valid)
        file.write(planes)
    by_colour = {"palette": palette.tolist()} if len(planes) > 2 else {}
    labels = Labels(["no", "yes"], threshold=0.5 if coding == "threshold" else None, **by_colour)
    assert labels.read(tmp_path / "m.tif").tolist() == [[0, 1, 1], [255, 1, 255]]


def test_a_nodata_colour_is_ignored_unless_it_is_a_class(tmp_path):
    profile = {"driver": "GTiff", "height": 1, "width": 2, "count": 3, "dtype": "uint8", "nodata": 0}
    with rasterio.open(tmp_path / "m.tif", "w", photometric="rgb", **profile) as file:
        file.write(np.array([[[0, 255]], [[0, 0]], [[0, 0]]], np.uint8))
    without_black = Labels(["no", "yes"], palette=[[0, 0, 255], [255, 0, 0]])
    assert without_black.read(tmp_path / "m.tif").tolist() == [[255, 1]]
    with refused(r"\(0, 0, 0\) is the class no[\s\S]*-unsetnodata"):
        Labels(["no", "yes"], palette=[[0, 0, 0], [255, 0, 0]]).read(tmp_path / "m.tif")


def test_indices_where_colours_are_expected_are_recognised(tmp_path):
    with pytest.raises(LabelError, match=r"labels\.palette=null reads class indices"):
        Labels(CLASSES, palette=PALETTE).read(save(tmp_path, np.array([[0, 1, 2]], np.uint8)))


@pytest.mark.parametrize("name", ["m.jpg", "m.png", "m.tif", "m.webp"])
def test_lossy_masks_are_recognised_by_their_content(tmp_path, name):
    noise = np.random.default_rng(0).integers(0, 3, (16, 16), np.uint8) * 40
    options = {"m.png": {"format": "JPEG"}, "m.tif": {"compression": "jpeg"}}.get(name, {})
    path = save(tmp_path, np.dstack([noise] * 3) if name == "m.webp" else noise, name, **options)
    labels = Labels(CLASSES, palette=PALETTE) if name == "m.webp" else Labels(CLASSES)
    with pytest.raises(LabelError, match="JPEG changes the values of labels"):
        labels.read(path)


def test_complex_numbers_are_no_labels(tmp_path):
    with refused("numbers of type complex64"):
        Labels(CLASSES).read(tiff(tmp_path, np.array([[0, 1, 2]], np.complex64)))
