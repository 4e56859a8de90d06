"""Every file of a run, damaged in every way, read by every command: one error or warning, no traceback.

The commands run in forks of this process, each on its own copy of one small run.
"""

from __future__ import annotations

import importlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image
from tests.forked import IMPORTED, Done, forked
from tests.helpers import Compose, refused

from pixelwise.files import write_json, write_rows
from pixelwise.prediction.files import prepare_output
from pixelwise.sweeps import summary
from pixelwise.sweeps.study import open_study

READ_BY = {
    "config.yaml": ("report", "evaluate", "predict", "export", "resume"),
    "overrides.yaml": ("resume", "report"),
    "data.json": ("report", "evaluate", "predict", "longer"),
    "environment.json": ("report", "resume", "longer"),
    "metrics.json": ("report", "resume", "evaluate", "export"),
    "metrics.csv": ("report", "longer"),
    "speed.csv": ("report", "longer"),
    "samples.json": ("report",),
    "plan.json": ("report",),
    "confusion.json": ("report",),
    "checkpoints/best.ckpt": ("predict", "evaluate", "export", "longer"),
    "checkpoints/last.ckpt": ("longer",),
    "checkpoints/previous.ckpt": ("longer",),
}
"""The commands that read a file, the quickest first."""

MAY_BE_DAMAGED = {
    ("overrides.yaml", "report"),  # the report does not need it
    ("checkpoints/best.ckpt", "longer"),  # a better epoch replaces it
    ("checkpoints/previous.ckpt", "longer"),  # read only if last.ckpt is damaged
}
"""Files that a command can do without, and commands."""


def other_type(file: Path) -> None:
    """Replace the top of a document by a list, or a list by a number."""
    file.write_text("7" if file.name == "overrides.yaml" else "[1, 2]")


def other_keys(file: Path) -> None:
    """Keep the syntax, but replace all keys."""
    if file.suffix == ".csv":
        file.write_text("\n".join(["p,q", *file.read_text().splitlines()[1:]]))
    elif file.suffix == ".ckpt":
        import torch

        torch.save({"weights": torch.zeros(2)}, file)
    else:
        file.write_text('{"colour": "blue"}')


def other_values(file: Path) -> None:
    """Keep the keys, but replace each value by one of another type, as another version may write it."""
    if file.suffix == ".csv":
        file.write_text(re.sub(r"\d", "x", file.read_text()))
    elif file.suffix == ".ckpt":
        import torch

        torch.save(dict.fromkeys(torch.load(file, weights_only=True), "x"), file)
    elif file.name == "overrides.yaml":
        file.write_text("- {a: 1}\n- [2]\n")
    elif file.suffix == ".yaml":
        file.write_text(re.sub(r"^(\w+):.*(\n( |-).*)*", r"\1: 1.5", file.read_text(), flags=re.MULTILINE))
    else:
        file.write_text(json.dumps({key: ["x"] for key in json.loads(file.read_text())}))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "emptied": lambda file: file.write_bytes(b""),
    "cut": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "noise": lambda file: file.write_bytes(np.random.default_rng(0).bytes(2000)),
    "other type": other_type,
    "other keys": other_keys,
    "other values": other_values,
}

COMMANDS = {
    "report": ["report", "run"],
    "evaluate": ["evaluate", "run=run"],
    "predict": ["predict", "run=run", "input=image.png", "output=maps"],
    "export": ["export", "run=run", "format=hub", "output=hub"],
    "resume": ["train", "resume=run"],
    "longer": ["train", "resume=run", "epochs=3", "allow_change=true"],
}


@pytest.fixture
def copied(trained: Path, tmp_path: Path) -> Path:
    for module in IMPORTED:
        importlib.import_module(f"pixelwise.{module}")
    shutil.copytree(trained, tmp_path / "run")
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / "image.png")
    return tmp_path


def assert_one_message(done: Done, file: Path, needed: bool = True) -> None:
    assert "Traceback" not in done.printed, done.printed
    if done.status:
        assert done.status in (1, 2), done.printed
        errors = re.findall(r"^error: .*(?:\n  .*)*", done.printed, re.MULTILINE)
        assert len(errors) == 1, done.printed
        assert file.name in errors[0], done.printed
    elif needed:
        assert file.name in done.printed, done.printed


def cases() -> Iterator[Any]:
    """Each file with each damage and each command that reads it; one command and four damages are quick."""
    for name, commands in READ_BY.items():
        for damage in DAMAGES:
            for command in commands:
                quick = command == commands[0] != "longer" and damage not in ("emptied", "noise")
                marks = () if quick else pytest.mark.slow
                yield pytest.param(name, damage, command, marks=marks, id=f"{name}-{damage}-{command}")


@pytest.mark.parametrize(("name", "damage", "command"), [*cases()])
def test_damaged_files_of_a_run(name: str, damage: str, command: str, copied: Path) -> None:
    file = copied / "run" / name
    DAMAGES[damage](file)
    program, *words = COMMANDS[command]
    assert_one_message(forked(copied, program, *words), file, (name, command) not in MAY_BE_DAMAGED)


@pytest.mark.fast
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    "name", ["config.yaml", "overrides.yaml", "metrics.csv", "metrics.json", "jobs.json"]
)
def test_a_damaged_job_does_not_stop_the_report_of_a_sweep(name: str, damage: str, tmp_path: Path) -> None:
    for job in ("seed-1", "seed-2"):
        (tmp_path / job).mkdir()
        config = {"data": {"classes": ["a", "b"]}, "task": {"monitor": "val/miou", "mode": "max"}}
        OmegaConf.save(OmegaConf.create(config), tmp_path / job / "config.yaml")
        OmegaConf.save(OmegaConf.create(["seed=1", "epochs=2"]), tmp_path / job / "overrides.yaml")
        write_json(tmp_path / job / "metrics.json", {"test/miou": 0.5, "test/loss": 0.25})
        write_rows(
            tmp_path / job / "metrics.csv", [["epoch", "step", "val/miou"], [0, 15, 0.25], [1, 31, 0.5]]
        )
    write_json(tmp_path / "jobs.json", {"seed-1": ["seed=1"], "seed-2": ["seed=2"]})
    DAMAGES[damage](tmp_path / name if name == "jobs.json" else tmp_path / "seed-1" / name)
    jobs = {job.name: job for job in summary.write(tmp_path)}
    assert jobs["seed-2"].scores["test/miou"] == 0.5
    assert jobs["seed-2"].state == "finished"
    assert "seed-2" in (tmp_path / "report.html").read_text()


@pytest.mark.fast
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_of_predictions_is_named(damage: str, tmp_path: Path) -> None:
    weights, output = tmp_path / "best.ckpt", tmp_path / "maps"
    weights.write_bytes(b"weights")
    prepare_output(output, weights, {"window": 64})
    (output / "a.png").touch()
    DAMAGES[damage](output / "prediction.json")
    with refused(r"prediction\.json"):
        prepare_output(output, weights, {"window": 64})


@pytest.mark.parametrize("damage", ["emptied", "cut", "noise"])
def test_a_damaged_study_is_named(damage: str, compose: Compose, tmp_path: Path) -> None:
    config = compose("search=loss_and_rate")
    open_study(config, [], tmp_path).ask()
    (tmp_path / "trial-0000").mkdir()
    (tmp_path / "trial-0000/config.yaml").touch()
    open_study(config, [], tmp_path)
    DAMAGES[damage](tmp_path / "study.db")
    with refused(r"study\.db"):
        open_study(config, [], tmp_path)
