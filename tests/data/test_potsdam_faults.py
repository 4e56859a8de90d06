"""Files of the Potsdam release that are missing, damaged or of another size."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
from tests.data.test_potsdam import path_of, potsdam, repaint, split_is_refused
from tests.helpers import refused

from pixelwise.drawn.city.potsdam_release import draw_release

pytestmark = pytest.mark.fast


def test_a_label_of_another_size_is_refused(root):
    repaint(path_of(root, "top_potsdam_2_10_label.tif"), lambda pixels: pixels[:-1])
    split_is_refused(root, r"2_10: its files differ in size[\s\S]*RGB.tif 200×200; .*label.tif 199×200")


def test_a_missing_label_of_a_training_tile_is_refused(root):
    path_of(root, "top_potsdam_2_11_label.tif").unlink()
    split_is_refused(root, r"train split has tiles without label: 2_11[\s\S]*top_potsdam_2_11_label.tif")


def test_a_missing_input_is_refused(root):
    path_of(root, "dsm_potsdam_02_10*jpg").unlink()
    split_is_refused(root, "without nDSM: 2_10", inputs=["RGB", "nDSM"])


def test_a_wrong_number_of_bands_is_refused(root):
    repaint(path_of(root, "top_potsdam_2_10_RGB.tif"), lambda pixels: pixels[..., :2])
    split_is_refused(
        root, r"2_10_RGB.tif does not match its name[\s\S]*2 bands of uint8[\s\S]*3 bands of uint8"
    )


@pytest.mark.parametrize("share", [0.5, 0.01, 0.0])
@pytest.mark.parametrize("pattern", ["top_potsdam_2_10_RGB.tif", "top_potsdam_2_10_label.tif"])
def test_a_truncated_file_leaves_no_prepared_tile(root, pattern, share):
    path = path_of(root, pattern)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    split_is_refused(root, rf"{pattern} cannot be read")


def test_a_damaged_zip_is_refused(root):
    (root / "2_Ortho_RGB.zip").write_bytes(b"PK nothing")
    with refused(r"2_Ortho_RGB\.zip cannot be read as a zip"):
        potsdam(root)


def test_an_empty_image_is_refused(root):
    repaint(path_of(root, "top_potsdam_2_10_RGB.tif"), np.zeros_like)
    split_is_refused(root, r"2_10 is empty[\s\S]*leave the tile out")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"inputs": ["RBG"]}, "data.inputs"),
        ({"labels": "boundary"}, "data.source.labels"),
        ({"window": 0}, r"Tiling\.window"),
        ({"overlap": 60}, r"Tiling\.overlap"),
        ({"split": {"training": ["2_10"]}}, "data.source.split"),
        ({"palette": [[1, 2, 3]] * 6}, "labels.palette"),
    ],
)
def test_a_wrong_argument_is_named(release, tmp_path, options, match):
    with refused(match):
        potsdam(release, **{"prepared": tmp_path} | options).split("train")


def test_a_changed_byte_in_a_zip_is_refused(tmp_path):
    root = tmp_path / "zips"
    draw_release(root, ["2_10", "2_11", "7_7"], 150, parts=["RGB", "label"], zips=True)
    file = next(root.rglob("2_Ortho_RGB.zip"))
    with zipfile.ZipFile(file) as archive:
        member = next(
            info for info in archive.infolist() if "2_10" in info.filename and ".tif" in info.filename
        )
    content = bytearray(file.read_bytes())
    content[member.header_offset + 100 + member.compress_size // 2] ^= 1
    file.write_bytes(content)
    with refused(r"2_10_RGB\.tif is damaged(.|\n)*download the zip again"):
        potsdam(root, split={"train": ["2_10"], "val": ["2_11"]}).split("train")
