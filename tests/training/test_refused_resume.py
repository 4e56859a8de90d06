"""A resume that is refused, at whatever point, leaves the run as it was."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.forked import forked

LOG = "train.log"


def contents(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file() and file.name != LOG)
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("optimizer.lr=-1", "schedule.phases.all.lr"),
        ("trainer.max_epochs=1", "this run has trained for 2 epochs already"),
        ("epochs=1", "this run has trained for 2 epochs already"),
        ("encoder.name=test_convnext", "last.ckpt does not fit the model"),
        ("task.monitor=val/nothing", "val/nothing"),
    ],
)
def test_a_refused_resume_changes_nothing(word: str, message: str, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "run", symlinks=True)
    before = contents(tmp_path / "run")
    done = forked(tmp_path, "train", "resume=run", word, "allow_change=true")
    assert done.status in (1, 2), done.printed
    assert message in done.printed
    assert "Traceback" not in done.printed
    assert contents(tmp_path / "run") == before
    assert "this run is finished" in forked(tmp_path, "train", "resume=run").printed
