"""How often a command composes and checks its config."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hydra.types import RunMode
from omegaconf import OmegaConf
from tests.helpers import refused

from pixelwise.cli.application import Application, compose_alone
from pixelwise.cli.hints import alternatives

ROOT = Path(__file__).parents[2]
COUNTED = """
import atexit, collections, json, pathlib, runpy, sys
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from pixelwise.cli import checks

counts = collections.Counter()
def counted(owner, name):
    original = getattr(owner, name)
    def call(*arguments, **settings):
        counts[name] += 1
        return original(*arguments, **settings)
    setattr(owner, name, call)
counted(ConfigLoaderImpl, "load_configuration")
for name in ("check_given", "check_references", "check_requirements", "check_modes", "check_phases"):
    counted(checks, name)
atexit.register(lambda: pathlib.Path("counts.json").write_text(json.dumps(counts)))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
CHECKS = ("check_given", "check_references", "check_requirements", "check_modes", "check_phases")


def count(cwd: Path, script: str, *words: str) -> Counter[str]:
    """Run a command and count how often its process composed a config and called each check."""
    command = [sys.executable, "-c", COUNTED, str(ROOT / script), *words]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Counter(json.loads((cwd / "counts.json").read_text()))


def test_training_composes_twice_and_checks_once(tmp_path: Path, tiny: list[str]) -> None:
    counts = count(tmp_path, "train.py", *tiny, "hydra.run.dir=run")
    assert counts["load_configuration"] <= 2
    assert [counts[name] for name in CHECKS] == [1] * len(CHECKS)


def test_evaluation_composes_and_checks_once(tmp_path: Path, trained: Path) -> None:
    counts = count(tmp_path, "evaluate.py", f"run={trained}")
    assert counts["load_configuration"] == 1
    assert [counts[name] for name in CHECKS] == [1] * len(CHECKS)


@pytest.mark.fast
def test_printing_the_config_composes_once(tmp_path: Path) -> None:
    assert count(tmp_path, "train.py", "--cfg", "job")["load_configuration"] == 1
    assert count(tmp_path, "train.py", "--help")["load_configuration"] == 0


@pytest.mark.slow
def test_each_job_of_a_sweep_is_checked_once(tmp_path: Path, tiny: list[str]) -> None:
    counts = count(tmp_path, "train.py", "-m", *tiny, "epochs=1", "seed=1,2", "loss=dice,focal")
    assert counts["check_modes"] == 4
    assert counts["check_given"] == 3 + 4  # each value before the first job, then each job


@pytest.mark.fast
def test_a_sweep_checks_each_value_not_each_combination() -> None:
    words = ["seed=range(1,11)", "loss=glob(*)", "epochs=1,2,3", "optimizer.lr=1"]
    tried = list(alternatives(words, Application("train").config_loader))
    losses = len(list((ROOT / "conf/loss").glob("*.yaml")))
    assert len(tried) == 1 + 9 + (losses - 1) + 2
    values = [{overrides[place] for overrides in tried} for place in range(4)]
    assert [len(choices) for choices in values] == [10, losses, 3, 1]


@pytest.mark.fast
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data=folder"], r"must be given: data\.root, data\.classes"),
        (["trainer.max_steps=0"], r"trainer\.max_steps[\s\S]*a whole number from 1"),
        (["task=classification", "decoder=unet"], r"task=classification cannot use UNet"),
        (["data=potsdam", "data.root=.", "data.split=geosge"], r"did you mean geoseg\?"),
        (["schedule.phases=null"], r"schedule\.phases is empty"),
    ],
)
def test_compose_raises_the_errors_of_the_command(words: list[str], message: str) -> None:
    with refused(message):
        compose_alone("train", words)


@pytest.mark.fast
def test_the_reference_config_allows_several_options() -> None:
    usual: Any = Application("train").usual("train", ["logger=[wandb,tensorboard]"])
    assert usual.hydra.runtime.choices.loss == "cross_entropy"
    assert {"wandb", "tensorboard"} <= usual.logger.keys()
    config = Application("train").compose_config("train", ["loss=dice"], RunMode.RUN)
    assert OmegaConf.to_container(config.loss) != OmegaConf.to_container(usual.loss)
