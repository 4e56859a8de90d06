"""The layers of layer decay: against timm's own groups, and against tables written by hand."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from tests.helpers import refused
from tests.schedules.test_param_groups import composition
from timm.optim import param_groups_layer_decay

from pixelwise.models import Composition
from pixelwise.schedules.param_groups import Layers, parameter_groups


def scales_of(model: Composition, decay: float, layers: Layers) -> dict[str, float]:
    """The factor on the learning rate of each parameter of timm's model."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    groups = parameter_groups(model, decay, layers=layers)
    scales = {names[parameter]: group["scale"] for group in groups for parameter in group["params"]}
    return {name: scale for name, scale in scales.items() if name.startswith("encoder.body.")}


PLAIN = (
    "test_vit", "deit_tiny_patch16_224", "vit_small_patch14_reg4_dinov2", "vit_small_patch16_dinov3",
    "eva02_tiny_patch14_224", "beit_base_patch16_224",
)  # fmt: skip
PYRAMIDS = ("convnext_tiny", "swin_tiny_patch4_window7_224", "resnet18", "davit_tiny", "rdnet_tiny")


@pytest.mark.parametrize("name", [*PLAIN, *PYRAMIDS])
def test_scales_of_blocks_equal_those_of_timm(name: str) -> None:
    with torch.device("meta"):
        ours, theirs = composition(name), timm.create_model(name, num_classes=5)
    names = {parameter: n for n, parameter in theirs.named_parameters()}
    expected = {
        f"encoder.body.{names[parameter]}": group["lr_scale"]
        for group in param_groups_layer_decay(theirs, layer_decay=0.7)
        for parameter in group["params"]
    }
    choices: tuple[Layers, ...] = ("stages", "blocks") if name in PLAIN else ("blocks",)
    for layers in choices:  # a plain transformer has only blocks
        scales = scales_of(ours, 0.7, layers)
        assert scales == pytest.approx({name: expected[name] for name in scales})
        assert len({*scales.values()}) > 4


DEPTHS = {  # exponents of the decay, by the start of a parameter's name
    "convnext_tiny": {
        "stages": {"stem": 5, "stages.0": 4, "stages.1": 3, "stages.2": 2, "stages.3": 1},
        "blocks": {"stem": 19, "stages.0.blocks.0": 18, "stages.0.blocks.2": 16, "stages.1.downsample": 15,
                   "stages.1.blocks.0": 15, "stages.1.blocks.2": 13, "stages.2.blocks.0": 12,
                   "stages.2.blocks.8": 4, "stages.3.downsample": 3, "stages.3.blocks.2": 1},
    },
    "swin_tiny_patch4_window7_224": {
        "stages": {"patch_embed": 5, "layers.0": 4, "layers.1": 3, "layers.2": 2, "layers.3": 1},
        "blocks": {"patch_embed": 13, "layers.0.blocks.0": 12, "layers.0.blocks.1": 11,
                   "layers.1.downsample": 10, "layers.1.blocks.0": 10, "layers.2.blocks.0": 8,
                   "layers.2.blocks.5": 3, "layers.3.downsample": 2, "layers.3.blocks.1": 1},
    },
}  # fmt: skip


@pytest.mark.parametrize("layers", ["stages", "blocks"])
@pytest.mark.parametrize("name", DEPTHS)
def test_depths_of_convnext_and_swin_by_hand(name: str, layers: Any) -> None:
    with torch.device("meta"):
        model = composition(name)
    by_name = scales_of(model, 0.9, layers)
    for start, depth in DEPTHS[name][layers].items():
        scales = [scale for n, scale in by_name.items() if n.startswith(f"encoder.body.{start}.")]
        assert scales
        assert scales == pytest.approx([0.9**depth] * len(scales)), start


def test_stages_that_timm_does_not_define_are_refused() -> None:
    with torch.device("meta"):
        model = composition("rdnet_tiny")
    with refused(r"optimizer.layers[\s\S]*optimizer.layers=blocks"):
        parameter_groups(model, 0.7)
