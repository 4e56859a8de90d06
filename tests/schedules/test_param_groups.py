"""Layer-wise learning rates and exemptions from weight decay, computed by hand and in the optimizer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from omegaconf import DictConfig
from tests.helpers import refused
from torch import nn

from pixelwise import build
from pixelwise.losses import CrossEntropy, WeightedSum
from pixelwise.metrics.confusion import SegmentationScores
from pixelwise.models import Composition, Encoder, Normalize, PixelHead
from pixelwise.models.decoders import UNet
from pixelwise.schedules.param_groups import parameter_groups
from pixelwise.schedules.schedule import make_plan
from pixelwise.training.callbacks.schedule import ScheduleCallback
from pixelwise.training.module import Module

pytestmark = pytest.mark.fast


def composition(name: str, **options: Any) -> Composition:
    encoder = Encoder(name, **options)
    decoder = UNet(encoder.channels, encoder.strides, widths=(8, 8, 8, 8, 8))
    return Composition(encoder, decoder, PixelHead(8, 3), Normalize([0.0] * 3, [1.0] * 3))


def by_parameter(model: nn.Module, groups: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The group of each parameter; every parameter must be in exactly one group."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    pairs = [(names[parameter], group) for group in groups for parameter in group["params"]]
    assert len(pairs) == len(names) == len(dict(pairs))
    return dict(pairs)


def test_scales_of_a_cnn_by_hand() -> None:
    """A stem and four stages: ½⁵, ½⁴, … ½; 1 for decoder and head."""
    model = composition("test_resnet")
    groups = by_parameter(model, parameter_groups(model, layer_decay=0.5))
    scales: dict[str, set[float]] = {}
    for name, group in groups.items():
        key = ".".join(name.split(".")[:3]) if name.startswith("encoder") else name.split(".")[0]
        scales.setdefault(key, set()).add(group["scale"])
    assert scales == {
        "encoder.body.conv1": {1 / 32},
        "encoder.body.bn1": {1 / 32},
        "encoder.body.layer1": {1 / 16},
        "encoder.body.layer2": {1 / 8},
        "encoder.body.layer3": {1 / 4},
        "encoder.body.layer4": {1 / 2},
        "decoder": {1.0},
        "head": {1.0},
    }


def test_scales_of_a_transformer_by_hand() -> None:
    """The embedding and six blocks; the neck is new and trains at the full rate."""
    model = composition("test_vit")
    groups = by_parameter(model, parameter_groups(model, layer_decay=0.1))
    scales = {name: group["scale"] for name, group in groups.items()}
    inner = "encoder.body"
    assert scales[f"{inner}.patch_embed.proj.weight"] == pytest.approx(1e-7)
    assert scales[f"{inner}.pos_embed"] == pytest.approx(1e-7)
    for block in range(6):
        assert scales[f"{inner}.blocks.{block}.attn.qkv.weight"] == pytest.approx(10.0 ** (block - 6))
    assert {scale for name, scale in scales.items() if name.startswith("encoder.neck")} == {1.0}


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "hrnet_w18_small", "test_efficientnet"])
def test_every_encoder_parameter_has_a_layer(name: str) -> None:
    with torch.device("meta"):
        model = composition(name)
    groups = by_parameter(model, parameter_groups(model, layer_decay=0.5))
    assert all(group["scale"] < 1 for n, group in groups.items() if n.startswith("encoder."))


def test_norms_biases_and_position_embeddings_do_not_decay() -> None:
    model = composition("test_vit")
    groups = by_parameter(model, parameter_groups(model))
    exempt = {name for name, group in groups.items() if group.get("weight_decay") == 0.0}
    kinds = {m: n for n, m in model.named_modules()}
    expected = {"encoder.body.pos_embed", "encoder.body.cls_token"} & groups.keys()
    for module, path in kinds.items():
        for name, _ in module.named_parameters(recurse=False):
            if name == "bias" or not isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                expected.add(f"{path}.{name}")
    assert exempt == expected
    assert "encoder.body.pos_embed" in exempt
    assert "head.conv.bias" in exempt
    assert "head.conv.weight" not in exempt
    assert not any("weight_decay" in group for group in parameter_groups(model, decay_norms=True))


def test_without_options_each_part_has_one_rate() -> None:
    groups = parameter_groups(composition("test_resnet"))
    assert [(g["name"], g["part"], g["scale"]) for g in groups] == [
        ("encoder", "encoder", 1.0),
        ("encoder/no_decay", "encoder", 1.0),
        ("decoder", "decoder", 1.0),
        ("decoder/no_decay", "decoder", 1.0),
        ("head", "head", 1.0),
        ("head/no_decay", "head", 1.0),
    ]


def test_optimizer_applies_the_scales() -> None:
    """One step of SGD with all gradients 1: each weight falls by its learning rate, here at half a cosine."""
    model = composition("test_resnet")
    loss = WeightedSum({"ce": CrossEntropy()})
    module = Module(
        model,
        [loss],
        SegmentationScores(["a", "b", "c"]),
        partial(torch.optim.SGD, lr=0.0, weight_decay=0.5),
        groups=partial(parameter_groups, layer_decay=0.5),
    )
    optimizer = cast(torch.optim.Optimizer, module.configure_optimizers())
    settings = {"one": {"steps": 4, "lr": {"encoder": 0.4, "decoder": 0.2, "head": 0.1}, "curve": "cosine"}}
    callback = ScheduleCallback(make_plan(settings, Composition.PARTS, 4))
    trainer = cast(Any, SimpleNamespace(global_step=2, optimizers=[optimizer]))  # half-way: ½ of the rate
    callback.on_train_batch_start(trainer, module, cast(Any, None), 2)
    watched = {
        "encoder.body.conv1.0.weight": (0.4 / 2 / 32, 0.5),
        "encoder.body.layer4.0.conv1.weight": (0.4 / 2 / 2, 0.5),
        "encoder.body.layer4.0.bn1.weight": (0.4 / 2 / 2, 0.0),
        "decoder.blocks.0.0.0.weight": (0.2 / 2, 0.5),
        "head.conv.weight": (0.1 / 2, 0.5),
        "head.conv.bias": (0.1 / 2, 0.0),
    }
    before = {name: model.get_parameter(name).detach().clone() for name in watched}
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    for name, (rate, decay) in watched.items():
        expected = before[name] - rate * (1 + decay * before[name])
        torch.testing.assert_close(model.get_parameter(name).detach(), expected)


def test_config_options_reach_the_parameter_groups(
    compose: Callable[..., DictConfig], tiny: list[str], tmp_path: Path
) -> None:
    words = ["optimizer.layer_decay=0.5", "optimizer.decay_norms=true", "optimizer.layers=blocks"]
    config = compose(*tiny, *words)
    module = build.run(config, tmp_path).module
    optimizer = cast(torch.optim.Optimizer, module.configure_optimizers())
    assert {g["scale"] for g in optimizer.param_groups} == {0.5**n for n in range(6)}
    assert {g["weight_decay"] for g in optimizer.param_groups} == {config.optimizer.weight_decay}


@pytest.mark.parametrize("layer_decay", [0.0, 1.5, -1])
def test_layer_decay_out_of_range_is_refused(layer_decay: float) -> None:
    with refused(r"optimizer.layer_decay[\s\S]*0 < layer_decay ≤ 1"):
        parameter_groups(composition("test_resnet"), layer_decay)


def test_layer_decay_without_known_layers_is_refused() -> None:
    model = composition("test_resnet")
    model.encoder = nn.Conv2d(3, 8, 1)
    with refused("does not define the layers"):
        parameter_groups(model, 0.5)
    assert {group["name"] for group in parameter_groups(model)} >= {"encoder", "encoder/no_decay"}
