"""Trainings with auxiliary heads: what is logged, frozen and resumed, and what later commands see."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from tests.conftest import run_script
from tests.drills import RUN, differing, drill, result
from tests.helpers import Compose, Script, refused

import pixelwise
from pixelwise import build, runs
from pixelwise.runs import checkpoints
from pixelwise.runs.resume import merge
from pixelwise.training import run

HEADS = (
    "auxiliary=stage3",
    "+auxiliary.decoder={weight:0.2,width:8}",
    "+loss@auxiliary.decoder.loss=ce_dice",
)
SMALL = (
    "encoder=test_resnet",
    "data.crop_size=32",
    "data.batch_size=4",
    "data.source.counts={train:8,val:4,test:6}",
    "trainer.accelerator=cpu",
    "trainer.log_every_n_steps=1",
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with two auxiliary heads and a moving average. Tests must not write to it."""
    folder = tmp_path_factory.mktemp("runs") / "supervised"
    words = [*SMALL, *HEADS, "epochs=2", "callbacks=[default,ema]", f"hydra.run.dir={folder}"]
    done = run_script(folder.parent, "train.py", *words)
    assert done.returncode == 0, done.stderr
    return folder


def built(compose: Compose, folder: Path, *overrides: str) -> run.Run:
    return build.run(compose(*SMALL, "callbacks=progress", "epochs=1", *overrides), folder)


class Note(L.Callback):
    """The gradients of the first step, without those of auxiliary heads."""

    def __init__(self) -> None:
        self.gradients: dict[str, torch.Tensor] = {}

    def on_before_optimizer_step(self, trainer: L.Trainer, module: Any, optimizer: Any) -> None:
        for name, parameter in module.model.named_parameters():
            if not name.startswith("auxiliary."):
                self.gradients[name] = parameter.grad.clone()


def one_step(made: run.Run) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    """The logged losses and the gradients of the first step."""
    note = Note()
    made.trainer.callbacks.append(note)  # type: ignore[attr-defined]
    made.trainer.fit(made.module, datamodule=made.data)
    return {k: float(v) for k, v in made.trainer.callback_metrics.items() if "loss" in k}, note.gradients


# ------------------------------------------------------------------------------------------- training
def test_losses_are_logged_by_head_in_training_only(trained: Path) -> None:
    with (trained / "metrics.csv").open() as stream:
        names = csv.DictReader(stream).fieldnames or []
    of_heads = {"train/loss/aux_stage3", "train/loss/aux_decoder"}
    assert {name for name in names if "loss" in name} - {"test/loss"} == {"train/loss", "val/loss", *of_heads}
    assert not any("aux" in name for name in json.loads((trained / "metrics.json").read_text()))


def test_each_head_has_its_loss_and_weight(compose: Compose, tmp_path: Path) -> None:
    made = built(compose, tmp_path, *HEADS)
    batch = made.module.on_after_batch_transfer(next(iter(made.data.train_dataloader())), 0)
    outputs = made.module._outputs(batch["image"])
    assert [(o.name, o.weight) for o in outputs] == [("", 1.0), ("aux_stage3", 0.4), ("aux_decoder", 0.2)]
    assert [len(o.loss.parts) for o in outputs] == [1, 1, 2]


def test_a_head_of_weight_zero_changes_no_gradient(compose: Compose, tmp_path: Path) -> None:
    step = "trainer.max_steps=1"
    plain = built(compose, tmp_path / "plain", step)
    weightless = built(compose, tmp_path / "heads", step, "auxiliary=stage3", "auxiliary.stage3.weight=0")
    weighted = built(compose, tmp_path / "more", step, "auxiliary=stage3", "auxiliary.stage3.weight=1")
    weights = plain.module.model.state_dict()
    for made in (weightless, weighted):
        made.module.model.load_state_dict(weights, strict=False)
    losses, gradients = one_step(plain)
    same_losses, same_gradients = one_step(weightless)
    _, other_gradients = one_step(weighted)
    assert losses.keys() == same_losses.keys() - {"train/loss/aux_stage3"}
    assert losses["train/loss"] == same_losses["train/loss"]
    for name, gradient in gradients.items():
        torch.testing.assert_close(same_gradients[name], gradient, msg=name)
        if name.startswith("encoder.body.conv1"):
            assert not torch.allclose(other_gradients[name], gradient)


def test_heads_are_frozen_with_the_head(compose: Compose, tmp_path: Path) -> None:
    made = built(compose, tmp_path, *HEADS, "+schedule.phases.all.freeze=[head]")
    before = {n: t.clone() for n, t in made.module.model.state_dict().items()}
    made.trainer.fit(made.module, datamodule=made.data)
    changed = {
        n.partition(".")[0]
        for n, t in made.module.model.state_dict().items()
        if not torch.equal(t, before[n])
    }
    assert changed == {"encoder", "decoder"}
    groups = {g["name"]: g["part"] for g in made.trainer.optimizers[0].param_groups}
    assert set(groups.values()) == {"encoder", "decoder", "head"}


@pytest.mark.parametrize("frozen", ["encoder", "encoder,decoder"])
def test_heads_train_on_frozen_parts(frozen: str, compose: Compose, tmp_path: Path) -> None:
    made = built(compose, tmp_path, *HEADS, f"+schedule.phases.all.freeze=[{frozen}]")
    before = {n: t.clone() for n, t in made.module.model.state_dict().items()}
    made.trainer.fit(made.module, datamodule=made.data)
    for name, tensor in made.module.model.state_dict().items():
        if name.startswith("auxiliary.") and not name.endswith("num_batches_tracked"):
            assert not torch.equal(tensor, before[name]), name
        if name.partition(".")[0] in frozen.split(","):
            assert torch.equal(tensor, before[name]), name


def test_automatic_class_weights_reach_the_heads(compose: Compose, tmp_path: Path) -> None:
    words = [*HEADS, "auxiliary.decoder.loss.parts.dice.class_weights=auto"]
    made = built(compose, tmp_path, *words)
    weights = made.module.config["auxiliary"]["decoder"]["loss"]["parts"]["dice"]["class_weights"]
    assert len(weights) == len(made.data.classes)


def test_the_plan_counts_the_heads(compose: Compose, tmp_path: Path) -> None:
    config = compose(*SMALL, *HEADS)
    assert build.outline(config).weights == build.run(config, tmp_path).outline.weights


# ------------------------------------------------------------------------------------ later commands
def test_evaluation_repeats_the_scores(trained: Path, script: Script) -> None:
    done = script("evaluate.py", f"run={trained}")
    assert done.returncode == 0, done.stderr
    assert "equal" in done.stdout + done.stderr
    assert "to the last digit" in (done.stdout + done.stderr).replace("\n", " ")
    assert "auxiliary" not in done.stdout + done.stderr, "nothing to report about the heads"


@pytest.mark.parametrize("format", ["hub", "pt2"])
def test_exports_hold_no_heads(format: str, trained: Path, script: Script, tmp_path: Path) -> None:
    done = script("export.py", f"run={trained}", f"format={format}", f"output={tmp_path / 'out'}")
    assert done.returncode == 0, done.stderr
    if format == "hub":
        model = pixelwise.load(tmp_path / "out")
        assert not any("auxiliary" in name for name in model.state_dict())
        assert "auxiliary" not in (tmp_path / "out/config.json").read_text()
    else:
        program = torch.export.load(tmp_path / "out/model.pt2")
        assert not any("auxiliary" in name for name in program.state_dict)


def test_prediction_loads_the_run(trained: Path) -> None:
    model = pixelwise.load(trained)
    assert model.auxiliary is None
    state = checkpoints.model_weights(checkpoints.read(trained / "checkpoints/best.ckpt"))
    assert any(name.startswith("auxiliary.") for name in state), "a resumed run needs the heads"
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


def test_a_trained_run_refuses_settings_of_heads(trained: Path, script: Script) -> None:
    for word in ("auxiliary=none", "auxiliary.stage3.weight=1"):
        done = script("evaluate.py", f"run={trained}", word)
        assert done.returncode != 0
        assert "trained" in done.stderr


def test_resuming_with_other_heads_is_refused(trained: Path, compose: Compose) -> None:
    before = runs.load_config(trained)
    with refused("auxiliary.stage3.weight"):
        merge(
            before, compose(*SMALL, *HEADS, "auxiliary.stage3.weight=1", "callbacks=[default,ema]"), [], False
        )


@pytest.mark.slow
@pytest.mark.parametrize("callbacks", ["default", "default,ema"])
def test_a_killed_run_resumes_exactly(callbacks: str, tmp_path: Path) -> None:
    words = (*RUN, *HEADS, f"callbacks=[{callbacks}]", "hydra.run.dir=run")
    drill(tmp_path / "unbroken", *words)
    drill(tmp_path / "cut", *words, step=7, where="batch_end")
    drill(tmp_path / "cut", "resume=run")
    assert differing(result(tmp_path / "cut/run"), result(tmp_path / "unbroken/run")) == []
