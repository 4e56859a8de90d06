"""`python predict.py` on GeoTIFFs: outputs, repeated calls and errors."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import rasterio
from omegaconf import OmegaConf
from PIL import Image
from tests.helpers import Script, Tiff, refused
from tests.prediction.conftest import SMALL, Job, Noise

from pixelwise.errors import UserError

ROOT = Path(__file__).parents[2]


def read(file: Path) -> np.ndarray:
    with rasterio.open(file) as dataset:
        return dataset.read()


def test_map_keeps_the_georeference_of_its_tile(
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
        info = json.loads(done.stdout)
        assert (info["count"], info["height"], info["width"]) == (count, 150, 170)
        assert (info["crs"], info["tiled"], info["compress"]) == ("EPSG:32633", True, "deflate")
        assert info["transform"][:6] == [0.05, 0.0, 366676.4, 0.0, -0.05, 5808769.9]

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


def test_png_and_tiff_get_equal_maps_with_and_without_tta(
    tiff: Tiff, noise: Noise, job: Job, tmp_path: Path
) -> None:
    image = noise(90, 70, 3)
    tiff("both/raster.tif", image)
    Image.fromarray(image).save(tmp_path / "both/photo.png")
    for output, extra in (("once", []), ("views", ["tta=[d4,scales]", "batch_size=3"])):
        assert job("input=both", f"output={output}", "probabilities=true", *SMALL, *extra) == 2
        photo = np.asarray(Image.open(tmp_path / output / "photo.png"))
        np.testing.assert_array_equal(read(tmp_path / output / "raster.tif")[0], photo)
        probabilities = [read(tmp_path / f"{output}/{n}_probabilities.tif") for n in ("raster", "photo")]
        np.testing.assert_array_equal(*probabilities)
    assert (read(tmp_path / "once/raster.tif") != read(tmp_path / "views/raster.tif")).any()


def test_bands_and_nodata_are_taken_from_the_run(
    trained: Path, tiff: Tiff, noise: Noise, job: Job, tmp_path: Path
) -> None:
    """Bands in another order cause no error, so that only the maps show whether the order is right."""
    config = OmegaConf.load(trained / "config.yaml")
    config.data.source.bands, config.data.source.nodata = [3, 2, 1], 7
    run = shutil.copytree(trained, tmp_path / "run")
    OmegaConf.save(config, run / "config.yaml")
    image = noise(90, 70, 3)
    image[:30] = 7
    tiff("stored/tile.tif", image)
    tiff("seen/tile.tif", image[..., ::-1], nodata=7)
    job("input=stored", "output=as_trained", *SMALL, run=run)
    job("input=seen", "output=by_hand", *SMALL)
    job("input=stored", "output=otherwise", "bands=null", *SMALL, run=run)
    maps = [read(tmp_path / f"{output}/tile.tif")[0] for output in ("as_trained", "by_hand", "otherwise")]
    np.testing.assert_array_equal(maps[0], maps[1])
    assert (maps[0] != maps[2]).any(), "the order of the bands has no effect on the map"
    assert ((maps[0] == 255).sum(1) == 70 * (np.arange(90) < 30)).all()


def test_classifier_uses_the_chosen_bands(
    trained_classifier: Path, tiff: Tiff, noise: Noise, job: Job, tmp_path: Path
) -> None:
    image = noise(90, 70, 5)
    tiff("stored/tile.tif", image)
    tiff("seen/tile.tif", image[..., [4, 0, 1]])
    tables = []
    for name, bands in (("stored", ["bands=[5,1,2]"]), ("seen", []), ("seen", ["bands=[3,2,1]"])):
        output = f"out{len(tables)}"
        job(f"input={name}", f"output={output}", *bands, run=trained_classifier)
        tables.append((tmp_path / output / "probabilities.csv").read_text())
    assert tables[0] == tables[1] != tables[2]


def test_output_keeps_finished_maps_and_refuses_new_settings(
    tiff: Tiff, noise: Noise, job: Job, tmp_path: Path
) -> None:
    arguments = [f"input={tiff('tile.tif', noise(90, 70, 3))}", "output=out"]
    assert job(*arguments) == 1
    before = (tmp_path / "out/tile.tif").stat().st_mtime_ns
    assert job(*arguments) == 0
    assert (tmp_path / "out/tile.tif").stat().st_mtime_ns == before
    with refused("output=out holds predictions with different tta"):
        job(*arguments, "tta=flips")
    assert job(*arguments, "probabilities=true") == 1
    assert (tmp_path / "out/tile_probabilities.tif").exists()


def test_suggested_fix_works_in_the_same_folder(tiff: Tiff, noise: Noise, job: Job, tmp_path: Path) -> None:
    image = noise(90, 70, 5)
    arguments = [f"input={tiff('tile.tif', image)}", "output=out"]
    with pytest.raises(UserError) as caught:
        job(*arguments)
    suggestion = re.search(r"'(bands=\[.*?\])'", str(caught.value))
    assert suggestion
    assert job(*arguments, suggestion[1]) == 1
    tiff("tile.tif", image[..., :3])
    assert job(arguments[0], "output=three") == 1
    np.testing.assert_array_equal(read(tmp_path / "out/tile.tif"), read(tmp_path / "three/tile.tif"))


def test_typos_and_options_without_effect_are_named(
    trained: Path,
    trained_classifier: Path,
    tiff: Tiff,
    noise: Noise,
    script: Script,
    job: Job,
    tmp_path: Path,
) -> None:
    file = tiff("tile.tif", noise(40, 40, 3))
    done = script("predict.py", f"run={trained}", f"input={file}", "output=out", "tta=flis")
    assert done.returncode == 2
    assert "did you mean tta=flips?" in done.stderr
    with refused("window=64 has no effect: task=classification"):
        job(f"input={file}", "output=out", "window=64", run=trained_classifier)
    assert not (tmp_path / "out").exists()
    assert job(f"input={file}", "output=out", "tta=d4", run=trained_classifier) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_interrupted_prediction_leaves_no_parts_and_resumes(
    number: signal.Signals, trained: Path, tiff: Tiff, noise: Noise, job: Job, tmp_path: Path
) -> None:
    files = [tiff("in/a.tif", noise(50, 50, 3)), tiff("in/b.tif", noise(1500, 1500, 3))]
    arguments = [f"run={trained}", f"input={files[0].parent}", "output=out", "window=32", "overlap=0.75"]
    command = [sys.executable, ROOT / "predict.py", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    restore = partial(signal.signal, number, signal.SIG_DFL)  # background jobs of a shell ignore Ctrl-C
    with subprocess.Popen(command, cwd=tmp_path, preexec_fn=restore, **pipes) as process:
        deadline = time.monotonic() + 120
        while not list((tmp_path / "out").glob("b.tif.part")) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(process.pid, number)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number, errors
    assert "stopped after 1 of 2 images; repeat the command to continue" in output
    assert "Traceback" not in errors
    left = {f.name for f in (tmp_path / "out").iterdir()}
    assert left == {"prediction.json", "a.tif", "a_areas.csv", "a_overlay.png"}
    files[1].unlink()
    tiff("in/b.tif", noise(60, 60, 3))
    assert job(*arguments[1:]) == 1
    assert (tmp_path / "out/b.tif").exists()
