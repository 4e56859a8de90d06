"""An audit counts all items, continues after errors, and reports what must be fixed."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from tests.helpers import refused

from pixelwise.data.audit import audit
from pixelwise.data.labels import Labels
from pixelwise.data.sources.class_folders import FolderClassification
from pixelwise.data.sources.folder import FolderSegmentation
from pixelwise.data.statistics import class_histogram, fingerprint
from pixelwise.types import Raw, Source, Split

pytestmark = pytest.mark.fast

CLASSES = ["background", "road", "car"]


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, np.uint8)).save(path)


@pytest.fixture
def root(tmp_path):
    """Two training pairs and one validation pair of 4×6 pixels, without faults."""
    items = [("train", [0, 1, 2]), ("train", [0, 0, 255]), ("val", [0, 1, 2])]
    for number, (split, mask) in enumerate(items):
        save(tmp_path / split / f"images/{number}.png", np.full((4, 6, 3), number))
        save(tmp_path / split / f"masks/{number}.png", np.repeat([mask], 4, 0).repeat(2, 1))
    return tmp_path


def segmentation(root, classes=CLASSES):
    return FolderSegmentation(root, Labels(classes))


def printed(result):
    console = Console(width=80, file=io.StringIO())
    console.print(result)
    return console.file.getvalue()


def test_items_and_pixels_are_counted(root):
    result = audit(segmentation(root), CLASSES)
    train = result.splits[0]
    assert result.problems == []
    assert train.sizes == {(4, 6): 2}
    assert train.histogram.pixels.tolist() == [24, 8, 8]
    assert train.histogram.images.tolist() == [2, 1, 1]
    assert train.histogram.ignored == 8
    assert train.histogram.shares.tolist() == [0.6, 0.2, 0.2]


def test_the_tables_fit_80_columns(root):
    text = printed(audit(segmentation(root), CLASSES))
    assert "60.00%" in text
    assert "4×6" in text
    assert "No problems found." in text
    assert max(len(line) for line in text.splitlines()) <= 80


def test_unknown_labels_are_collected_and_the_rest_is_counted(root):
    save(root / "train/masks/0.png", np.full((4, 6), 11))
    save(root / "train/masks/1.png", [[11] * 6, [13] * 6, [0] * 6, [1] * 6])
    result = audit(segmentation(root), CLASSES)
    assert result.splits[0].unknown == {"11": ["0", "1"], "13": ["1"]}
    assert result.splits[0].histogram.pixels.tolist() == [6, 6, 0]
    assert "11 in 2 masks, such as 0; 13 in 1 mask," in result.problems[0]
    assert "'data.source.labels.ignore=[11,13]'" in result.problems[0]


def test_damaged_images_are_listed_and_skipped(root):
    path = root / "train/images/1.png"
    path.write_bytes(path.read_bytes()[:-30])
    result = audit(segmentation(root), CLASSES)
    assert list(result.splits[0].damaged) == ["1"]
    assert "1 item cannot be used" in result.problems[0]
    assert str(path) in result.problems[0]


def test_mixed_number_types_and_nan_images_are_listed(root):
    deep = np.full((4, 6), 7, np.float32)
    Image.fromarray(deep).save(root / "train/images/2.tif")
    Image.fromarray(np.full_like(deep, np.nan)).save(root / "train/images/3.tif")
    for number in (2, 3):
        save(root / f"train/masks/{number}.png", np.ones((4, 6)))
    result = audit(segmentation(root), CLASSES)
    damaged, types = result.problems
    assert "3.tif contains only nodata pixels" in damaged
    assert "one number type, but 0, 1 uint8; 2 float32" in types
    assert [line.split(":")[0] for line in result.every] == ["train/3", "train/2"]


@pytest.mark.parametrize("value", [-3.4028235e38, 1e31])
def test_nodata_without_a_tag_is_a_problem(root, value):
    image = np.ones((4, 6), np.float32)
    image[0, 0] = value
    for split, number in {"train": 0, "val": 2}.items():
        (root / split / f"images/{number}.png").unlink()
        Image.fromarray(image).save(root / split / f"images/{number}.tif")
    assert f"holds {value:g}, probably nodata" in audit(segmentation(root), CLASSES).problems[0]


def test_leakage_is_found_by_content(root):
    save(root / "val/images/2.png", np.full((4, 6, 3), 1))
    result = audit(segmentation(root), CLASSES)
    assert result.problems == ["leakage: 1 image of val also in train: val/2 = train/1"]
    assert result.every == ["val/2 = train/1"]


def test_classes_without_labels_are_listed(root):
    result = audit(segmentation(root, [*CLASSES, "bus"]), [*CLASSES, "bus"])
    assert result.problems == ["train: no labels of bus, which the model therefore cannot learn"]
    assert "absent" in printed(result)


@pytest.mark.parametrize("split", ["val", "test"])
def test_classes_absent_from_a_scored_split_are_noted(root, split):
    save(root / split / "images/3.png", np.full((4, 6, 3), 3))
    save(root / split / "masks/3.png", np.zeros((4, 6)))
    (root / "val/masks/2.png").write_bytes((root / split / "masks/3.png").read_bytes())
    result = audit(segmentation(root), CLASSES)
    text = printed(result)
    assert result.problems == []
    assert f"note: {split}: no labels of road, car" in text
    assert "No problems found" not in text


@pytest.mark.parametrize("kind", ["train/images train/masks", "images/train masks/train"])
def test_a_set_without_val_is_a_problem_with_a_fix(tmp_path, kind):
    folders = kind.split()
    for number in range(6):
        save(tmp_path / folders[0] / f"{number}.png", np.full((4, 6, 3), number))
        save(tmp_path / folders[1] / f"{number}.png", np.repeat([[0, 1, 2]], 4, 0).repeat(2, 1))
    (problem,) = audit(segmentation(tmp_path), CLASSES).problems
    assert "there is no 'val' split" in problem
    fix = dict(part.split("=") for part in problem.partition("fix:")[2].split() if part.startswith("data."))
    assert fix.pop("data.source.split.test") == "0"
    options = {name.rpartition(".")[2]: value for name, value in fix.items()}
    options = {"root": tmp_path, "split": {"val": 0.15, "test": 0}} | options
    result = audit(FolderSegmentation(labels=Labels(CLASSES), **options), CLASSES)
    assert result.problems == []
    assert [split.name for split in result.splits] == ["train", "val"]


def test_masks_of_0_and_255_are_recognised(root):
    for number in range(2):
        save(root / f"train/masks/{number}.png", np.repeat([[0, 255]], 4, 0).repeat(3, 1))
    save(root / "val/masks/2.png", np.zeros((4, 6)))
    result = audit(segmentation(root, ["no", "yes"]), ["no", "yes"])
    assert "if 255 means yes" in result.problems[1]
    assert "'data.source.labels.remap={255:1}'" in result.problems[1]


def test_labels_from_1_get_a_remap_suggestion(root):
    for number in range(2):
        save(root / f"train/masks/{number}.png", np.repeat([[1, 2, 3]], 4, 0).repeat(2, 1))
    result = audit(segmentation(root), CLASSES)
    assert "data.source.labels.first=1 if the labels start at 1" in result.problems[0]


def test_interpolated_masks_are_recognised(root):
    levels = np.tile(np.uint8([0] * 8 + [255] * 8 + [20, 40, 60, 80, 120, 160, 200, 230]), 1).reshape(4, 6)
    save(root / "train/masks/0.png", levels)
    result = audit(segmentation(root, ["no", "yes"]), ["no", "yes"])
    assert "interpolated" in result.problems[0]
    assert "'data.source.labels.threshold=128' assigns values from 128 to yes" in result.problems[0]


def test_remarks_are_printed_but_are_not_problems(root):
    exif = Image.Exif()
    exif[0x0112] = 3
    for number in range(2):
        Image.fromarray(np.full((4, 6, 3), number, np.uint8)).save(
            root / f"train/images/{number}.png", exif=exif
        )
    result = audit(segmentation(root), CLASSES)
    assert result.problems == []
    text = printed(result)
    assert "note: train: images with an EXIF orientation other than 1: 2 of 2" in text
    assert "Nothing prevents training; see the notes above." in text


def test_a_split_that_fails_does_not_stop_the_audit(root):
    (root / "train/masks/0.png").unlink()
    result = audit(segmentation(root), CLASSES)
    assert "1 without a mask: 0" in result.problems[0]
    assert [split.name for split in result.splits] == ["val"]


def test_image_labels_count_images(tmp_path):
    for name, value in [("train/cat/a", 0), ("train/cat/b", 1), ("train/dog/c", 2)]:
        save(tmp_path / f"{name}.png", np.full((4, 6), value))
    result = audit(FolderClassification(tmp_path, ["cat", "dog"]), ["cat", "dog"])
    assert result.splits[0].histogram.images.tolist() == [2, 1]
    (problem,) = result.problems
    assert "no 'val' split" in problem
    assert f"data.root={tmp_path / 'train'} data.source.split.test=0" in problem


class Least(Split):
    """A split with only the required members."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return Raw(np.full((3, 3, 1), index, np.uint8), np.full((3, 3), index, np.uint8), f"item{index}")

    def size(self, index):
        return 3, 3


class LeastSource(Source):
    def split(self, name):
        return Least() if name == "train" else None


def test_a_minimal_source_can_be_audited():
    result = audit(LeastSource(), ["a", "b"])
    assert result.splits[0].histogram.pixels.tolist() == [9, 9]
    assert result.origin == ""
    assert ["no 'val' split" in problem for problem in result.problems] == [True]
    assert fingerprint({"train": Least(), "val": None}, ["a", "b"])["train"]["images"] == 2


def test_the_histogram_stops_at_an_unknown_label(root):
    assert class_histogram(segmentation(root).split("train"), CLASSES).absent == []
    save(root / "train/masks/1.png", np.full((4, 6), 11))
    with refused(r"1\.png holds labels without a meaning"):
        class_histogram(segmentation(root).split("train"), CLASSES)


def test_the_fingerprint_changes_with_the_files(root):
    def read():
        source = segmentation(root)
        return fingerprint({name: source.split(name) for name in ("train", "val", "test")}, CLASSES)

    before = read()
    assert read() == before
    save(root / "val/images/2.png", np.random.default_rng(0).integers(0, 255, (4, 6, 3)))
    after = read()
    assert after["train"] == before["train"]
    assert after["val"] != before["val"]
