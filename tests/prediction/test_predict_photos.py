"""`predict.py` on photographs: masks, tables, and what it never overwrites."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.helpers import Script, refused
from tests.training.test_run import contents

from pixelwise.prediction import files


def test_predict_warns_of_changed_classes(trained: Path, script: Script, tmp_path: Path) -> None:
    recorded = json.loads((trained / "data.json").read_text())
    assert (recorded["mean"], recorded["std"]) == ([0.5] * 3, [0.25] * 3)
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    words = ["predict.py", f"run={trained}", "input=a.png", "output=out", "data.classes=[sky,cat,dog]"]
    done = script(*words)
    assert done.returncode == 0, done.stderr
    assert "differ from the run's in classes: ['background', 'cat', 'dog'] then, ['sky'," in done.stdout
    assert "1 prediction in out" in done.stdout


# --------------------------------------------------------------------------------------- predict
SIZES = {"wide.png": (70, 33), "nested/tall.jpg": (41, 97), "grey.png": (64, 64)}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name, (width, height) in SIZES.items():
        file = tmp_path / "photos" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        shape = (height, width) if name == "grey.png" else (height, width, 3)
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(file)
    return tmp_path / "photos"


def test_predict_writes_masks_and_skips_finished_ones(
    trained: Path, photos: Path, script: Script, tmp_path: Path
) -> None:
    arguments = ["predict.py", f"run={trained}", f"input={photos}", "output=out"]
    before = contents(trained)
    done = script(*arguments)
    assert done.returncode == 0, done.stderr
    after = contents(trained)
    assert [name for name in before if after[name] != before[name] and name != "predict.log"] == []
    for name, size in SIZES.items():
        mask = Image.open((tmp_path / "out" / name).with_suffix(".png"))
        assert (mask.mode, mask.size) == ("P", size)
        assert set(np.unique(np.asarray(mask))) <= {0, 1, 2}
        assert mask.palette is not None
        assert list(mask.palette.palette[3:6]) == [255, 159, 28]  # class 1 in the config's colour
        stem = Path(name).with_suffix("")
        assert Image.open(tmp_path / f"out/{stem}_overlay.png").size == size
    assert not list((tmp_path / "out").rglob("*.part"))

    (tmp_path / "out/wide_overlay.png").unlink()
    kept = (tmp_path / "out/grey.png").stat().st_mtime_ns
    done = script(*arguments)
    assert "2 of 3 images" in done.stdout
    assert (tmp_path / "out/wide_overlay.png").exists()
    assert (tmp_path / "out/grey.png").stat().st_mtime_ns == kept


def test_predictions_never_replace_other_files(trained: Path, photos: Path) -> None:
    weights, output = trained / "checkpoints/best.ckpt", photos / "out"
    images = files.find_images(str(photos), output)
    assert set(images) == {"wide", "nested/tall", "grey"}
    output.mkdir()
    shutil.copy(photos / "grey.png", output / "wide.png")
    assert files.find_images(str(photos), output) == images
    with refused(r"predictions would replace\n.*wide\.png"):
        files.prepare_output(output, weights, {}, images)
    assert [file.name for file in output.iterdir()] == ["wide.png"]
    with refused("is the folder of the images"):
        files.find_images(str(photos), photos)


def test_image_with_a_name_like_a_pattern_is_found(photos: Path) -> None:
    file = (photos / "grey.png").rename(photos / "grey[1].png")
    assert files.find_images(str(file)) == {"grey[1]": file}


def test_classifier_writes_a_table_of_probabilities(
    trained_classifier: Path, photos: Path, script: Script, tmp_path: Path
) -> None:
    done = script("predict.py", f"run={trained_classifier}", f"input={photos}/*.png", "output=out")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "out/probabilities.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["file"] for row in rows] == ["grey", "wide"]
    for row in rows:
        values = {name: float(row[name]) for name in ("background", "road")}
        assert sum(values.values()) == pytest.approx(1, abs=2e-6)
        assert row["class"] == max(values, key=lambda name: values[name])
