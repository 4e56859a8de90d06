"""`python predict.py` on GeoTIFFs that cannot be predicted, and on a full disk."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.helpers import Tiff, refused
from tests.prediction.conftest import SMALL, Job, Noise

ROOT = Path(__file__).parents[2]


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
    usage = shutil.disk_usage(tmp_path)._replace(free=69_999)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    typed = [f"input={tiff('tile.tif', noise(100, 100, 3))}", "output=out"]
    with refused(r"not enough disk[\s\S]*found[\s\S]*expected"):
        job(*typed, "probabilities=true")
    assert job(*typed) == 1
