"""Weights & Biases without a network: what arrives in the offline run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

wandb = pytest.importorskip("wandb")


def inspect(run: Path, *options: str) -> str:
    """What wandb's own reader says of a run folder."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", *options, str(run)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def test_config_and_scores_of_each_run_of_a_sweep_arrive_in_an_offline_run_of_its_own(
    script: Callable[..., subprocess.CompletedProcess[str]], tiny: list[str], tmp_path: Path
) -> None:
    settings = ["logger=wandb", "logger.wandb.offline=true", "hydra.sweep.dir=sweep"]
    done = script("train.py", "-m", *tiny, *settings, "seed=3,4")
    assert done.returncode == 0, done.stderr
    for job, seed in enumerate([3, 4]):
        folder = tmp_path / f"sweep/{job}"
        (offline,) = (folder / "wandb").glob("offline-run-*")
        arrived = json.loads(inspect(offline, "--summary", "--json"))
        assert arrived["config"]["seed"] == seed
        assert arrived["config"]["encoder"]["name"] == "test_resnet"
        final = json.loads((folder / "metrics.json").read_text())
        for name in ("test/miou", "test/loss"):
            assert arrived["summary"][name] == pytest.approx(final[name], rel=1e-6)
        history = [line for line in inspect(offline, "--json").splitlines() if '"type":"history"' in line]
        assert sum('"val/miou"' in line for line in history) == 2
    assert not (tmp_path / "wandb").exists()
