"""Trainings in separate processes that kill themselves at a given place, and their results."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from pixelwise.runs import checkpoints

DRILL = Path(__file__).with_name("drill.py")
STEPS = 12
"""Three epochs of four steps; the encoder is frozen in the first epoch."""

RUN = (
    "encoder=test_resnet",
    "schedule=freeze_then_finetune",
    "schedule.phases.warmup.epochs=1",
    "schedule.phases.finetune.epochs=2",
    "augmentation=medium",
    "+encoder.drop_path_rate=0.3",  # draws from torch's global generator
    "data.crop_size=32",
    "data.batch_size=4",
    "data.source.counts={train:18,val:4,test:4}",
    "trainer.accelerator=cpu",
    "trainer.log_every_n_steps=1",
    "callbacks.checkpoint.every_n_steps=3",
)
Orders = Mapping[str, Any]


def drill(cwd: Path, *overrides: str, **orders: Any) -> subprocess.CompletedProcess[str]:
    """Train in a separate process, which kills itself if `where` is among the orders."""
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
    """Train a run that is killed once per order and resumed each time; return its folder."""
    first, *later = [*deaths, {}]
    drill(cwd, *RUN, f"data.num_workers={workers[0]}", "hydra.run.dir=run", **first)
    for number, orders in enumerate(later, start=1):
        drill(cwd, "resume=run", f"data.num_workers={workers[number % len(workers)]}", **orders)
    return cwd / "run"


def result(folder: Path) -> dict[str, Any]:
    """All results that must be equal: weights, optimizer, logged values, final scores."""
    state = {
        name: torch.load(checkpoints.file_of(folder, name), weights_only=True) for name in ("last", "best")
    }
    return {
        "weights": state["last"]["state_dict"],
        "raw weights": state["last"].get("current_model_state", {}),  # stored with the average
        "optimizer": state["last"]["optimizer_states"],
        "best": state["best"]["state_dict"],
        "metrics.csv": (folder / "metrics.csv").read_text(),
        "metrics.json": (folder / "metrics.json").read_text(),
    }


def differing(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    return [name for name in a if not _equal(a[name], b[name])]


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
    """The epoch, batch, phase and samples of each step; a repeated step must have the same ones."""
    steps: dict[int, tuple[Any, ...]] = {}
    for note in trace(cwd):
        seen = (note["epoch"], note["batch"], note["phase"], tuple(note["keys"]))
        assert steps.setdefault(note["step"], seen) == seen
    return steps
