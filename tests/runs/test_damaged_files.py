"""Every file of a run, damaged in every way, read by every command: one error or warning, no traceback.

The commands run in forks of this process, each on its own copy of one small run.
"""

from __future__ import annotations

import importlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.security.conftest import IMPORTED, Done, forked

JSON = ("data.json", "environment.json", "metrics.json", "samples.json", "plan.json", "confusion.json")
"""JSON files in a run folder."""

FILES = (*JSON, "config.yaml", "overrides.yaml", "metrics.csv", "speed.csv")
FILES += tuple(f"checkpoints/{name}.ckpt" for name in ("best", "last", "previous"))


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


def assert_one_message(done: Done, file: Path) -> None:
    assert "Traceback" not in done.printed, done.printed
    if done.status:
        assert done.status in (1, 2), done.printed
        errors = re.findall(r"^error: .*(?:\n  .*)*", done.printed, re.MULTILINE)
        assert len(errors) == 1, done.printed
        assert file.name in errors[0], done.printed


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_damaged_files_of_a_run(name: str, damage: str, command: str, copied: Path) -> None:
    file = copied / "run" / name
    DAMAGES[damage](file)
    program, *words = COMMANDS[command]
    done = forked(copied, program, words, {})
    print(done.status, done.printed)
    assert_one_message(done, file)
