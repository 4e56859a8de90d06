"""Runs resumed in any phase end bit for bit equal."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import torch
from omegaconf import DictConfig
from tests.helpers import TWO_STEPS_AN_EPOCH

from pixelwise import build
from pixelwise.types import Batch


class KeepStates(L.Callback):
    """Save the state before every step."""

    def on_train_batch_start(
        self, trainer: L.Trainer, module: L.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        trainer.save_checkpoint(Path(trainer.default_root_dir) / f"{trainer.global_step}.ckpt")


def test_run_resumed_in_any_phase_ends_equal(compose: Callable[..., DictConfig], tmp_path: Path) -> None:
    """Phases that end within epochs and use all settings, resumed at phase edges and between them."""
    first, second = "schedule.phases.cross_entropy", "schedule.phases.lovasz"
    overrides = [
        *TWO_STEPS_AN_EPOCH,
        "data.source.counts={train:16,val:4}",
        "schedule=ce_then_lovasz",
        *[f"{first}.epochs=null", f"+{first}.steps=3", f"+{first}.freeze=[encoder]"],
        *[f"loss@{first}.loss=ce_dice", f"+{first}.weight_decay=0.5", f"+{first}.crop_size=64"],
        *[
            f"{second}.epochs=null",
            f"+{second}.steps=3",
            "+schedule.phases.end={steps:3,lr:1e-2,freeze:[head],warmup:{encoder:2}}",
        ],
        "callbacks=[default,ema]",
        "callbacks.ema.decay=0.9",
        "augmentation=strong",
    ]
    unbroken = _train_to_the_end(compose(*overrides), tmp_path / "unbroken")
    for step in (2, 3, 4, 7, 8):
        start = tmp_path / f"unbroken/{step}.ckpt"
        resumed = _train_to_the_end(compose(*overrides), tmp_path / str(step), start)
        assert resumed["rows"] == [row for row in unbroken["rows"] if int(row["step"]) >= step]
        for states in ("weights", "average"):
            assert all(
                torch.equal(unbroken[states][name], resumed[states][name]) for name in unbroken[states]
            )


def _train_to_the_end(config: DictConfig, folder: Path, start: Path | None = None) -> dict[str, Any]:
    """Train to the end; return the weights, their average and the logged rows."""
    folder.mkdir()
    run = build.run(config, folder)
    run.trainer.callbacks.append(KeepStates())  # type: ignore[attr-defined]
    run.trainer.fit(run.module, datamodule=run.data, ckpt_path=start, weights_only=True)
    state = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    with (folder / "metrics.csv").open() as stream:
        rows = [{k: v for k, v in row.items() if v} for row in csv.DictReader(stream)]
    return {"weights": state["current_model_state"], "average": state["state_dict"], "rows": rows}
