"""`schedule=linear_probe`: what is trained, at which rates, and that no gradient reaches the encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.helpers import TWO_STEPS_AN_EPOCH, Compose
from torch import nn

from pixelwise import build

TRAINED = {
    ("classification", "test_resnet"): {"head.model.fc.weight", "head.model.fc.bias"},
    ("classification", "test_convnext"): {"head.model.head.fc.weight", "head.model.head.fc.bias"},
    ("tagging", "test_vit"): {"head.model.head.weight", "head.model.head.bias"},
    ("segmentation", "test_resnet"): {
        *(
            "decoder.norm.weight",
            "decoder.norm.bias",
            "decoder.norm.running_mean",
            "decoder.norm.running_var",
        ),
        *("decoder.norm.num_batches_tracked", "head.conv.weight", "head.conv.bias"),
    },
}


@pytest.mark.parametrize(("task", "encoder"), TRAINED)
def test_a_linear_probe_keeps_and_changes_nothing_of_its_encoder(
    task: str, encoder: str, compose: Compose, tmp_path: Path
) -> None:
    words = [f"task={task}", "decoder=linear", "schedule=linear_probe", f"encoder.name={encoder}", "epochs=2"]
    run = build.run(compose(*TWO_STEPS_AN_EPOCH, *words), tmp_path)
    model = run.module.model
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    kept: list[bool] = []

    def watch(module: nn.Module, inputs: Any, maps: list[torch.Tensor]) -> None:
        if torch.is_grad_enabled():  # a training step
            kept.append(any(x.requires_grad for x in maps) or any(m.training for m in module.body.modules()))

    model.encoder.register_forward_hook(watch)
    run.trainer.fit(run.module, datamodule=run.data)
    assert kept == [False] * 4
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(before[name], tensor)}
    assert changed == TRAINED[task, encoder]


def test_a_linear_probe_has_the_published_settings(compose: Compose, tmp_path: Path) -> None:
    words = ["decoder=linear", "schedule=linear_probe", "encoder=test_resnet", "data.num_workers=0"]
    run = build.run(compose(*words, "trainer.accelerator=cpu", "epochs=10"), tmp_path)
    (phase,), steps = run.plan.phases, run.plan.steps
    rates = [phase.rate("head", step) for step in range(steps)]
    assert (phase.weight_decay, phase.freeze) == (1e-3, {"encoder"})
    assert max(rates) == pytest.approx(1e-3)
    assert rates.index(max(rates)) == round(1500 / 40000 * steps)
    assert rates[-1] < 1e-6
    assert isinstance(run.module.model.decoder.norm, nn.BatchNorm2d)
    assert isinstance(run.module.configure_optimizers(), torch.optim.AdamW)
