"""Searches: proposals become overrides; killed, pruned and failed trials are recorded in the study."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from tests.helpers import Script, refused

from pixelwise.runs import sweep
from pixelwise.sweeps.search import leaves, suggest

optuna = pytest.importorskip("optuna")
ROOT = Path(__file__).parents[2]
SPACE = {
    "loss": ["dice", "focal"],
    "optimizer": {"lr": {"low": 1e-4, "high": 1e-1, "log": True}},
    "data": {"batch_size": {"low": 4, "high": 12, "step": 4}},
}


@pytest.fixture
def trial() -> Any:
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()


@pytest.mark.fast
def test_proposals_lie_in_the_space(trial: Any) -> None:
    chosen = {key: suggest(trial, key, leaf) for key, leaf in leaves(OmegaConf.create(SPACE))}
    assert chosen.keys() == {"loss", "optimizer.lr", "data.batch_size"}
    assert chosen["loss"] in SPACE["loss"]
    assert 1e-4 <= chosen["optimizer.lr"] <= 1e-1
    assert chosen["data.batch_size"] in (4, 8, 12)
    assert trial.distributions["optimizer.lr"].log


@pytest.mark.fast
@pytest.mark.parametrize(
    "space",
    [{"seed": 3}, {"optimizer": {"lr": {"low": 1e-4}}}, {"optimizer": {"lr": {"low": 1.0, "high": 0.1}}}],
    ids=["no choice", "no high", "high below low"],
)
def test_invalid_search_space_is_refused_with_its_key(space: dict[str, Any], trial: Any) -> None:
    with refused(r"search\.space\.(seed|optimizer\.lr)"):
        [suggest(trial, key, leaf) for key, leaf in leaves(OmegaConf.create(space))]


def test_missing_search_group_is_named_with_the_choices(script: Script, tmp_path: Path) -> None:
    done = script("scripts/search.py")
    assert done.returncode == 1
    assert "search=… must be given" in done.stderr
    assert "loss_and_rate" in done.stderr
    assert "python scripts/search.py" in script("train.py", "search=loss_and_rate").stderr


def study_in(folder: Path) -> Any:
    return optuna.load_study(study_name=folder.name, storage=f"sqlite:///{folder / 'study.db'}")


def states(folder: Path) -> list[str]:
    return [trial.state.name for trial in study_in(folder).get_trials()]


def small(tiny: list[str]) -> list[str]:
    return [*tiny, "callbacks=checkpoint", "search=loss_and_rate", "search.space.loss=[dice,focal]"]


@pytest.mark.slow
def test_failed_and_pruned_trials_are_recorded(script: Script, tmp_path: Path, tiny: list[str]) -> None:
    hard = ["search.pruner._target_=optuna.pruners.ThresholdPruner", "+search.pruner.lower=1.1"]
    hard += ["~search.pruner.n_startup_trials", "search.pruner.n_warmup_steps=0", "epochs=500"]
    done = script("scripts/search.py", *small(tiny), *hard, "search.trials=1", "sweep.name=weak")
    assert done.returncode == 1
    assert "no trial has a score" in done.stderr
    assert states(tmp_path / "runs/weak") == ["PRUNED"]
    (weak,) = sweep.read(tmp_path / "runs/weak")
    assert weak.state == "pruned"
    run = tmp_path / "runs/weak/trial-0000"
    assert (run / "checkpoints/last.ckpt").is_file()  # it was asked to stop, and saved a checkpoint
    assert len(sweep.validations(run, "val/miou")) < 500
    assert len(study_in(tmp_path / "runs/weak").trials[0].intermediate_values) >= 1

    broken = ["encoder.name=nosuch", "search.trials=2", "search.workers=2", "sweep.name=broken"]
    done = script("scripts/search.py", *small(tiny), *broken)
    assert done.returncode == 1
    assert states(tmp_path / "runs/broken") == ["FAIL", "FAIL"]
    assert "has no model 'nosuch'" in study_in(tmp_path / "runs/broken").trials[1].user_attrs["error"]


@pytest.mark.slow
def test_killed_search_resumes_its_trials(script: Script, tmp_path: Path, tiny: list[str]) -> None:
    command = [*small(tiny), "epochs=12", "search.trials=3", "search.workers=2", "sweep.name=s"]
    folder = tmp_path / "runs/s"
    with (tmp_path / "out").open("w") as out:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "scripts/search.py"), *command],
            cwd=tmp_path,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    while not list(folder.glob("*/checkpoints/previous.ckpt")):  # until a trial is past its second epoch
        assert process.poll() is None, (tmp_path / "out").read_text()
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGSTOP)  # so that no trial ends before the kill
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = {trial.number: dict(trial.params) for trial in study_in(folder).get_trials()}
    assert "RUNNING" in states(folder)

    done = script("scripts/search.py", *command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert states(folder) == 3 * ["COMPLETE"]
    trials = study_in(folder).get_trials()
    assert {n: trials[n].params for n in before} == before
    assert any("resuming from" in log.read_text() for log in folder.glob("*/train.log"))
    for trial in trials:
        values = sweep.validations(folder / f"trial-{trial.number:04d}", "val/miou")
        assert len(values) == 12
        assert trial.value == max(values)
    assert f"{study_in(folder).best_value:.4f}" in done.stdout

    other = script("scripts/search.py", *command, "epochs=13")
    assert other.returncode == 1
    assert "holds another search: its overrides differ" in other.stderr
    assert len(states(folder)) == 3
