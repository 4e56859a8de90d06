"""`python predict.py` on GeoTIFFs: what is written, what is kept, what is refused."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image

ROOT = Path(__file__).parents[2]
Tiff = Callable[..., Path]
Noise = Callable[..., np.ndarray]
Script = Callable[..., subprocess.CompletedProcess[str]]
SMALL = ("window=64", "overlap=0.5")


def read(file: Path) -> np.ndarray:
    with rasterio.open(file) as dataset:
        return dataset.read()


def test_a_map_lies_where_its_tile_lies(
    trained: Path, tiff: Tiff, noise: Noise, script: Script, tmp_path: Path
) -> None:
    image = noise(150, 170, 3)
    image[:, :30] = 0
    file = tiff("tiles/tile.tif", image, nodata=0)
    done = script("predict.py", f"run={trained}", f"input={file}", "output=out", "probabilities=true", *SMALL)
    assert done.returncode == 0, done.stderr
    names = {f.name for f in (tmp_path / "out").iterdir()}
    assert names == {
        "prediction.json",
        "tile.tif",
        "tile_areas.csv",
        "tile_overlay.png",
        "tile_probabilities.tif",
    }
    rio = Path(sys.executable).parent / "rio"
    for name, count in (("tile.tif", 1), ("tile_probabilities.tif", 3)):
        done = subprocess.run(
            [rio, "info", tmp_path / "out" / name], capture_output=True, text=True, check=True
        )
        told = json.loads(done.stdout)
        assert (told["count"], told["height"], told["width"]) == (count, 150, 170)
        assert (told["crs"], told["tiled"], told["compress"]) == ("EPSG:32633", True, "deflate")
        assert told["transform"][:6] == [0.05, 0.0, 366676.4, 0.0, -0.05, 5808769.9]

    (classes,), probabilities = read(tmp_path / "out/tile.tif"), read(tmp_path / "out/tile_probabilities.tif")
    assert (classes[:, :30] == 255).all()
    assert not probabilities[:, :, :30].any()
    assert set(np.unique(classes[:, 30:])) <= {0, 1, 2}
    chosen = np.take_along_axis(probabilities[:, :, 30:], classes[None, :, 30:].astype(int), 0)
    np.testing.assert_array_equal(chosen[0], probabilities[:, :, 30:].max(0))
    with rasterio.open(tmp_path / "out/tile.tif") as dataset:
        assert dataset.nodata == 255
        assert dataset.colormap(1)[1] == (255, 159, 28, 255)  # class 1 in the config's colour
        assert dataset.tags()["CLASS_1"] == "cat"
    with (tmp_path / "out/tile_areas.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["class"] for row in rows] == ["background", "cat", "dog"]
    assert sum(float(row["area_m2"]) for row in rows) == pytest.approx(150 * 140 * 0.0025)
    assert [int(row["pixels"]) for row in rows] == [int((classes == index).sum()) for index in range(3)]
    assert Image.open(tmp_path / "out/tile_overlay.png").size == (170, 150)


def test_a_png_and_a_tiff_of_the_same_pixels_get_the_same_map_and_views_are_used(
    trained: Path, tiff: Tiff, noise: Noise, script: Script, tmp_path: Path
) -> None:
    image = noise(90, 70, 3)
    tiff("both/raster.tif", image)
    Image.fromarray(image).save(tmp_path / "both/photo.png")
    for output, extra in (("once", []), ("views", ["tta=[d4,scales]", "batch_size=3"])):
        done = script("predict.py", f"run={trained}", "input=both", f"output={output}", *SMALL, *extra)
        assert done.returncode == 0, done.stderr
        photo = np.asarray(Image.open(tmp_path / output / "photo.png"))
        np.testing.assert_array_equal(read(tmp_path / output / "raster.tif")[0], photo)
    assert (read(tmp_path / "once/raster.tif") != read(tmp_path / "views/raster.tif")).any()


def test_another_setting_needs_another_folder_and_finished_files_are_kept(
    trained: Path, tiff: Tiff, noise: Noise, script: Script, tmp_path: Path
) -> None:
    file = tiff("tile.tif", noise(90, 70, 3))
    arguments = ["predict.py", f"run={trained}", f"input={file}", "output=out"]
    assert script(*arguments).returncode == 0
    before = (tmp_path / "out/tile.tif").stat().st_mtime_ns
    assert "1 of 1 images are predicted already" in script(*arguments).stdout
    assert (tmp_path / "out/tile.tif").stat().st_mtime_ns == before
    refused = script(*arguments, "tta=flips")
    assert refused.returncode == 1
    assert "output=out holds predictions of other tta" in refused.stderr
    assert script(*arguments, "probabilities=true").returncode == 0
    assert (tmp_path / "out/tile_probabilities.tif").exists()


@pytest.mark.parametrize("damage", ["truncated", "bands", "nodata", "type", "folder", "itself"])
def test_bad_input_is_one_clear_error_and_leaves_nothing(
    damage: str, trained: Path, tiff: Tiff, noise: Noise, script: Script, tmp_path: Path
) -> None:
    image, profile = noise(300, 300, 3), {}
    output = tmp_path / "out"
    if damage == "bands":
        image = noise(300, 300, 4)
    elif damage == "nodata":
        image, profile = np.zeros_like(image), {"nodata": 0}
    elif damage == "type":
        image = image.astype(np.int16)
    file = tiff("in/tile.tif", image, **profile)
    if damage == "truncated":
        file.write_bytes(file.read_bytes()[:150_000])
    elif damage == "folder":
        output.write_text("a file")
    elif damage == "itself":
        output = file.parent
    expected = {
        "truncated": r"tile.tif cannot be read",
        "bands": r"tile.tif: the run was trained on images of 3 bands\n  found: +4 bands",
        "nodata": r"tile.tif: every pixel is nodata",
        "type": r"tile.tif stores its pixels as int16",
        "folder": r"cannot be written",
        "itself": r"tile.tif would be overwritten by its own map",
    }
    before = file.read_bytes()
    done = script("predict.py", f"run={trained}", f"input={file}", f"output={output}", *SMALL)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr + done.stdout
    assert re.search(expected[damage], done.stderr), done.stderr
    assert file.read_bytes() == before
    left = [f.name for f in output.iterdir()] if output.is_dir() else []
    assert set(left) <= {"prediction.json", "tile.tif" if damage == "itself" else ""}


def test_after_a_refusal_the_same_folder_takes_what_was_advised(
    trained: Path, tiff: Tiff, noise: Noise, script: Script, tmp_path: Path
) -> None:
    image = noise(90, 70, 4)
    arguments = ["predict.py", f"run={trained}", f"input={tiff('tile.tif', image)}", "output=out"]
    refused = script(*arguments)
    advice = re.search(r"'(bands=\[.*?\])'", refused.stderr)
    assert advice
    assert script(*arguments, advice[1]).returncode == 0
    tiff("tile.tif", image[..., :3])
    assert script(*arguments[:-1], "output=three").returncode == 0
    np.testing.assert_array_equal(read(tmp_path / "out/tile.tif"), read(tmp_path / "three/tile.tif"))


def test_typos_and_idle_options_are_named(
    trained: Path, trained_classifier: Path, tiff: Tiff, noise: Noise, script: Script, tmp_path: Path
) -> None:
    file = tiff("tile.tif", noise(40, 40, 3))
    done = script("predict.py", f"run={trained}", f"input={file}", "output=out", "tta=flip")
    assert done.returncode == 2
    assert "did you mean tta=flips?" in done.stderr
    done = script("predict.py", f"run={trained_classifier}", f"input={file}", "output=out", "window=64")
    assert done.returncode == 1
    assert "window=64 has no effect: task=classification" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_prediction_leaves_nothing_and_goes_on(
    number: signal.Signals, trained: Path, tiff: Tiff, noise: Noise, script: Script, tmp_path: Path
) -> None:
    files = [tiff("in/a.tif", noise(50, 50, 3)), tiff("in/b.tif", noise(1500, 1500, 3))]
    arguments = [f"run={trained}", f"input={files[0].parent}", "output=out", "window=32", "overlap=0.75"]
    command = [sys.executable, ROOT / "predict.py", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=tmp_path, **pipes) as job:
        deadline = time.monotonic() + 120
        while not list((tmp_path / "out").glob("b.tif.part")) and job.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(job.pid, number)
        told, errors = job.communicate(timeout=60)
    assert job.returncode == 128 + number, errors
    assert "stopped after 1 of 2 images; the same command goes on" in told
    assert "Traceback" not in errors
    left = {f.name for f in (tmp_path / "out").iterdir()}
    assert left == {"prediction.json", "a.tif", "a_areas.csv", "a_overlay.png"}
    files[1].unlink()
    tiff("in/b.tif", noise(60, 60, 3))
    done = script("predict.py", *arguments)
    assert "1 of 2 images are predicted already" in done.stdout
    assert (tmp_path / "out/b.tif").exists()
