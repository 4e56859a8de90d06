"""Runs with mixed batches: gradients of steps, exact resume, several processes, refusals, pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from PIL import Image
from tests.drills import RUN, differing, drill, result
from tests.helpers import Compose, refused
from tests.training.test_normalisation import PLAIN, Windows, built, weights

from pixelwise import build
from pixelwise.losses import blend

SCENES = "data.source.counts={train:12,val:4,test:4}"
DRAWN = [word for word in PLAIN if "decoder" not in word and "classes" not in word]


class Steps(Windows):
    """Compares the gradient of each step with that of its batches as one batch, with soft targets."""

    def on_before_optimizer_step(self, trainer: L.Trainer, module: Any, optimizer: Any) -> None:
        image, *parts = (
            torch.cat([b[k] for b in self.batches]) for k in ("image", "target", "second", "share")
        )
        logits = module.model(image)
        value = module.loss(logits, blend(*parts, classes=logits.shape[1]))
        parameters = list(module.model.parameters())
        for parameter, expected in zip(parameters, torch.autograd.grad(value, parameters), strict=True):
            torch.testing.assert_close(parameter.grad, expected, rtol=1e-3, atol=1e-6)
        self.sizes.append(len(self.batches))
        self.batches.clear()


@pytest.mark.parametrize(
    "words",
    [
        [
            "task=classification",
            "mixing=mixup_cutmix",
            "loss.class_weights=[1,3]",
            "loss.label_smoothing=0.1",
        ],
        ["decoder=linear", "mixing=mixup", "loss=focal", "loss.class_weights=[1,3,0.5]"],
        ["task=tagging", "mixing=mixup_cutmix"],
    ],
    ids=" ".join,
)
def test_accumulated_gradient_equals_that_of_one_batch(
    words: list[str], compose: Compose, tmp_path: Path
) -> None:
    accumulated = ["data.batch_size=2", "trainer.accumulate_grad_batches=4", "epochs=1"]
    run = built(compose, tmp_path / "run", [*DRAWN, SCENES, *words, *accumulated])
    steps = Steps()
    run.trainer.callbacks.append(steps)  # type: ignore[attr-defined]
    run.trainer.fit(run.module, datamodule=run.data)
    assert steps.sizes == [4, 2]


def test_mixing_belongs_to_a_phase(compose: Compose, tmp_path: Path) -> None:
    words = ["schedule=freeze_then_finetune", "+mixing@schedule.phases.warmup.mixing=none", "mixing=cutmix"]
    run = built(compose, tmp_path / "run", [*DRAWN, SCENES, *words])
    assert [list(mixing.choices) for mixing in run.data._mixings] == [[], ["cutmix"]]


@pytest.mark.fast
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["mixing=mixup", "loss=ce_lovasz"], r"lovasz \(Lovasz\) cannot take the soft targets of mixing"),
        (["mixing=mixup", "loss=ohem_cross_entropy"], r"\(OHEMCrossEntropy\) cannot take"),
        (["task=classification", "mixing=cutmix", "loss=lovasz"], r"\(Lovasz\) cannot take"),
        (["task=classification", "mixing=mosaic"], r"mosaic mixes images with masks"),
        (["task=tagging", "mixing=classmix"], r"classmix mixes images with masks"),
        (
            [
                "schedule=ce_then_lovasz",
                "+mixing@schedule.phases.lovasz.mixing=mixup",
            ],
            r"cannot take the soft targets of schedule\.phases\.lovasz\.mixing",
        ),
        (["augmentation=randaugment"], r"RandAugment does not accept masks"),
    ],
)
def test_what_cannot_be_mixed_is_refused(
    words: list[str], message: str, compose: Compose, tmp_path: Path
) -> None:
    with refused(message):
        build.run(compose(*DRAWN, SCENES, *words), tmp_path)


def test_hard_targets_suit_every_loss(compose: Compose, tmp_path: Path) -> None:
    words = ["mixing=cutmix", "loss=ce_lovasz", "epochs=1", "data.batch_size=4"]
    run = built(compose, tmp_path / "run", [*DRAWN, SCENES, *words])
    run.trainer.fit(run.module, datamodule=run.data)
    assert run.trainer.global_step == 3


def test_pictures_show_mixed_batches(compose: Compose, tmp_path: Path) -> None:
    words = ["mixing=mixup", "epochs=1", "data.batch_size=4", "callbacks=pictures"]
    run = built(compose, tmp_path / "run", [*DRAWN, SCENES, *words])
    run.trainer.fit(run.module, datamodule=run.data)
    (file,) = (tmp_path / "run/pictures").glob("batch_*.png")
    picture = np.asarray(Image.open(file))
    assert picture.shape[1] >= 3 * 32  # image, and two masks
    assert picture.shape[0] > 32 + 18  # below a line of text


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(
            ("mixing=mixup", "mixing.choices.mixup.alpha=1", "data.num_workers=2"), marks=pytest.mark.slow
        ),
        pytest.param(
            ("task=classification", "mixing=mixup_cutmix", "data.balance=1"), marks=pytest.mark.slow
        ),
        pytest.param(
            ("mixing=mosaic", "data.rare=[cat]", "data.rare_share=0.5", "data.num_workers=1"),
            marks=pytest.mark.slow,
        ),
    ],
    ids=" ".join,
)
def test_mixed_run_resumes_exactly(words: tuple[str, ...], tmp_path: Path) -> None:
    train = (*RUN, *words, "hydra.run.dir=run")
    drill(tmp_path / "unbroken", *train)
    drill(tmp_path / "cut", *train, step=6, where="batch_end")
    drill(tmp_path / "cut", "resume=run", "data.num_workers=0")
    assert differing(result(tmp_path / "cut/run"), result(tmp_path / "unbroken/run")) == []


@pytest.mark.slow
@pytest.mark.parametrize("mixing", ["mixup", "classmix"])
def test_two_processes_train_to_the_weights_of_one(mixing: str, tmp_path: Path) -> None:
    train = [word for word in DRAWN if word != "trainer.accelerator=cpu"]
    train += [SCENES, "decoder=linear", f"mixing={mixing}", "mixing.p=1", "data.batch_size=4", "epochs=2"]
    train += ["optimizer=sgd", "optimizer.lr=0.01", "loss=ce_dice"]
    drill(tmp_path, *train, "trainer.accelerator=cpu", "hydra.run.dir=one")
    drill(tmp_path, *train, "trainer=ddp_sim", "hydra.run.dir=two")
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-4, atol=1e-5, msg=name)
