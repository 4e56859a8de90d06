"""Every supported format gives the stored pixels, and a damaged file is reported."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image
from tests.helpers import refused

from pixelwise.data.io.images import UnreadableImage, read_image, read_size

pytestmark = pytest.mark.fast

GREY = np.arange(70, dtype=np.uint8).reshape(7, 10)
COLOUR = np.stack([GREY, GREY + 60, GREY + 120], axis=-1)


@pytest.mark.parametrize("name", ["a.png", "a.PNG", "a.tif", "a.TIFF", "a.bmp"])
def test_lossless_formats_give_the_stored_pixels(tmp_path, name):
    Image.fromarray(COLOUR).save(tmp_path / name)
    image = read_image(tmp_path / name)
    assert image.dtype == np.uint8
    assert np.array_equal(image, COLOUR)
    assert read_size(tmp_path / name) == (7, 10)


@pytest.mark.parametrize("name", ["a.jpg", "a.JPEG", "a.webp"])
def test_lossy_formats_give_similar_pixels(tmp_path, name):
    Image.fromarray(COLOUR).save(tmp_path / name, quality=95)
    image = read_image(tmp_path / name)
    assert image.shape == (7, 10, 3)
    assert np.abs(image.mean((0, 1)) - COLOUR.mean((0, 1))).max() < 4


def test_gif_gives_its_first_frame(tmp_path):
    first, second = (Image.fromarray(np.full((7, 10, 3), value, np.uint8)) for value in (10, 200))
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    assert np.array_equal(read_image(tmp_path / "a.gif"), np.full((7, 10, 3), 10))


@pytest.mark.parametrize(("channels", "expected"), [(1, GREY[..., None]), (3, np.stack([GREY] * 3, -1))])
@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp"])
def test_grey_images_are_repeated_or_kept(tmp_path, name, channels, expected):
    Image.fromarray(GREY).save(tmp_path / name)
    assert np.array_equal(read_image(tmp_path / name, channels), expected)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp"])
def test_alpha_is_dropped_unless_four_channels_are_needed(tmp_path, name):
    rgba = np.dstack([COLOUR, np.full_like(GREY, 100)])
    Image.fromarray(rgba, "RGBA").save(tmp_path / name, lossless=True)
    assert np.array_equal(read_image(tmp_path / name), COLOUR)
    assert np.array_equal(read_image(tmp_path / name, channels=4), rgba)


def test_a_colour_table_becomes_its_colours(tmp_path):
    image = Image.fromarray(np.eye(4, dtype=np.uint8), "P")
    image.putpalette([9, 8, 7, 200, 100, 50])
    image.save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png")[0, 0].tolist() == [200, 100, 50]
    assert read_image(tmp_path / "a.png")[0, 1].tolist() == [9, 8, 7]


def test_one_channel_of_a_colour_image_is_its_luma(tmp_path):
    Image.fromarray(COLOUR).save(tmp_path / "a.png")
    luma = read_image(tmp_path / "a.png", channels=1)
    assert luma.shape == (7, 10, 1)
    assert np.abs(luma[..., 0] - COLOUR @ [0.299, 0.587, 0.114]).max() <= 1


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_16_bits_stay_16_bits(tmp_path, name):
    deep = COLOUR.astype(np.uint16) * 300
    cv2.imwrite(str(tmp_path / name), deep[..., ::-1])
    assert read_image(tmp_path / name).dtype == np.uint16
    assert np.array_equal(read_image(tmp_path / name), deep)
    cv2.imwrite(str(tmp_path / name), np.dstack([deep[..., ::-1], np.full_like(deep[..., 0], 999)]))
    assert np.array_equal(read_image(tmp_path / name), deep)
    Image.fromarray(deep[..., 0]).save(tmp_path / name)
    assert np.array_equal(read_image(tmp_path / name, channels=1)[..., 0], deep[..., 0])


def test_a_big_endian_tiff_comes_in_native_order(tmp_path):
    Image.fromarray(np.array([[1, 300]], ">u2")).save(tmp_path / "a.tif")
    image = read_image(tmp_path / "a.tif", channels=1)
    assert image.dtype == np.uint16
    assert image.ravel().tolist() == [1, 300]


def test_a_float_tiff_stays_float(tmp_path):
    heights = GREY.astype(np.float32) / 7
    Image.fromarray(heights).save(tmp_path / "a.tif")
    assert np.array_equal(read_image(tmp_path / "a.tif", channels=1)[..., 0], heights)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.webp"])
def test_a_truncated_file_is_reported(tmp_path, name):
    path = tmp_path / name
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnreadableImage, match=name):
        read_image(path)


def deep_png(path, pixels, colour_type, transparent=b""):
    """A PNG of 16 bits (PNG 3, section 11.2.1) with colours (2) or grey and alpha (4)."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, colour_type, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"tRNS", transparent), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
        if data or kind != b"tRNS"
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def test_a_deep_png_has_the_channels_of_its_header(tmp_path):
    """OpenCV, which decodes it, makes four of grey and alpha, and of a transparent colour."""
    deep = COLOUR.astype(np.uint16) * 250
    deep_png(tmp_path / "la.png", deep[..., :2], 4)
    assert np.array_equal(read_image(tmp_path / "la.png", channels=2), deep[..., :2])
    assert np.array_equal(read_image(tmp_path / "la.png", channels=1), deep[..., :1])
    deep_png(tmp_path / "t.png", deep, 2, struct.pack(">HHH", *deep[0, 0].tolist()))
    assert np.array_equal(read_image(tmp_path / "t.png"), deep)
    with refused(r"t\.png gives 3 channels"):
        read_image(tmp_path / "t.png", channels=4)


@pytest.mark.parametrize("content", [b"", b"no image at all"])
@pytest.mark.parametrize("read", [read_image, read_size])
def test_a_file_that_is_not_an_image_is_reported(tmp_path, read, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UnreadableImage, match=r"a\.png cannot be read"):
        read(tmp_path / "a.png")


def test_wrong_channels_suggest_an_override(tmp_path):
    Image.fromarray(COLOUR).save(tmp_path / "a.png")
    with refused(r"a\.png gives 3 channels[\s\S]*data\.channels=3"):
        read_image(tmp_path / "a.png", channels=4)
