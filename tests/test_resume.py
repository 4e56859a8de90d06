"""Resuming is exact: runs killed by SIGKILL at observed steps end bit for bit as one that never was."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from pixelwise import checkpoint, resume, run_folder
from pixelwise.errors import UserError

DRILL = Path(__file__).with_name("drill.py")
STEPS = 12
"""Four batches an epoch; the first of three epochs with a frozen encoder, steps 4 to 11 without."""

RUN = (
    "encoder=test_resnet",
    "schedule=freeze_then_finetune",
    "schedule.phases.warmup.epochs=1",
    "schedule.phases.finetune.epochs=2",
    "augmentation=medium",
    "task.head.dropout=0.3",  # draws from torch's global generator
    "data.crop_size=32",
    "data.batch_size=4",
    "data.source.counts={train:18,val:4,test:4}",
    "trainer.accelerator=cpu",
    "trainer.log_every_n_steps=1",
    "callbacks.checkpoint.every_n_steps=3",
)
Orders = Mapping[str, Any]


def drill(cwd: Path, *overrides: str, **orders: Any) -> subprocess.CompletedProcess[str]:
    """Train in a process of its own; with orders, until it kills itself."""
    cwd.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, str(DRILL), *overrides],
        cwd=cwd,
        env={k: v for k, v in os.environ.items() if k != "WANDB_SERVICE"} | {"DRILL": json.dumps(orders)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    expected = -signal.SIGKILL if "where" in orders else 0
    assert done.returncode == expected, done.stdout + done.stderr
    return done


def killed(cwd: Path, deaths: Sequence[Orders], workers: Sequence[int] = (0,)) -> Path:
    """A run that dies once by each order, is resumed each time, and ends."""
    first, *later = [*deaths, {}]
    drill(cwd, *RUN, f"data.num_workers={workers[0]}", "hydra.run.dir=run", **first)
    for number, orders in enumerate(later, start=1):
        drill(cwd, "resume=run", f"data.num_workers={workers[number % len(workers)]}", **orders)
    return cwd / "run"


def result(folder: Path) -> dict[str, Any]:
    """Everything that must not differ: weights, optimizer, what was logged, the final scores."""
    state = {
        name: torch.load(checkpoint.file_of(folder, name), weights_only=True) for name in ("last", "best")
    }
    return {
        "weights": state["last"]["state_dict"],
        "raw weights": state["last"].get("current_model_state", {}),  # beside the average
        "optimizer": state["last"]["optimizer_states"],
        "best": state["best"]["state_dict"],
        "metrics.csv": (folder / "metrics.csv").read_text(),
        "metrics.json": (folder / "metrics.json").read_text(),
    }


def differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    return [name for name in one if not _equal(one[name], other[name])]


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(_equal(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def trace(cwd: Path, rank: int = 0) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (cwd / f"trace_{rank}.jsonl").read_text().splitlines()]


def order(cwd: Path) -> dict[int, tuple[Any, ...]]:
    """What each step trained on; a step that was repeated must have repeated it."""
    steps: dict[int, tuple[Any, ...]] = {}
    for note in trace(cwd):
        seen = (note["epoch"], note["batch"], note["phase"], tuple(note["keys"]))
        assert steps.setdefault(note["step"], seen) == seen
    return steps


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a run was never interrupted."""
    cwd = tmp_path_factory.mktemp("unbroken")
    killed(cwd, [])
    assert len(order(cwd)) == STEPS
    return cwd


# ------------------------------------------------------------------------------------- the promise
def assert_equal_to(unbroken: Path, cwd: Path, deaths: int) -> None:
    assert differing(result(cwd / "run"), result(unbroken / "run")) == []
    assert order(cwd) == order(unbroken)
    assert len({note["pid"] for note in trace(cwd)}) >= min(deaths, 2)


def test_killed_anywhere_it_ends_as_if_it_never_was(unbroken: Path, tmp_path: Path) -> None:
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


def test_killed_while_a_checkpoint_is_written(unbroken: Path, tmp_path: Path) -> None:
    deaths = [
        {"step": 6, "where": "writing"},
        {"step": 9, "where": "renaming"},
        {"step": 12, "where": "test"},
    ]
    killed(tmp_path, deaths)
    assert_equal_to(unbroken, tmp_path, len(deaths))


def test_a_generator_that_is_not_restored_is_noticed(unbroken: Path, tmp_path: Path) -> None:
    drill(tmp_path, *RUN, "hydra.run.dir=run", step=7, where="batch_end", forget_rng=True)
    drill(tmp_path, "resume=run", forget_rng=True)
    assert order(tmp_path) == order(unbroken)
    assert "weights" in differing(result(tmp_path / "run"), result(unbroken / "run"))


def test_a_damaged_checkpoint_is_named_and_the_one_before_used(unbroken: Path, tmp_path: Path) -> None:
    drill(tmp_path, *RUN, "hydra.run.dir=run", step=7, where="batch_end")
    last = tmp_path / "run/checkpoints/last.ckpt"
    last.write_bytes(last.read_bytes()[:20_000])
    done = drill(tmp_path, "resume=run")
    assert "last.ckpt cannot be read" in done.stdout
    assert "going on from" in done.stdout
    assert "previous.ckpt" in done.stdout
    assert_equal_to(unbroken, tmp_path, deaths=1)

    again = drill(tmp_path, "resume=run")
    assert "this run is finished" in again.stdout
    assert differing(result(tmp_path / "run"), result(unbroken / "run")) == []


def test_all_checkpoints_damaged_is_an_error_and_none_a_fresh_start(tmp_path: Path) -> None:
    assert checkpoint.newest(tmp_path) is None
    for name in ("last", "previous"):
        file = checkpoint.file_of(tmp_path, name)
        file.parent.mkdir(exist_ok=True)
        file.write_text("not a checkpoint")
    with pytest.raises(UserError, match=r"last\.ckpt cannot be read"):
        checkpoint.newest(tmp_path)


# ---------------------------------------------------------------------- what may change on resuming
@pytest.fixture
def started(compose: Callable[..., DictConfig], tiny: list[str], tmp_path: Path) -> Callable[..., Any]:
    """`started(*typed)` composes a run's config again with more typed, and merges the two."""
    folder = run_folder.create(tmp_path / "run", compose(*tiny), tiny)

    def merge(*typed: str, allow_change: bool = False) -> tuple[DictConfig, list[str]]:
        now = run_folder.settle(compose(*tiny, *typed))
        keys = [override.split("=")[0].lstrip("+~") for override in typed]
        return resume.merge(run_folder.load_config(folder), now, keys, allow_change)

    return merge


@pytest.mark.fast
def test_what_changes_the_mathematics_is_refused_unless_allowed(started: Callable[..., Any]) -> None:
    assert started()[1] == []
    for typed, shown in {
        "optimizer.lr=0.5": "optimizer.lr: 0.002 then, 0.5 now",
        "loss=dice": "loss._target_: pixelwise.losses.CrossEntropy then, pixelwise.losses.Dice now",
        "data.batch_size=2": "data.batch_size: 4 then, 2 now",
        "+encoder.drop_path_rate=0.1": "encoder.drop_path_rate: nothing then, 0.1 now",
    }.items():
        with pytest.raises(UserError, match="another training") as refused:
            started(typed)
        assert shown in str(refused.value)
        assert "allow_change=true" in str(refused.value)
        config, accepted = started(typed, allow_change=True)
        key, value = typed.lstrip("+").split("=")
        assert any(name.startswith(key) for name in accepted)
        if key != "loss":
            assert OmegaConf.select(config, key) == float(value)


@pytest.mark.fast
def test_what_is_harmless_changes_when_typed_and_else_stays(started: Callable[..., Any]) -> None:
    config, accepted = started(
        "data.num_workers=2", "trainer.devices=2", "logger=wandb", "trainer.max_steps=5"
    )
    assert {"data.num_workers", "trainer.devices", "trainer.max_steps"} <= set(accepted)
    assert (config.data.num_workers, config.trainer.devices) == (2, 2)
    assert config.logger.wandb.project == "pixelwise"


@pytest.mark.slow
def test_twenty_kills(unbroken: Path, tmp_path: Path) -> None:
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
