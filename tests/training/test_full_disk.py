"""A full disk gives one error that names the disk, and leaves no empty or half file."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from tests.faults import can_mount, small_disk, small_files
from tests.helpers import Command, copy_run

from pixelwise import files
from pixelwise.training.callbacks.checkpoint import WholeFile

READERS: dict[str, Callable[[Path], object]] = {
    ".json": lambda file: json.loads(file.read_text()),
    ".yaml": lambda file: yaml.safe_load(file.read_text()),
    ".csv": lambda file: [dict(row) for row in csv.DictReader(io.StringIO(file.read_text()), strict=True)],
    ".png": lambda file: Image.open(file).load(),
    ".jpg": lambda file: Image.open(file).load(),
    ".tif": lambda file: Image.open(file).load(),
    ".ckpt": lambda file: torch.load(file, weights_only=True)["state_dict"],
    ".npy": lambda file: np.load(file),
    ".html": lambda file: file.read_text().index("</html>"),
}
ENDLESS = {".log", ".diff", ".tfw", ".txt", ""}
"""Suffixes of files without an end of their own."""


def assert_whole(folder: Path) -> list[str]:
    """Assert that every file below a folder is complete; return their names."""
    present = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    for file in present:
        assert not re.search(r"\.part$|^\.\d+_", file.name), file
        if "lock" in file.name:
            assert file.name.endswith("_lock"), file  # of prepared tiles; that of the run is removed
        elif file.suffix not in ENDLESS:
            READERS[file.suffix](file)
    return [str(file.relative_to(folder)) for file in present]


def limit(kind: str, tmp_path: Path, size: int) -> AbstractContextManager[None]:
    """A disk of this size at `disk`, left at `left`; or a limit for each file, for systems without mounts."""
    if kind == "files":
        (tmp_path / "left").mkdir()
        (tmp_path / "disk").symlink_to(tmp_path / "left")
        return small_files(size)
    if not can_mount():
        pytest.skip("neither root nor user namespaces")
    return small_disk(tmp_path / "disk", size, tmp_path / "left")


def assert_full(printed: str, kind: str, tmp_path: Path) -> None:
    """Assert that a command printed one error, about the disk."""
    assert "Traceback" not in printed, printed
    assert len(re.findall(r"^error: ", printed, re.MULTILINE)) == 1, printed
    if kind == "disk":
        assert re.search(
            rf"the disk is full\n  found: +No space left[\s\S]*free on {tmp_path}/disk", printed
        ), printed
        assert "fix:      free some space" in printed
    else:
        assert "a file would exceed the limit" in printed, printed
        assert "fix:      raise that limit" in printed


# ----------------------------------------------------------------------------------------- in training
@pytest.mark.parametrize(
    ("kind", "size"),
    [
        ("disk", 4_096),  # the record of the run
        ("disk", 65_536),  # a figure before the first step
        ("disk", 4_000_000),  # the first checkpoint
        pytest.param("disk", 160_000, marks=pytest.mark.slow),
        pytest.param("disk", 20_000_000, marks=pytest.mark.slow),
        ("files", 1_000),
        ("files", 4_000_000),
        pytest.param("files", 30_000, marks=pytest.mark.slow),
        pytest.param("files", 100_000, marks=pytest.mark.slow),
        pytest.param("files", 10_000_000, marks=pytest.mark.slow),
    ],
)
def test_a_full_disk_ends_training_with_one_error(
    kind: str, size: int, tiny: list[str], tmp_path: Path, command: Command
) -> None:
    done = command("train", *tiny, "hydra.run.dir=disk/run", around=limit(kind, tmp_path, size))
    assert done.status == 1, done.printed
    assert_full(done.printed, kind, tmp_path)
    left = assert_whole(tmp_path / "left")
    if "run/config.yaml" in left:
        assert "run/overrides.yaml" in left


def test_the_last_complete_checkpoint_is_named(tiny: list[str], tmp_path: Path, command: Command) -> None:
    done = command("train", *tiny, "hydra.run.dir=disk/run", around=limit("disk", tmp_path, 52_000_000))
    assert done.status == 1, done.printed
    assert_full(done.printed, "disk", tmp_path)
    last = tmp_path / "disk/run/checkpoints/last.ckpt"
    assert f"from step 2, the last complete checkpoint {last}" in done.printed, done.printed
    assert f"resume={tmp_path}/disk/run" in done.printed
    assert "run/checkpoints/last.ckpt" in assert_whole(tmp_path / "left")
    (tmp_path / "left/run").rename(tmp_path / "run")  # to a disk with space
    done = command("train", "resume=run")
    assert done.status == 0, done.printed
    assert f"resuming from {tmp_path}/run/checkpoints/last.ckpt" in done.printed


@pytest.mark.parametrize("number", files.DISK_FULL)
def test_a_full_disk_is_found_behind_any_other_error(number: int) -> None:
    full = OSError(number, os.strerror(number))
    assert files.disk_error(full) is full
    assert files.disk_error(OSError(errno.EACCES, "denied")) is None
    assert files.disk_error(RuntimeError()) is None
    context, cause = RuntimeError("while writing"), RuntimeError("because of")
    context.__context__ = full
    cause.__cause__ = context
    assert files.disk_error(cause) is full
    full.__context__ = cause  # a circle
    assert files.disk_error(cause) is full


def test_a_checkpoint_that_fails_keeps_the_one_before(tmp_path: Path) -> None:
    file = tmp_path / "last.ckpt"
    WholeFile().save_checkpoint({"state_dict": {}}, file)
    before = file.read_bytes()
    with small_files(50_000), pytest.raises((OSError, RuntimeError)) as caught:  # torch raises its own
        WholeFile().save_checkpoint({"state_dict": {"a": torch.zeros(99_999)}}, file)
    full = files.disk_error(caught.value)
    assert full is not None
    assert full.filename == str(file)
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


# -------------------------------------------------------------------------------------- other commands
COMMANDS = {
    "predict": ["run=run", "input=photo.png", "output=disk/own"],
    "predict a raster": ["run=run", "input=tile.tif", "output=disk/own", "probabilities=true"],
    "export": ["run=run", "format=pt2", "output=disk/own"],
    "export to hub": ["run=run", "format=hub", "output=disk/own"],
    "export to onnx": ["run=run", "format=onnx", "output=disk/own"],
    "report": ["run", "output=disk/own"],
    "draw_potsdam": ["data=potsdam_synthetic", "data.root=disk/own", "data.source.size=200"],
}
LIMITS = {"export": (50_000,), "export to onnx": (100_000,), "export to hub": (100_000,)}
"""Bytes that a file may have; by default a limit that each command exceeds at once, and a later one."""


@pytest.mark.parametrize(
    ("case", "size"), [(case, size) for case in COMMANDS for size in LIMITS.get(case, (3_000, 20_000))]
)
def test_a_full_disk_leaves_no_half_file(
    case: str, size: int, trained: Path, tmp_path: Path, command: Command
) -> None:
    copy_run(trained, tmp_path / "run")
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    for name in ("photo.png", "tile.tif"):
        Image.fromarray(noise).save(tmp_path / name)
    done = command(case.split()[0], *COMMANDS[case], around=limit("files", tmp_path, size))
    assert done.status in (1, 2), done.printed
    assert "Traceback" not in done.printed, done.printed
    assert "cannot be written" in done.printed, done.printed
    assert "bytes free on" in done.printed
    assert_whole(tmp_path / "left")


TILES = ["data=tiles", "data.root=tiles", "data.classes=[a,b]", "data.source.window=64"]


@pytest.mark.parametrize("kind", ["disk", "files"])
def test_a_full_disk_while_tiles_are_prepared(
    kind: str, tiny: list[str], tmp_path: Path, command: Command
) -> None:
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        image = rng.integers(0, 256, (300, 400, 3), dtype=np.uint8)
        for name, array in {"images": image, "masks": image[..., 0] % 2}.items():
            (tmp_path / "tiles" / name / split).mkdir(parents=True)
            Image.fromarray(array).save(tmp_path / "tiles" / name / split / "a.tif")
    words = [*tiny[:-1], *TILES, f"data.prepared={tmp_path}/disk/prepared", "hydra.run.dir=new"]
    check = "pixelwise.data.tiles.cache._check_space"  # another process takes the space after this check
    done = command("train", *words, without=[check], around=limit(kind, tmp_path, 300_000))
    assert done.status == 1, done.printed  # and not by SIGBUS
    assert_full(done.printed, kind, tmp_path)
    assert "data.prepared=" in done.printed
    assert all(name.endswith("_lock") for name in assert_whole(tmp_path / "left"))


def test_a_sweep_on_a_full_disk_says_so_for_each_job(
    tiny: list[str], tmp_path: Path, command: Command
) -> None:
    words = ["-m", *tiny, "seed=1,2", "hydra.sweep.dir=disk/sweep"]
    done = command("train", *words, around=limit("files", tmp_path, 12_000))
    assert done.status == 1, done.printed
    assert len(re.findall(r"^seed-\d failed: .*a file would exceed", done.printed, re.MULTILINE)) == 2
    assert "Traceback" not in done.printed
    assert_whole(tmp_path / "left")
