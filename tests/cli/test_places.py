"""Paths of the command line: an empty one is refused, and so is a place that cannot be written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.faults import powerless
from tests.helpers import Command, copy_run

GIVEN = {
    "train": [],
    "evaluate": ["run=run"],
    "predict": ["run=run", "input=photo.png", "output=out"],
    "export": ["run=run", "format=pt2"],
    "report": ["run"],
    "audit": [],
    "plan": [],
    "search": ["search=loss_and_rate"],
    "draw_potsdam": ["data=potsdam_synthetic"],
    "transfer": [],
}
OF_TRAINING = (
    *("data.root=", "encoder.weights=", "resume=", "hydra.run.dir=", "-m seed=1,2 sweep.name="),
    *("-m seed=1,2 hydra.sweep.dir=", "data=tiles data.classes=[a,b] data.root=. data.prepared="),
    "data=folder data.classes=[a,b] data.root=",
)
EMPTY = [
    *(("train", words) for words in OF_TRAINING),
    *(("evaluate", words) for words in ("run=", "output=", "run=''", "data.root=")),
    *(("predict", words) for words in ("run=", "input=", "output=", "input=''", "input=' '")),
    *(("export", words) for words in ("run=", "output=", "sample=")),
    *(("report", words) for words in ("run=", "output=")),
    *((name, "data.root=") for name in ("audit", "plan", "search", "draw_potsdam")),
    *((name, "hydra.run.dir=") for name in ("audit", "plan", "search")),
    ("transfer", "output="),
]
"""A command, and overrides of which the last one is empty, as after an unset variable of the shell."""


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of a finished run; the current folder looks like a run, too."""
    return copy_run(trained, tmp_path / "run", ["*.ckpt"])


@pytest.mark.parametrize(("name", "words"), EMPTY)
def test_an_empty_path_is_refused(
    name: str, words: str, run: Path, trained: Path, tmp_path: Path, command: Command
) -> None:
    for file in ("config.yaml", "overrides.yaml", "data.json"):  # `run=` must not mean the current folder
        shutil.copy(trained / file, tmp_path / file)
    before = sorted(tmp_path.rglob("*"))
    key = words.split()[-1].partition("=")[0] if words != "input=' '" else "input"
    given = [word for word in GIVEN[name] if not word.startswith(f"{key}=")]
    given = [] if (name, key) == ("report", "run") else given
    done = command(name, *given, *(words.split() if words != "input=' '" else [words]))
    assert done.status == 2, done.printed
    assert f"error: {key}" in done.printed, done.printed
    assert "Traceback" not in done.printed
    assert sorted(tmp_path.rglob("*")) == before


PLACES = [
    ("evaluate", "output={}/x.json"),
    ("predict", "output={}/maps"),
    ("export", "output={}/pt2"),
    ("report", "output={}/page"),
    ("train", "hydra.run.dir={}/new"),
    ("train", "-m seed=1,2 hydra.sweep.dir={}/sweep"),
    ("search", "hydra.run.dir={}/search"),
    ("audit", "hydra.run.dir={}/audit"),
    ("transfer", "output={}/study"),
]


BELOW_A_FILE = [("file", name, words) for name, words in PLACES if name in ("evaluate", "train")]


@pytest.mark.parametrize(("folder", "name", "words"), [*(("closed", *p) for p in PLACES), *BELOW_A_FILE])
def test_a_place_that_cannot_be_written_is_refused(
    folder: str, name: str, words: str, run: Path, tmp_path: Path, command: Command
) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "file").touch()
    given = [word for word in GIVEN[name] if not word.startswith("output=")]
    done = command(name, *given, *words.format(folder).split(), around=powerless(tmp_path / "closed"))
    assert done.status == 2, done.printed
    last = words.format(folder).split()[-1]
    assert f"error: {last} cannot be written" in done.printed, done.printed
    assert "another" in done.printed  # what to do
    assert "trainer.precision" not in done.printed  # nothing was built yet
    assert {path.name for path in tmp_path.iterdir()} == {"closed", "file", "run"}


@pytest.mark.parametrize(
    ("name", "output", "found"), [("evaluate", "folder", "a folder"), ("predict", "file", "a file")]
)
def test_an_output_of_the_wrong_kind_is_refused(
    name: str, output: str, found: str, run: Path, tmp_path: Path, command: Command
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    done = command(name, *[w for w in GIVEN[name] if not w.startswith("output=")], f"output={output}")
    assert done.status == 2, done.printed
    assert f"error: output={output}\n  found:    {found}" in done.printed


def test_an_output_is_created_with_its_folders(trained: Path, tmp_path: Path, command: Command) -> None:
    run = copy_run(trained, tmp_path / "run")
    done = command("evaluate", "run=run", "output=new/folder/scores.json")
    assert done.status == 0, done.printed
    assert (tmp_path / "new/folder/scores.json").read_text() == (run / "metrics.json").read_text()
