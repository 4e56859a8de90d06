"""Numbers of any type as labels: negative, NaN, nodata, of few bits, interpolated."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest
import rasterio
from PIL import Image
from tests.data.test_labels import CLASSES, PALETTE, TARGET, colours, save
from tests.helpers import refused

from pixelwise.data.labels import LabelError, Labels

pytestmark = pytest.mark.fast


def tiff(folder, array, name="mask.tif", **options):
    """(H, W) as GDAL writes it, with its metadata."""
    path = folder / name
    profile = {"driver": "GTiff", "height": array.shape[0], "width": array.shape[1], "count": 1}
    with rasterio.open(path, "w", dtype=array.dtype, **profile, **options) as dataset:
        dataset.write(array, 1)
    return path


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "float32", "float64"]
)
def test_whole_numbers_of_any_type_are_read(tmp_path, dtype):
    stored = np.array([[0, 1, 2, 11]], dtype)
    assert Labels(CLASSES, ignore=[11]).read(tiff(tmp_path, stored)).tolist() == [[0, 1, 2, 255]]


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "float32", "float64"])
def test_negative_values_may_be_ignored_or_remapped(tmp_path, dtype):
    path = tiff(tmp_path, np.array([[0, -1, -2, 2]], dtype))
    assert Labels(CLASSES, ignore=[-1], remap={-2: "road"}).read(path).tolist() == [[0, 255, 1, 2]]
    with pytest.raises(LabelError, match=r"-2: 1 pixel[\s\S]*-1: 1 pixel[\s\S]*ignore=\[-2,-1\]"):
        Labels(CLASSES).read(path)


def test_large_values_may_be_ignored_or_remapped(tmp_path):
    path = tiff(tmp_path, np.array([[0, 70000, 2**31 - 1]], np.int32))
    labels = Labels(CLASSES, remap={70000: 1, 2**31 - 1: 255})
    assert labels.read(path).tolist() == [[0, 1, 255]]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nan_is_ignored(tmp_path, dtype):
    path = tiff(tmp_path, np.array([[0, np.nan, 2]], dtype))
    assert Labels(CLASSES).read(path).tolist() == [[0, 255, 2]]


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [("int16", -9999), ("uint8", 255), ("uint8", 99), ("float32", -9999), ("float64", np.nan)],
)
def test_nodata_values_of_a_tiff_are_ignored(tmp_path, dtype, nodata):
    path = tiff(tmp_path, np.array([[0, nodata, 2]], dtype), nodata=nodata)
    assert Labels(CLASSES).read(path).tolist() == [[0, 255, 2]]


def test_nodata_is_ignored_where_255_is_a_class(tmp_path):
    path = tiff(tmp_path, np.array([[0, 255, -9999]], np.int16), nodata=-9999)
    assert Labels(["no", "yes"], remap={255: 1}).read(path).tolist() == [[0, 1, 255]]


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_nodata_that_is_a_class_is_refused_with_fixes(tmp_path, dtype):
    path = tiff(tmp_path, np.array([[0, 1, 2]], dtype), nodata=0)
    with refused(r"0 is the class sky[\s\S]*tag nodata=0") as caught:
        Labels(CLASSES).read(path)
    for fix in ("remap={0:sky}", "ignore=[0]", "gdal_edit.py -unsetnodata"):
        assert fix in str(caught.value)
    assert Labels(CLASSES, remap={0: "sky"}).read(path).tolist() == [[0, 1, 2]]
    assert Labels(CLASSES, ignore=[0]).read(path).tolist() == [[255, 1, 2]]
    assert Labels(CLASSES).read(tiff(tmp_path, np.array([[1, 2]], dtype), nodata=0)).tolist() == [[1, 2]]


def test_labels_that_start_at_1_are_recognised(tmp_path):
    path = save(tmp_path, np.array([[1, 2, 3]], np.uint8))
    with pytest.raises(LabelError, match=r"labels\.first=1 if the labels start at 1"):
        Labels(CLASSES).read(path)
    assert Labels(CLASSES, remap={1: 0, 2: 1, 3: 2}).read(path).tolist() == [[0, 1, 2]]
    with pytest.raises(LabelError) as caught:
        Labels(CLASSES).read(save(tmp_path, np.array([[0, 1, 2, 3]], np.uint8)))
    assert "remap" not in str(caught.value)


@pytest.mark.parametrize("name", ["m.png", "m.tif", "m.bmp", "m.gif", "m.jpg"])
@pytest.mark.parametrize("remap", [None, {255: 1}])
def test_interpolated_masks_are_recognised(tmp_path, name, remap):
    binary = np.zeros((63, 81), np.uint8)
    cv2.circle(binary, (40, 30), 20, 255, -1)
    stored = cv2.GaussianBlur(binary, (5, 5), 0)
    path = save(tmp_path, stored, name)
    with pytest.raises(LabelError, match=r"interpolated, or saved as JPEG[\s\S]*threshold=128'"):
        Labels(["no", "yes"], remap=remap).read(path)
    target = Labels(["no", "yes"], remap=remap, threshold=128).read(path)
    assert set(np.unique(target)) == {0, 1}
    assert ((target == 1) != (binary == 255)).mean() < 0.02


def test_ignore_takes_precedence_over_threshold(tmp_path):
    path = tiff(tmp_path, np.array([[0.0, 0.4, 0.6, np.nan, 1.0, -1.0]], np.float32))
    assert Labels(["no", "yes"], threshold=0.5, ignore=[-1]).read(path).tolist() == [[0, 0, 1, 255, 1, 255]]


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_white_is_1_in_a_mask_of_one_bit(tmp_path, photometric):
    shown = np.array([[0, 1, 1, 0]], np.uint8)
    stored = shown if photometric == "minisblack" else 1 - shown
    path = tiff(tmp_path, stored, nbits=1, photometric=photometric)
    assert Labels(["no", "yes"]).read(path).tolist() == shown.tolist()


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_a_mask_is_taken_as_it_is_stored(tmp_path, ending):
    exif = Image.Exif()
    exif[0x0112] = 3
    words = {"tiffinfo": {274: 3}} if ending == ".tif" else {"exif": exif}
    path = save(tmp_path, TARGET, f"m{ending}", **words)
    assert np.array_equal(Labels(CLASSES).read(path), TARGET)
    assert np.array_equal(
        Labels(CLASSES, palette=PALETTE, ignore=[[0, 0, 0]]).read(
            save(tmp_path, colours(TARGET, PALETTE), f"c{ending}", **words)
        ),
        TARGET,
    )


def test_indices_of_a_colour_table_tiff_are_read(tmp_path):
    image = Image.fromarray(TARGET, "P")
    image.putpalette(np.random.default_rng(0).bytes(768))
    image.save(tmp_path / "m.tif")
    assert np.array_equal(Labels(CLASSES).read(tmp_path / "m.tif"), TARGET)


def grey_png(path, numbers, bits):
    """A grey PNG of 1, 2 or 4 bits (PNG 3, section 11.2.1), which Pillow does not write."""
    rows = b"".join(
        b"\0" + np.packbits(np.unpackbits(row[:, None], axis=1)[:, 8 - bits :].ravel()).tobytes()
        for row in numbers
    )
    header = struct.pack(">IIBBBBB", numbers.shape[1], numbers.shape[0], bits, 0, 0, 0, 0)
    chunks = {b"IHDR": header, b"IDAT": zlib.compress(rows), b"IEND": b""}
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks.items()
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_numbers_of_few_bits_are_not_stretched(tmp_path, bits, ending):
    stored = np.array([[0, 1, 2, 3, 3, 0]], np.uint8) % 2**bits
    path = tmp_path / f"m{ending}"
    path = grey_png(path, stored, bits) if ending == ".png" else tiff(tmp_path, stored, path.name, nbits=bits)
    assert Labels(["a", "b", "c", "d"]).read(path).tolist() == stored.tolist()


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_colours_of_other_types_are_refused(tmp_path, dtype):
    path = tmp_path / "m.tif"
    profile = {"driver": "GTiff", "height": 2, "width": 2, "count": 3}
    with rasterio.open(path, "w", dtype=dtype, **profile) as dataset:
        dataset.write(np.zeros((3, 2, 2), dtype))
    for palette in (None, PALETTE):
        with refused(f"is not a mask[\\s\\S]*colours of type {dtype}"):
            Labels(CLASSES, palette=palette).read(path)


def test_fractions_get_no_ignore_suggestion(tmp_path):
    path = tiff(tmp_path, np.array([[0, 0.5, np.inf]], np.float32))
    with pytest.raises(
        LabelError, match=r"0\.5: 1 pixel[\s\S]*inf: 1 pixel[\s\S]*class indices are whole numbers"
    ) as caught:
        Labels(["no", "yes"]).read(path)
    assert "threshold=0.5" in str(caught.value)
    assert "ignore=" not in str(caught.value)
