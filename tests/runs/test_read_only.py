"""A finished run that cannot be written, on a read-only disk or of another user, can be used."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from PIL import Image
from tests.faults import can_mount, powerless, read_only
from tests.helpers import Command, copy_run

HOW: dict[str, Callable[[Path], AbstractContextManager[None]]] = {
    "permissions": powerless,
    "mount": read_only,
}
HUB = ("README.md", "config.json", "model.safetensors", "sample.npz", "sample.png")
USES = {
    "evaluate": (["run=run"], []),
    "evaluate with output": (["run=run", "output=own/scores.json"], ["evaluate.log", "scores.json"]),
    "predict": (
        ["run=run", "input=photo.png", "output=own"],
        ["photo.png", "photo_overlay.png", "predict.log", "prediction.json"],
    ),
    "export": (
        ["run=run", "format=hub", "output=own/hub"],
        ["export.log", "hub", *(f"hub/{name}" for name in HUB)],
    ),
    "report": (["run", "output=own"], ["report.html"]),
}
"""Arguments, and the files that they write below `own`."""


@pytest.fixture(params=HOW)
def closed(
    request: pytest.FixtureRequest, trained: Path, tmp_path: Path
) -> Callable[[], AbstractContextManager[None]]:
    """Makes a copy of a run unwritable, for one command."""
    if request.param == "mount" and not can_mount():
        pytest.skip("neither root nor user namespaces")
    copy_run(trained, tmp_path / "run")
    Image.new("RGB", (40, 40), (9, 99, 200)).save(tmp_path / "photo.png")
    return lambda: HOW[request.param](tmp_path / "run")


def files(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


@pytest.mark.parametrize("use", USES)
def test_a_run_that_cannot_be_written_can_be_used(
    use: str, closed: Callable[..., AbstractContextManager[None]], tmp_path: Path, command: Command
) -> None:
    words, written = USES[use]
    before = files(tmp_path / "run")
    done = command(use.split()[0], *words, around=closed())
    assert done.status == 0, done.printed
    assert "lines are missing" not in done.printed  # of the log
    assert files(tmp_path / "run") == before
    assert sorted(str(f.relative_to(tmp_path / "own")) for f in (tmp_path / "own").rglob("*")) == written
    assert {path.name for path in tmp_path.iterdir()} <= {"run", "photo.png", "own"}
    if use.startswith("evaluate"):
        assert "the scores are equal" in done.printed
    if log := next((name for name in written if name.endswith(".log")), None):
        assert "cannot be written; log in " in done.printed
        assert str(tmp_path / "run") in (tmp_path / "own" / log).read_text()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("export", ["run=run", "format=pt2"]),
        ("report", ["run"]),
        ("train", ["resume=run", "trainer.max_epochs=1"]),
    ],
)
def test_what_must_write_to_the_run_says_what_to_do(
    name: str,
    words: list[str],
    closed: Callable[..., AbstractContextManager[None]],
    tmp_path: Path,
    command: Command,
) -> None:
    done = command(name, *words, around=closed())
    assert done.status == 2, done.printed
    assert "cannot be written\n  found:    " in done.printed
    assert ("a copy of the run" if name == "train" else "output=") in done.printed.split("fix:")[1]
    assert "Traceback" not in done.printed


@pytest.mark.parametrize(
    ("file", "words", "needed"),
    [
        (".", ["evaluate", "run=run"], True),
        ("config.yaml", ["evaluate", "run=run"], True),
        ("checkpoints/best.ckpt", ["evaluate", "run=run"], True),
        ("metrics.json", ["evaluate", "run=run"], False),
        ("samples.json", ["report", "run", "output=own"], False),
        ("data.json", ["predict", "run=run", "input=photo.png", "output=own"], False),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    file: str,
    words: list[str],
    needed: bool,
    trained: Path,
    tmp_path: Path,
    command: Command,
) -> None:
    copy_run(trained, tmp_path / "run")
    (tmp_path / "other").mkdir()
    Image.new("RGB", (40, 40), (9, 99, 200)).save(tmp_path / "photo.png")
    place = tmp_path / "run" / file
    mode = place.stat().st_mode
    place.chmod(0)
    done = command(*words, around=powerless(tmp_path / "other"))
    place.chmod(mode)
    assert (done.status in (1, 2)) == needed, done.printed
    assert "ermission denied" in done.printed
    assert str(place) in done.printed or "run=run cannot be read" in done.printed
    assert "Traceback" not in done.printed


def test_the_helper_takes_the_rights_of_root(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    child = os.fork()
    if child == 0:
        with powerless(tmp_path):
            try:
                (tmp_path / "file").write_text("x")
            except PermissionError:
                os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    tmp_path.chmod(0o755)


def test_logs_in_an_output_do_not_count_as_predictions(
    closed: Callable[..., AbstractContextManager[None]], tmp_path: Path, command: Command
) -> None:
    words = ["run=run", "input=photo.png", "output=own"]
    (tmp_path / "own").mkdir()
    (tmp_path / "own/predict.log").write_text("an attempt with other settings\n")
    (tmp_path / "own/prediction.json").write_text(json.dumps({"weights": "other"}))
    done = command("predict", *words, around=closed())
    assert done.status == 0, done.printed
