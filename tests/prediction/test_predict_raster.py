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
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import rasterio
from omegaconf import OmegaConf
from PIL import Image
from tests.helpers import Script, Tiff, refused

from pixelwise import build, runs
from pixelwise.cli.application import compose_alone
from pixelwise.cli.run_arguments import offer_config
from pixelwise.errors import UserError
from pixelwise.prediction.files import find_images, prepare_output
from pixelwise.prediction.predict import predict
from pixelwise.runs import checkpoints

ROOT = Path(__file__).parents[2]
Noise = Callable[..., np.ndarray]
Job = Callable[..., int]
SMALL = ("window=64", "overlap=0.5")


@pytest.fixture
def job(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """`job(*overrides)` predicts with the tiny run as predict.py does, in this process."""
    monkeypatch.chdir(tmp_path)

    def job(*typed: str, run: Path = trained) -> int:
        offer_config(runs.load_config(run))
        config = compose_alone("predict", [f"run={run}", *typed])
        weights, output = run / "checkpoints/best.ckpt", Path(config.output)
        images = find_images(config.input)
        model = checkpoints.load_model(build.model(config), weights)
        writer = build.writer(config, output, typed, model.normalize.mean.tolist())
        prepare_output(output, weights, build.prediction_identity(config))
        return predict(model, images, writer, output, **build.prediction_settings(config))

    return job


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


def damaged(damage: str, tiff: Tiff, image: np.ndarray) -> Path:
    """A file that cannot be predicted."""
    profile = {}
    if damage == "bands":
        image = image[..., [0, 1, 2, 0, 1]]
    elif damage == "nodata":
        image, profile = np.zeros_like(image), {"nodata": 0}
    elif damage == "type":
        image = image.astype(np.int16)
    file = tiff("in/tile.tif", image, **profile)
    if damage == "truncated":
        file.write_bytes(file.read_bytes()[:150_000])
    elif damage == "no image":
        file.write_text("nothing of the kind")
    return file


BAD = {
    "truncated": r"tile\.tif cannot be read as an image\n  found: +\S+[\s\S]*restore the file",
    "no image": r"tile\.tif cannot be read as an image\n  found: +\S+",
    "bands": r"tile\.tif gives 5 channels\n  found: +5 bands",
    "nodata": r"tile\.tif: every pixel is nodata\n  found: +nodata=0",
    "type": r"tile\.tif stores its pixels as int16",
    "folder": r"output=\S+ cannot be written\n  found:",
    "itself": r"tile\.tif would be overwritten by its own map",
}


@pytest.mark.parametrize("damage", BAD)
def test_bad_input_raises_one_error_and_leaves_no_files(
    damage: str, tiff: Tiff, noise: Noise, job: Job, tmp_path: Path
) -> None:
    file = damaged(damage, tiff, noise(300, 300, 3))
    output = file.parent if damage == "itself" else tmp_path / "out"
    if damage == "folder":
        output.write_text("a file")
    before = file.read_bytes()
    with refused(BAD[damage]):
        job(f"input={file}", f"output={output}", *SMALL)
    assert file.read_bytes() == before
    left = {f.name for f in output.iterdir()} if output.is_dir() else set()
    assert left <= {"prediction.json", file.name if damage == "itself" else "prediction.json"}


def test_damaged_images_do_not_stop_the_others(tiff: Tiff, noise: Noise, job: Job, tmp_path: Path) -> None:
    for name in "abcd":
        file = tiff(f"in/{name}.tif", noise(300, 300, 3))
        if name in "ac":
            file.write_bytes(file.read_bytes()[:150_000])
    with refused(r"2 of 4 images could not be predicted; all others were\n") as caught:
        job("input=in", "output=out", *SMALL)
    assert [line.split("/")[-1] for line in caught.value.every] == [
        f"{name}.tif cannot be read as an image" for name in "ac"
    ]
    kept = sorted(f.name for f in (tmp_path / "out").iterdir())
    assert kept == sorted(
        ["prediction.json", *(f"{n}{s}" for n in "bd" for s in (".tif", "_areas.csv", "_overlay.png"))]
    )
    (tmp_path / "in/c.tif").write_text("nothing of the kind")
    with refused(r"1 of 2 images cannot be predicted; no image was predicted\n"):
        job("input=in", "output=out", *SMALL)


def test_full_disk_raises_an_error_and_leaves_no_files(
    tiff: Tiff, noise: Noise, trained: Path, tmp_path: Path
) -> None:
    file = tiff("tile.tif", noise(900, 900, 3))
    limit = "import resource, runpy, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)); sys.argv = sys.argv[1:]; "
    limit += "runpy.run_path(sys.argv[0], run_name='__main__')"
    typed = [f"run={trained}", f"input={file}", "output=out", "probabilities=true"]
    command = [sys.executable, "-c", limit, str(ROOT / "predict.py"), *typed]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1, done.stdout
    assert re.search(r"output=out cannot be written\n  found: +\S+", done.stderr), done.stderr
    assert [f.name for f in (tmp_path / "out").iterdir()] == ["prediction.json"]


def test_too_little_disk_space_is_refused_before_the_start(
    tiff: Tiff, noise: Noise, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=39_999)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    typed = [f"input={tiff('tile.tif', noise(100, 100, 3))}", "output=out"]
    with refused(r"not enough disk[\s\S]*found[\s\S]*expected"):
        job(*typed, "probabilities=true")
    assert job(*typed) == 1


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
