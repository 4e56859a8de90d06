"""Exact resuming: runs killed by SIGKILL at known steps end bit for bit equal to an unbroken run."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf
from tests.drills import RUN, STEPS, differing, drill, killed, order, result, trace
from tests.helpers import refused

from pixelwise import runs
from pixelwise.runs import checkpoints, resume


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working directory of a run that was never interrupted."""
    cwd = tmp_path_factory.mktemp("unbroken")
    killed(cwd, [])
    assert len(order(cwd)) == STEPS
    return cwd


# ----------------------------------------------------------------------------- equal to unbroken run
def assert_equal_to(unbroken: Path, cwd: Path, deaths: int) -> None:
    assert differing(result(cwd / "run"), result(unbroken / "run")) == []
    assert order(cwd) == order(unbroken)
    assert len({note["pid"] for note in trace(cwd)}) >= min(deaths, 2)


def test_run_killed_anywhere_equals_an_unbroken_one(unbroken: Path, tmp_path: Path) -> None:
    deaths = [
        {"step": 2, "where": "backward"},  # in the first, frozen phase; no checkpoint yet
        {"step": 7, "where": "batch_end"},  # mid-epoch, after the phase boundary
        {"step": 6, "where": "batch_start"},  # again in the same epoch
        {"step": 8, "where": "validation"},  # at the last batch of an epoch
    ]
    killed(tmp_path, deaths, workers=(0, 2))
    assert_equal_to(unbroken, tmp_path, len(deaths))
    notes = trace(tmp_path)
    resumed = [note for before, note in pairwise(notes) if note["pid"] != before["pid"]]
    assert any(note["batch"] > 0 for note in resumed), "no run was resumed in the middle of an epoch"


@pytest.mark.slow
def test_run_killed_while_writing_equals_an_unbroken_one(unbroken: Path, tmp_path: Path) -> None:
    deaths = [
        {"step": 6, "where": "writing"},
        {"step": 9, "where": "renaming"},
        {"step": 12, "where": "test"},
    ]
    killed(tmp_path, deaths)
    assert_equal_to(unbroken, tmp_path, len(deaths))


@pytest.mark.slow
def test_run_without_reseeding_differs(unbroken: Path, tmp_path: Path) -> None:
    drill(tmp_path, *RUN, "hydra.run.dir=run", step=7, where="batch_end", forget_rng=True)
    drill(tmp_path, "resume=run", forget_rng=True)
    assert order(tmp_path) == order(unbroken)
    assert "weights" in differing(result(tmp_path / "run"), result(unbroken / "run"))


@pytest.mark.slow
def test_damaged_checkpoint_is_replaced_by_the_previous(unbroken: Path, tmp_path: Path) -> None:
    drill(tmp_path, *RUN, "hydra.run.dir=run", step=7, where="batch_end")
    last = tmp_path / "run/checkpoints/last.ckpt"
    last.write_bytes(last.read_bytes()[:20_000])
    done = drill(tmp_path, "resume=run")
    assert "last.ckpt cannot be read" in done.stdout
    assert "resuming from" in done.stdout
    assert "previous.ckpt" in done.stdout
    assert_equal_to(unbroken, tmp_path, deaths=1)

    again = drill(tmp_path, "resume=run")
    assert "this run is finished" in again.stdout
    assert differing(result(tmp_path / "run"), result(unbroken / "run")) == []


def test_only_damaged_checkpoints_are_an_error(tmp_path: Path) -> None:
    assert checkpoints.newest(tmp_path) is None
    for name in ("last", "previous"):
        file = checkpoints.file_of(tmp_path, name)
        file.parent.mkdir(exist_ok=True)
        file.write_text("not a checkpoint")
    with refused(r"last\.ckpt cannot be read"):
        checkpoints.newest(tmp_path)


# ------------------------------------------------------------------------- changes allowed on resuming
@pytest.fixture
def started(compose: Callable[..., DictConfig], tiny: list[str], tmp_path: Path) -> Callable[..., Any]:
    """`started(*typed)` merges the config of a run with more overrides, as on resuming."""
    folder = runs.create(tmp_path / "run", compose(*tiny), tiny)

    def merge(*typed: str, allow_change: bool = False) -> tuple[DictConfig, list[str]]:
        now = runs.freeze_interpolations(compose(*tiny, *typed))
        keys = [override.split("=")[0].lstrip("+~") for override in typed]
        return resume.merge(runs.load_config(folder), now, keys, allow_change)

    return merge


def test_changes_of_the_result_are_refused_unless_allowed(started: Callable[..., Any]) -> None:
    assert started()[1] == []
    for typed, shown in {
        "optimizer.lr=0.5": "optimizer.lr: 0.002 then, 0.5 now",
        "loss=dice": "loss._target_: pixelwise.losses.CrossEntropy then, pixelwise.losses.Dice now",
        "data.batch_size=2": "data.batch_size: 4 then, 2 now",
        "+encoder.drop_path_rate=0.1": "encoder.drop_path_rate: nothing then, 0.1 now",
    }.items():
        with refused("resumed training would differ") as caught:
            started(typed)
        assert shown in str(caught.value)
        assert "allow_change=true" in str(caught.value)
        config, accepted = started(typed, allow_change=True)
        key, value = typed.lstrip("+").split("=")
        assert any(name.startswith(key) for name in accepted)
        if key != "loss":
            assert OmegaConf.select(config, key) == float(value)


@pytest.mark.fast
def test_harmless_settings_can_be_changed_on_resuming(started: Callable[..., Any]) -> None:
    config, accepted = started(
        "data.num_workers=2", "trainer.devices=2", "logger=wandb", "trainer.max_steps=5"
    )
    assert {"data.num_workers", "trainer.devices", "trainer.max_steps"} <= set(accepted)
    assert (config.data.num_workers, config.trainer.devices) == (2, 2)
    assert config.logger.wandb.project == "pixelwise"


@pytest.mark.slow
def test_run_killed_twenty_times_equals_an_unbroken_one(unbroken: Path, tmp_path: Path) -> None:
    where = ("batch_start", "backward", "batch_end", "writing", "renaming")
    for number in range(5):
        steps = [(number + k) % 3 + 3 * k for k in range(4)]
        deaths = [
            {"step": max(1, step), "where": place}
            if place not in ("writing", "renaming")
            else {"step": 3 * k + 3, "where": place}
            for k, (step, place) in enumerate(zip(steps, (where * 2)[number:], strict=False))
        ]
        killed(tmp_path / str(number), deaths, workers=((0,), (2,), (0, 2), (2, 0), (1, 0))[number])
        assert_equal_to(unbroken, tmp_path / str(number), len(deaths))
