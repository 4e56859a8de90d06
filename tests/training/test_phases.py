"""Trainings in phases: what a phase freezes, changes and logs, and where training ends."""

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
from tests.helpers import TWO_STEPS_AN_EPOCH, refused

from pixelwise import build
from pixelwise.training import run
from pixelwise.training.module import Module
from pixelwise.types import Batch


class Watch(L.Callback):
    """Record the state of every step."""

    def __init__(self) -> None:
        self.states: list[dict[str, torch.Tensor]] = []
        self.rates: list[dict[str, float]] = []
        self.decays: list[dict[str, float]] = []
        self.phases: list[str] = []
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
        groups = trainer.optimizers[0].param_groups
        self.rates.append({group["part"]: group["lr"] for group in groups})
        self.decays.append({group["name"]: group["weight_decay"] for group in groups})
        self.phases.append(module.phase)
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


Fit = Callable[..., tuple[run.Run, Watch]]


@pytest.fixture
def fit(compose: Callable[..., DictConfig], tmp_path: Path) -> Fit:
    """`fit(*overrides)` trains and returns the run with the record of its steps."""

    def fit(*overrides: str) -> tuple[run.Run, Watch]:
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


def test_frozen_encoder_is_unchanged_and_trains_afterwards(fit: Fit) -> None:
    _, watch = fit(*TRANSFER)
    frozen = 4  # two epochs of two steps, with a validation between them that must not unfreeze anything
    assert watch.changed("encoder", 0, frozen) == set()
    for part in ("decoder", "head"):
        assert watch.changed(part, 0, frozen) == {n for n in watch.states[0] if n.startswith(f"{part}.")}
    unfrozen = watch.changed("encoder", frozen, -1)
    assert unfrozen == {name for name in watch.states[0] if name.startswith("encoder.")}
    assert any(name.endswith("running_mean") for name in unfrozen)


def test_optimizer_momentum_does_not_move_a_frozen_part(fit: Fit) -> None:
    _, watch = fit(
        "schedule=constant", "epochs=1", "+schedule.phases.again={epochs:1,lr:1e-3,freeze:[encoder]}"
    )
    assert watch.changed("encoder", 0, 2)
    assert watch.changed("encoder", 2, 4) == set()
    assert watch.changed("head", 2, 4)


def test_logged_learning_rates_are_those_of_the_plan(fit: Fit, tmp_path: Path) -> None:
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
    assert [float(row["phase/warmup"]) for row in rows] == [1.0] * 4 + [0.0] * 4
    assert [float(row["phase/finetune"]) for row in rows] == [0.0] * 4 + [1.0] * 4


def test_loss_and_augmentation_change_within_an_epoch(fit: Fit) -> None:
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


def test_each_phase_has_its_own_randomness(fit: Fit) -> None:
    _, watch = fit("schedule=constant", "epochs=2", "augmentation=strong")
    first, second = ({key: image for b in half for key, image in zip(b["key"], b["image"], strict=True)}
                     for half in (watch.batches[:2], watch.batches[2:]))  # fmt: skip
    assert first.keys() == second.keys()
    assert not any(np.array_equal(first[key], second[key]) for key in first)


def test_weight_decay_of_a_phase_applies_to_decaying_groups(fit: Fit) -> None:
    _, watch = fit(
        "schedule=constant",
        "epochs=1",
        "optimizer.weight_decay=0.01",
        "+schedule.phases.all.weight_decay=0.5",
        "+schedule.phases.more={epochs:1,lr:1e-3}",
    )
    for name in watch.decays[0]:
        expected = [0.0] * 4 if name.endswith("/no_decay") else [0.5, 0.5, 0.01, 0.01]
        assert [decays[name] for decays in watch.decays] == expected


def test_weight_decay_unknown_to_the_optimizer_is_refused(fit: Fit) -> None:
    with refused(r"schedule\.phases\.all\.weight_decay: the optimizer has no"):
        fit(
            "schedule=constant",
            "epochs=1",
            "+schedule.phases.all.weight_decay=0.5",
            "optimizer._target_=torch.optim.Rprop",
            "~optimizer.weight_decay",
            "~optimizer.fused",
        )


def test_accumulated_batches_have_the_phase_of_their_step(fit: Fit) -> None:
    """Five batches in steps of two, two and one: three steps an epoch; phases change after two and five."""
    run, watch = fit(
        "schedule=constant",
        "data.source.counts={train:20,val:4}",
        "trainer.accumulate_grad_batches=2",
        "schedule.phases.all.epochs=null",
        "+schedule.phases.all.steps=2",
        "schedule.phases.all.lr=1e-3",
        "+schedule.phases.all.crop_size=64",
        "+schedule.phases.frozen={steps:3,lr:{decoder:2e-3,head:2e-3},freeze:[encoder]}",
        "+schedule.phases.last={steps:1,lr:4e-3}",
    )
    first, second = ["all"] * 4 + ["frozen"], ["frozen"] * 4 + ["last"]
    assert (run.plan.steps, run.plan.epochs, run.trainer.global_step) == (6, 2, 6)
    assert watch.phases == first + second
    assert [batch["image"].shape[-1] for batch in watch.batches] == [64] * 4 + [32] * 6
    assert [r["head"] for r in watch.rates] == [1e-3] * 4 + [2e-3] * 5 + [4e-3]
    moved = [bool(watch.changed("head", i, i + 1)) for i in range(10)]
    assert moved == [False, True, False, True, True] * 2
    assert watch.changed("encoder", 4, 9) == set()
    assert watch.changed("encoder", 9, 10)


def test_new_neck_trains_while_its_encoder_is_frozen(fit: Fit) -> None:
    _, watch = fit(
        *["encoder.name=test_vit", "schedule=freeze_then_finetune", "schedule.phases.warmup.lr=1e-3"],
        *["schedule.phases.warmup.epochs=1", "schedule.phases.finetune.epochs=1"],
    )
    frozen, free = watch.changed("encoder", 0, 2), watch.changed("encoder", 2, 4)
    assert frozen == {name for name in free if name.startswith("encoder.neck.")} != set()
    assert any(name.startswith("encoder.body.") for name in free)


def test_gradients_of_trained_parts_are_clipped(fit: Fit) -> None:
    """With SGD, the change of all weights has the norm: learning rate times clipped gradient norm."""
    _, watch = fit(
        "schedule=freeze_then_finetune",
        *["schedule.phases.warmup.epochs=1", "schedule.phases.warmup.lr=0.5"],
        *["schedule.phases.finetune.epochs=1", "schedule.phases.finetune.lr=0.25"],
        "schedule.phases.finetune.curve=constant",
        *["optimizer=sgd", "optimizer.momentum=0", "optimizer.nesterov=false", "optimizer.weight_decay=0"],
        "trainer.gradient_clip_val=1e-3",
        "trainer.precision=32-true",
    )
    parameters = [n for n in watch.states[0] if not n.endswith(("running_mean", "running_var", "tracked"))]
    for step, expected in enumerate([0.5e-3, 0.5e-3, 0.25e-3, 0.25e-3]):
        before, after = watch.states[step], watch.states[step + 1]
        moved = {n: (after[n].double() - before[n].double()) for n in parameters}
        norm = torch.cat([m.flatten() for m in moved.values()]).norm()
        assert float(norm) == pytest.approx(expected, rel=1e-2)
        assert bool(moved["encoder.body.conv1.0.weight"].any()) == (step >= 2)


def test_loss_terms_of_the_previous_phase_are_not_logged(fit: Fit, tmp_path: Path) -> None:
    """The phase changes within an epoch; Lightning would repeat the last values until the epoch ends."""
    fit(
        "schedule=ce_then_lovasz",
        "loss@schedule.phases.cross_entropy.loss=ce_dice",
        "schedule.phases.cross_entropy.epochs=null",
        "+schedule.phases.cross_entropy.steps=3",
        "schedule.phases.lovasz.epochs=null",
        "+schedule.phases.lovasz.steps=3",
        "data.source.counts={train:16,val:4}",
    )
    with (tmp_path / "metrics.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["train/loss"]]
    assert [bool(row["train/loss/dice"]) for row in rows] == [True] * 3 + [False] * 3


@pytest.mark.parametrize("workers", [0, 2])
def test_crop_size_changes_exactly_at_the_phase(
    fit: Fit, workers: int, compose: Callable[..., DictConfig], tmp_path: Path
) -> None:
    """Workers prefetch batches; each batch has the crop size of the phase in which it is trained."""
    overrides = [
        "schedule=progressive_resize",
        "data.crop_size=64",
        "schedule.phases.small.epochs=null",
        "+schedule.phases.small.steps=3",
        "schedule.phases.full.epochs=1",
        "data.source.counts={train:16,val:4}",
        f"data.num_workers={workers}",
    ]
    _, watch = fit(*overrides)
    assert [tuple(batch["image"].shape[-2:]) for batch in watch.batches] == [(32, 32)] * 3 + [(64, 64)] * 4
    run = build.run(compose(*TWO_STEPS_AN_EPOCH, *overrides, "data.num_workers=0"), tmp_path)
    expected = [batch for epoch in (0, 1) for batch in _epoch(run, epoch)][: len(watch.batches)]
    for batch, plain in zip(watch.batches, expected, strict=True):
        assert batch["key"] == plain["key"]
        assert torch.equal(batch["image"], run.module.on_after_batch_transfer(plain, 0)["image"])


def _epoch(run: run.Run, epoch: int) -> list[Batch]:
    """The batches of an epoch, without a trainer."""
    loader = run.data.train_dataloader()
    loader.batch_sampler.sampler.set_epoch(epoch)
    return list(loader)


def test_final_evaluation_uses_the_last_loss(fit: Fit) -> None:
    """Like `evaluate.py`, also if training stopped before the last phase."""
    run, watch = fit("schedule=ce_then_lovasz", "epochs=1", "trainer.max_steps=2")
    assert watch.losses == [["crossentropy"]] * 2
    assert list(run.module.loss.parts) == ["lovasz"]
