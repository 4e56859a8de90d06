"""A plan carried out: what a phase freezes, exchanges and logs, and where training ends."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from omegaconf import DictConfig

from pixelwise import build
from pixelwise.module import Module
from pixelwise.types import Batch

TWO_STEPS_AN_EPOCH = (
    "encoder=test_resnet",
    "callbacks=progress",
    "data.crop_size=32",
    "data.batch_size=4",
    "data.source.counts={train:8,val:4,test:6}",
    "trainer.accelerator=cpu",
    "trainer.log_every_n_steps=1",
)


class Watch(L.Callback):
    """Note what every step worked with."""

    def __init__(self) -> None:
        self.states: list[dict[str, torch.Tensor]] = []
        self.rates: list[dict[str, float]] = []
        self.losses: list[list[str]] = []
        self.batches: list[Batch] = []
        self.validated: list[int] = []

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.note(module)

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        self.note(module)
        assert isinstance(module, Module)
        self.rates.append({group["part"]: group["lr"] for group in trainer.optimizers[0].param_groups})
        self.losses.append(list(module.loss.parts))
        self.batches.append(batch)

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.validated.append(trainer.global_step)

    def note(self, module: L.LightningModule) -> None:
        """Copy all weights and batch-norm statistics."""
        assert isinstance(module, Module)
        self.states.append(
            {name: tensor.detach().clone() for name, tensor in module.model.state_dict().items()}
        )

    def changed(self, part: str, since: int, until: int) -> set[str]:
        """Tensors of a part that differ between the states after two numbers of steps."""
        before, after = self.states[since], self.states[until]
        return {n for n in after if n.startswith(f"{part}.") and not torch.equal(before[n], after[n])}


Fit = Callable[..., tuple[build.Run, Watch]]


@pytest.fixture
def fit(compose: Callable[..., DictConfig], tmp_path: Path) -> Fit:
    """`fit(*overrides)` trains and gives the run with what was watched."""

    def fit(*overrides: str) -> tuple[build.Run, Watch]:
        run, watch = build.run(compose(*TWO_STEPS_AN_EPOCH, *overrides), tmp_path), Watch()
        run.trainer.callbacks.append(watch)  # type: ignore[attr-defined]
        run.trainer.fit(run.module, datamodule=run.data)
        return run, watch

    return fit


TRANSFER = [
    "schedule=freeze_then_finetune",
    "schedule.phases.warmup.epochs=2",
    "schedule.phases.finetune.epochs=2",
]


def test_a_frozen_encoder_stands_still_to_the_bit_and_moves_afterwards(fit: Fit) -> None:
    _, watch = fit(*TRANSFER)
    frozen = 4  # two epochs of two steps, with a validation between them that must not thaw anything
    assert watch.changed("encoder", 0, frozen) == set()
    for part in ("decoder", "head"):
        assert watch.changed(part, 0, frozen) == {n for n in watch.states[0] if n.startswith(f"{part}.")}
    thawed = watch.changed("encoder", frozen, -1)
    assert thawed == {name for name in watch.states[0] if name.startswith("encoder.")}
    assert any(name.endswith("running_mean") for name in thawed)


def test_a_part_that_is_frozen_again_is_not_moved_by_the_optimizers_memory(fit: Fit) -> None:
    _, watch = fit(
        "schedule=constant", "epochs=1", "+schedule.phases.again={epochs:1,lr:1e-3,freeze:[encoder]}"
    )
    assert watch.changed("encoder", 0, 2)
    assert watch.changed("encoder", 2, 4) == set()
    assert watch.changed("head", 2, 4)


def test_the_logged_rates_are_those_of_the_plan(fit: Fit, tmp_path: Path) -> None:
    run, watch = fit(*TRANSFER, "+schedule.phases.finetune.warmup=0.25")
    parts = ("encoder", "decoder", "head")
    planned = [
        {part: run.plan.phases[run.plan.index_at(step)].rate(part, step) for part in parts}
        for step in range(8)
    ]
    assert watch.rates == planned
    assert [rates["encoder"] for rates in planned[:4]] == [0.0] * 4
    assert [rates["head"] for rates in planned[:4]] == [1e-3] * 4
    # a step of warm-up at half the rate, the peak, then half a cosine over the three steps after the warm-up
    assert [rates["encoder"] for rates in planned[4:]] == pytest.approx([0.5e-4, 1e-4, 0.75e-4, 0.25e-4])

    with (tmp_path / "metrics.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["lr/head"]]
    for part in parts:
        assert [float(row[f"lr/{part}"]) for row in rows] == pytest.approx([rates[part] for rates in planned])
    assert [float(row["phase"]) for row in rows] == [0.0] * 4 + [1.0] * 4


def test_loss_and_augmentation_switch_within_an_epoch_and_training_ends_with_a_validation(fit: Fit) -> None:
    warmup, finetune = "schedule.phases.warmup", "schedule.phases.finetune"
    run, watch = fit(
        "schedule=freeze_then_finetune",
        "loss=ce_dice",
        "augmentation=strong",
        *[f"{warmup}.epochs=null", f"+{warmup}.steps=3", f"augmentation@{warmup}.augmentation=none"],
        *[
            f"+loss@{warmup}.loss=dice",
            f"{finetune}.epochs=null",
            f"+{finetune}.steps=2",
            f"+{finetune}.crop_size=64",
        ],
    )
    assert watch.losses == [["dice"]] * 3 + [["cross_entropy", "dice"]] * 2
    assert [batch["image"].shape[-1] for batch in watch.batches] == [32] * 3 + [64] * 2
    train = run.data["train"]
    scenes = {
        train[i].key: torch.from_numpy(train[i].image).permute(2, 0, 1) / 255 for i in range(len(train))
    }
    for batch in watch.batches[:3]:  # without augmentation: the scenes themselves
        for key, image in zip(batch["key"], run.module.model.normalize.undo(batch["image"]), strict=True):
            torch.testing.assert_close(image, scenes[key])
    assert run.trainer.global_step == run.plan.steps == 5
    assert watch.validated == [2, 4, 5]  # the third epoch is half of one


def test_each_phase_has_its_own_randomness_and_no_two_batches_are_alike(fit: Fit) -> None:
    _, watch = fit("schedule=constant", "epochs=2", "augmentation=strong")
    first, second = ({key: image for b in half for key, image in zip(b["key"], b["image"], strict=True)}
                     for half in (watch.batches[:2], watch.batches[2:]))  # fmt: skip
    assert first.keys() == second.keys()
    assert not any(np.array_equal(first[key], second[key]) for key in first)
