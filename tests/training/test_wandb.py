"""Weights & Biases without a network: contents of the offline run. TensorBoard events."""

from __future__ import annotations

import csv
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf
from tests.drills import RUN, STEPS, drill
from tests.helpers import Compose, Script

from pixelwise import build, runs
from pixelwise.training.callbacks.wandb_media import panel, turn_of
from pixelwise.training.train import train
from pixelwise.types import Raw

wandb = pytest.importorskip("wandb")


def inspect(run: Path, *options: str) -> str:
    """Output of wandb's own reader for a run folder."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", *options, str(run)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def records(run: Path, kind: str) -> list[dict[str, Any]]:
    """All records of one kind, in their order."""
    lines = map(json.loads, inspect(run, "--json").splitlines())
    return [line[kind] for line in lines if line["type"] == kind]


def offline_run(folder: Path) -> Path:
    (run,) = (folder / "wandb").glob("offline-run-*")
    return run


@pytest.mark.slow
def test_sweep_logs_images_to_wandb_and_tensorboard(script: Script, tiny: list[str], tmp_path: Path) -> None:
    settings = ["logger=[wandb,tensorboard]", "logger.wandb.offline=true", "logger.log_images=true"]
    done = script("train.py", "-m", *tiny, *settings, "hydra.sweep.dir=sweep", "seed=3,4")
    assert done.returncode == 0, done.stderr
    output = done.stdout + done.stderr
    assert "arning" not in output.lower()
    (differs,) = {
        line for line in output.splitlines() if "differs from the defaults" in line and "seed=3" in line
    }
    assert "logger=[wandb,tensorboard]" in differs
    assert "_target_" not in differs
    assert "sweep.name" not in differs
    for seed in (3, 4):
        folder = tmp_path / f"sweep/seed-{seed}"
        run = offline_run(folder)
        logged = json.loads(inspect(run, "--summary", "--json"))
        assert logged["config"]["seed"] == seed
        assert logged["config"]["encoder"]["name"] == "test_resnet"
        environment = json.loads((folder / "environment.json").read_text())
        assert {"commit", "uncommitted_changes"} <= environment.keys()
        assert logged["config"]["environment"] == environment

        final = json.loads((folder / "metrics.json").read_text())
        for name in ("test/miou", "test/loss", "test/iou/cat"):
            assert logged["summary"][name] == pytest.approx(final[name], rel=1e-6)
        history = [entry["item"] for entry in records(run, "history")]
        for name in ("val/miou", "lr/decoder", "phase/all", "speed/images_per_s", "speed/memory_gb"):
            assert sum(name in item for item in history) == 2, name
        assert any("test/confusion_table.nrows" in item for item in history)
        assert records(run, "run")[0]["run_group"] == "sweep"

        shown = [item for item in history if "samples/val.count" in item]
        assert [item["samples/val.count"] for item in shown] == [4, 4]
        assert shown[0]["samples/val._type"] == "images/separated"
        keys = [[caption.split(":")[0] for caption in item["samples/val.captions"]] for item in shown]
        assert keys[0] == keys[1]
        assert len(set(keys[0])) == 4
        masks = shown[0]["samples/val.all_masks"]
        assert all(mask.keys() == {"predictions"} for mask in masks)
        (truth,) = (item for item in history if "samples/truth.count" in item)
        assert all(mask.keys() == {"ground_truth"} for mask in truth["samples/truth.all_masks"])
        assert [caption.split(":")[0] for caption in truth["samples/truth.captions"]] == keys[0]
        assert '"value":{"0":"background","1":"cat","2":"dog","255":"ignored"}' in inspect(run, "--json")
        (best,) = [artifact for artifact in records(run, "artifact") if artifact["type"] == "model"]
        assert "best" in best["aliases"]
        assert best["manifest"]["contents"][0]["local_path"] == str(folder / "checkpoints/best.ckpt")

        assert sum(f.stat().st_size for f in (folder / "tensorboard").glob("events.out.tfevents.*")) > 1000
    assert not (tmp_path / "wandb").exists()


def test_resumed_run_continues_its_wandb_run(tmp_path: Path) -> None:
    settings = ["logger=wandb", "logger.wandb.offline=true", "logger.log_images=true", "hydra.run.dir=run"]
    drill(tmp_path, *RUN, *settings, step=8, where="batch_end")  # the newest checkpoint is of step 6
    drill(tmp_path, "resume=run")
    parts = sorted((tmp_path / "run/wandb").glob("offline-run-*"))
    assert len(parts) == 2
    typed = [records(part, "environment")[0]["args"] for part in parts]
    assert typed == [[*RUN, *settings], ["resume=run"]]
    command = json.loads((tmp_path / "run/environment.json").read_text())["command"]
    assert shlex.split(command)[2:] == typed[0]
    name = OmegaConf.load(tmp_path / "run/config.yaml").logger.wandb.id
    assert all(part.name.endswith(name) for part in parts)
    with (tmp_path / "run/metrics.csv").open() as stream:
        rows = [
            (float(row["step"]), row["train/loss"]) for row in csv.DictReader(stream) if row["train/loss"]
        ]
    history = [entry["item"] for entry in records(parts[-1], "history")]
    sent = [(item["trainer/global_step"], item["train/loss"]) for item in history if "train/loss" in item]
    assert [step for step, _ in sent] == [*range(6, STEPS)]  # steps 6 and 7 are repeated
    assert [loss for _, loss in sent] == pytest.approx([float(loss) for _, loss in rows[6:]], rel=1e-6)
    # the same samples after each of three epochs, masks of the ground truth only once
    before, after = ([entry["item"] for entry in records(part, "history")] for part in parts)
    shown = [item for item in [*before, *after] if "samples/val.count" in item]
    # offline, the last records before SIGKILL can be lost: here the samples of step 4
    assert [item["trainer/global_step"] for item in shown][-2:] == [8, 12]
    assert (
        len({tuple(caption.split(":")[0] for caption in item["samples/val.captions"]) for item in shown}) == 1
    )
    (truth,) = (item for item in [*before, *after] if "samples/truth.count" in item)
    assert truth["trainer/global_step"] == 0


@pytest.mark.slow
def test_run_does_not_use_the_service_of_a_notebook(script: Script, tiny: list[str], tmp_path: Path) -> None:
    wandb.setup().ensure_service()  # as in the kernel of a notebook; `!python …` inherits it
    shared = {"WANDB_SERVICE": os.environ["WANDB_SERVICE"]}
    settings = ["logger=wandb", "logger.wandb.offline=true", "hydra.run.dir=run", "epochs=1"]
    done = script("train.py", *tiny, *settings, env=shared)
    assert done.returncode == 0, done.stderr
    assert "existing wandb-core service" not in done.stdout + done.stderr
    assert records(offline_run(tmp_path / "run"), "history")


@pytest.mark.slow
def test_no_image_is_uploaded_by_default(script: Script, tiny: list[str], tmp_path: Path) -> None:
    settings = ["logger=wandb", "logger.wandb.offline=true", "hydra.run.dir=run"]
    done = script("train.py", *tiny, *settings, "epochs=1")
    assert done.returncode == 0, done.stderr
    run = offline_run(tmp_path / "run")
    pictures = [f.name for f in run.rglob("*") if f.suffix in (".png", ".jpg", ".jpeg", ".npy")]
    assert [name.partition("_")[0] for name in pictures] == ["plan"]
    assert "run_group" not in records(run, "run")[0]
    types = sorted(artifact["type"] for artifact in records(run, "artifact"))
    assert types == ["model", "run_table"]


class Masks:
    """A split of masks without images."""

    def __init__(self, masks: list[list[int]]) -> None:
        self.masks = masks

    def __len__(self) -> int:
        return len(self.masks)

    def __getitem__(self, index: int) -> Raw:
        return Raw(np.zeros((1, 4, 3), np.uint8), np.array([self.masks[index]], np.uint8), str(index))

    def size(self, index: int) -> tuple[int, int]:
        return 1, 4


@pytest.mark.fast
@pytest.mark.parametrize("validations", [1, 2, 7, 10, 11, 1000])
@pytest.mark.parametrize("times", [0, 1, 2, 10])
def test_number_of_sample_uploads_is_limited(validations: int, times: int) -> None:
    steps = [37 * (n + 1) for n in range(validations)]
    shown, at = 0, []
    for step in steps:
        if (turn := turn_of(step, steps[-1], times)) > shown:
            shown = turn
            at.append(step)
    assert len(at) == min(times, validations)
    assert not at or at[0] == steps[0]
    assert times < 2 or at[-1] == steps[-1]


@pytest.mark.fast
def test_panel_contains_rare_classes() -> None:
    masks = [[0, 0, 0, 0]] * 20
    masks[5], masks[11], masks[17] = [0, 0, 0, 3], [3, 3, 1, 255], [1, 1, 0, 0]
    assert panel(Masks(masks), classes=4, most=2) == [17, 11]
    assert panel(Masks(masks), classes=4, most=4) == [17, 11, 0, 6]
    assert panel(Masks(masks[:2]), classes=4, most=5) == [0, 1]


def test_tensorboard_has_each_step_once_after_resuming(
    compose: Compose, tiny: list[str], tmp_path: Path
) -> None:
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    words = [*tiny, "epochs=3", "logger=tensorboard", "trainer.log_every_n_steps=1"]
    folder = runs.create(tmp_path / "run", compose(*words), words)
    config = runs.load_config(folder)
    train(build.run(config, folder), folder)
    train(build.run(config, folder), folder, folder / "checkpoints/previous.ckpt")
    events = event_accumulator.EventAccumulator(str(folder / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("train/loss")] == list(range(6))
