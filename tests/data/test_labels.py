"""Masks in every coding decode to the same indices, and values without a meaning are refused."""

from __future__ import annotations

import pickle

import cv2
import numpy as np
import pytest
from PIL import Image
from tests.helpers import refused

from pixelwise.data.labels import LabelError, Labels

pytestmark = pytest.mark.fast


CLASSES = ["sky", "road", "car"]


PALETTE = [[0, 0, 255], [128, 128, 128], [255, 0, 0]]


TARGET = np.array([[0, 1, 2, 255], [2, 2, 1, 0]], np.uint8)


def save(folder, array, name="mask.png", mode=None, **options):
    path = folder / name
    image = Image.fromarray(np.asarray(array), mode) if mode else Image.fromarray(np.asarray(array))
    image.save(path, **options)
    return path


def colours(target, palette):
    """(H, W) indices → (H, W, 3); 255 becomes black."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(palette)] = palette
    return table[target]


@pytest.mark.parametrize("name", ["m.png", "m.tif", "m.bmp", "m.gif"])
def test_numbers_are_read_from_any_lossless_format(tmp_path, name):
    target = Labels(CLASSES).read(save(tmp_path, TARGET, name))
    assert target.dtype == np.uint8
    assert np.array_equal(target, TARGET)


def test_a_gif_of_0_and_255_holds_these_numbers(tmp_path):
    path = save(tmp_path, np.array([[0, 255]], np.uint8), "m.gif")
    assert Labels(["void", "vessel"], remap={255: 1}).read(path).tolist() == [[0, 1]]


def test_a_colour_table_png_is_read_by_its_indices(tmp_path):
    image = Image.fromarray(TARGET, "P")
    image.putpalette(np.random.default_rng(0).bytes(768))
    image.save(tmp_path / "m.png")
    assert np.array_equal(Labels(CLASSES).read(tmp_path / "m.png"), TARGET)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
def test_deep_masks_are_remapped(tmp_path, dtype):
    path = save(tmp_path, np.array([[0, 1000, 60000]], dtype), "m.tif")
    assert Labels(CLASSES, remap={1000: 2, 60000: 255}).read(path).tolist() == [[0, 2, 255]]


def test_bilevel_masks_are_0_and_1(tmp_path):
    Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1").save(tmp_path / "m.png")
    assert Labels(["no", "yes"]).read(tmp_path / "m.png").tolist() == [[0, 1]]


@pytest.mark.parametrize("alpha", [False, True])
def test_numbers_saved_as_rgb_are_read_from_equal_channels(tmp_path, alpha):
    channels = [TARGET] * 3 + [np.full_like(TARGET, 9)] * alpha
    assert np.array_equal(Labels(CLASSES).read(save(tmp_path, np.dstack(channels))), TARGET)


def test_grey_with_alpha_loses_its_alpha(tmp_path):
    path = save(tmp_path, np.dstack([TARGET, np.full_like(TARGET, 9)]), mode="LA")
    assert np.array_equal(Labels(CLASSES).read(path), TARGET)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_a_palette_decodes_colours(tmp_path, mode):
    image = Image.fromarray(colours(TARGET, PALETTE))
    image = image.quantize(4) if mode == "P" else image.convert(mode)
    image.save(tmp_path / "m.png")
    labels = Labels(CLASSES, palette=PALETTE, ignore=[[0, 0, 0]])
    assert np.array_equal(labels.read(tmp_path / "m.png"), TARGET)


def test_a_longer_palette_is_merged_by_remap_and_ignore(tmp_path):
    stored = np.array([[0, 1, 2, 3, 4]], np.uint8)
    palette = [*PALETTE, [255, 255, 0], [1, 1, 1]]
    labels = Labels(CLASSES, palette=palette, remap={3: "car"}, ignore=[4])
    assert labels.read(save(tmp_path, colours(stored, palette))).tolist() == [[0, 1, 2, 2, 255]]


def test_remap_reads_the_stored_value_and_takes_names(tmp_path):
    path = save(tmp_path, np.array([[1, 2, 3, 0, 255]], np.uint8))
    labels = Labels(CLASSES, remap={0: 255, 1: "sky", 2: 1, 3: "car", 255: 0})
    assert labels.read(path).tolist() == [[0, 1, 2, 255, 0]]


def test_ignored_values_become_255(tmp_path):
    path = save(tmp_path, np.uint8([[0, 2, 11]]))
    assert Labels(CLASSES, ignore=[2, 11]).read(path).tolist() == [[0, 255, 255]]


def test_an_unknown_number_is_reported_with_place_and_fix(tmp_path):
    path = save(tmp_path, np.array([[0, 1, 2], [0, 11, 11], [13, 0, 0]], np.uint8))
    with pytest.raises(LabelError) as caught:
        Labels(CLASSES).read(path)
    message = str(caught.value)
    assert str(path) in message
    assert "11: 2 pixels, first at row 1, column 1; 13: 1 pixel, first at row 2, column 0" in message
    assert "0 sky, 1 road, 2 car, or 255 = ignored" in message
    assert "'data.source.labels.ignore=[11,13]'" in message
    assert caught.value.unknown == {"11": 2, "13": 1}
    assert caught.value.target.tolist() == [[0, 1, 2], [0, 254, 254], [254, 0, 0]]


def test_an_unknown_colour_is_reported_with_place_and_fix(tmp_path):
    path = save(tmp_path, np.array([[PALETTE[0], [252, 255, 0]]], np.uint8))
    with pytest.raises(LabelError, match=r"\(252, 255, 0\): 1 pixel, first at row 0, column 1") as caught:
        Labels(CLASSES, palette=PALETTE).read(path)
    assert "'data.source.labels.ignore=[[252,255,0]]'" in str(caught.value)


def test_colours_without_a_palette_ask_for_one(tmp_path):
    path = save(tmp_path, colours(TARGET, PALETTE))
    with refused(r"mask\.png stores colours[\s\S]*labels\.palette=\$\{data"):
        Labels(CLASSES).read(path)


def test_a_float_mask_needs_whole_numbers(tmp_path):
    with pytest.raises(LabelError, match=r"m\.tif holds labels without a meaning[\s\S]*0\.5: 4 pixels"):
        Labels(CLASSES).read(save(tmp_path, np.full((2, 2), 0.5, np.float32), "m.tif"))


@pytest.mark.parametrize("name", ["m.png", "m.tif"])
def test_16_bit_colour_masks_are_refused(tmp_path, name):
    cv2.imwrite(str(tmp_path / name), np.full((2, 2, 3), 2, np.uint16))
    with refused(r"is not a mask of class indices[\s\S]*colours of type uint16"):
        Labels(CLASSES).read(tmp_path / name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": ["one"]}, "2 to 254 different names"),
        ({"classes": ["a", "a"]}, "2 to 254 different names"),
        ({"remap": {7: 3}}, "maps to 3"),
        ({"remap": {7: "caar"}}, r"maps to 'caar'[\s\S]*perhaps car"),
        ({"remap": {7: -1}}, "maps to -1"),
        ({"remap": {1.5: 1}}, r"labels\.remap or labels\.ignore[\s\S]*1\.5[\s\S]*whole"),
        ({"ignore": [True]}, r"Labels\.ignore[\s\S]*True"),
        ({"threshold": 128}, r"labels\.threshold[\s\S]*128, 3 classes"),
        ({"classes": ["no", "yes"], "threshold": "half"}, r"Labels\.threshold[\s\S]*'half'"),
        ({"ignore": [[0, 0, 0]]}, r"labels\.ignore[\s\S]*\[\[0, 0, 0\]\][\s\S]*palette is null"),
        ({"palette": PALETTE[:2]}, r"2 colours for 3 classes[\s\S]*no colour for car"),
        ({"palette": [*PALETTE, [1, 1, 1]]}, r"4 colours for 3 classes[\s\S]*labels\.ignore"),
        ({"palette": [[0, 0, 0], [0, 0, 0], [1, 1, 1]]}, "no colour for sky"),
        ({"palette": PALETTE, "ignore": [PALETTE[1]]}, "no colour for road"),
        ({"palette": [[0, 0, 300], [0, 0, 0], [1, 1, 1]]}, r"\[0, 0, 300\]"),
        ({"palette": "cityscapes"}, r"Labels\.palette[\s\S]*cityscapes"),
        ({"palette": [1, 2, 3]}, r"Labels\.palette[\s\S]*each entry \[r, g, b\]"),
        ({"palette": [["a", 0, 0], [0, 0, 0], [1, 1, 1]]}, r"\['a', 0, 0\]"),
        ({"palette": [[0.5, 0, 0], [0, 0, 0], [1, 1, 1]]}, r"\[0\.5, 0, 0\]"),
        ({"ignore": 5}, r"Labels\.ignore[\s\S]*5[\s\S]*a list"),
        ({"ignore": ["sky"]}, r"Labels\.ignore[\s\S]*sky"),
        ({"remap": [0, 1]}, r"Labels\.remap[\s\S]*a mapping from a number"),
    ],
)
def test_contradicting_arguments_are_refused(arguments, message):
    with refused(message):
        Labels(**{"classes": CLASSES, **arguments})


def test_label_errors_keep_their_message_across_processes(tmp_path):
    with pytest.raises(LabelError) as caught:
        Labels(CLASSES).read(save(tmp_path, np.uint8([[9]])))
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert str(type(caught.value)("a text")) == "a text"  # how a DataLoader raises it again
