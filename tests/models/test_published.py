"""Files in the layouts that the authors of models publish load as timm itself loads them.

Each layout function is the inverse of timm's `checkpoint_filter_fn` for that model family. It also adds the
other content of the authors' files.
"""

from __future__ import annotations

import argparse
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import timm
import torch
from tests.models.small import SMALL_SWIN, SMALL_VIT
from torch import nn

from pixelwise.models import Encoder

State = dict[str, Any]


def swin(state: State, full_model: nn.Module) -> State:
    """Microsoft's: downsampling is at the end of a stage; the file holds masks and indices of windows."""
    renamed = {
        re.sub(r"layers\.(\d)\.downsample", lambda m: f"layers.{int(m[1]) - 1}.downsample", name): tensor
        for name, tensor in state.items()
    }
    renamed = {name.replace("head.fc.", "head."): tensor for name, tensor in renamed.items()}
    for name, _ in full_model.named_modules():
        if name.endswith(".attn"):
            renamed[f"{name}.relative_position_index"] = torch.zeros(49, 49, dtype=torch.long)
            renamed[f"{name.removesuffix('attn')}attn_mask"] = torch.zeros(4, 49, 49)
    return {"model": renamed, "epoch": 299, "config": argparse.Namespace(name="swin")}


def plain(state: State, _: nn.Module) -> State:
    """The authors' names are timm's names."""
    return state


def in_model(state: State, _: nn.Module) -> State:
    """DeiT's: the tensors are below the key `model`."""
    return {"model": state}


def deit3(state: State, _: nn.Module) -> State:
    """DeiT III's: layer scale is a parameter, not a module."""
    return {"model": {re.sub(r"ls(\d)\.gamma", r"gamma_\1", name): t for name, t in state.items()}}


def dinov2(state: State, _: nn.Module) -> State:
    """Meta's: there is a token for masked patches, and SwiGLU's layers have other names."""
    names = {name: name.replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3") for name in state}
    gated = any(".mlp.fc1.weight" in n and "blocks.0" in n for n in state) and _gated(state)
    renamed = {names[name] if gated else name: tensor for name, tensor in state.items()}
    return {**renamed, "mask_token": torch.zeros(1, renamed["cls_token"].shape[-1])}


def _gated(state: State) -> bool:
    first, second = (state[f"blocks.0.mlp.fc{i}.weight"] for i in (1, 2))
    return first.shape[0] != second.shape[1]


def dinov2_registers(state: State, full_model: nn.Module) -> State:
    """Meta's with registers: the position embedding of the class token is stored with the others."""
    official = dinov2(state, full_model)
    official["register_tokens"] = official.pop("reg_token")
    position = torch.randn_like(official["cls_token"])
    official["cls_token"] = official["cls_token"] - position
    official["pos_embed"] = torch.cat([position, official["pos_embed"]], 1)
    return official


def beit(state: State, full_model: nn.Module) -> State:
    """Microsoft's: the file holds indices of relative positions."""
    index = {
        f"{n}.relative_position_index": torch.zeros(197, 197)
        for n, _ in full_model.named_modules()
        if n.endswith(".attn")
    }
    return {"model": {**state, **index}}


def beit2(state: State, full_model: nn.Module) -> State:
    """Microsoft's, as saved by DeepSpeed."""
    return {"module": beit(state, full_model)["model"]}


def convnext(state: State, _: nn.Module) -> State:
    """Meta's: downsampling layers are in a list of their own, 1×1 convolutions are linear layers."""
    rules = [
        (r"^stem\.", "downsample_layers.0."),
        (r"^stages\.(\d)\.downsample\.", r"downsample_layers.\1."),
        (r"^(stages\.\d)\.blocks\.", r"\1."),
        (r"conv_dw", "dwconv"),
        (r"mlp\.grn\.weight", "grn.gamma"),
        (r"mlp\.grn\.bias", "grn.beta"),
        (r"mlp\.fc", "pwconv"),
        (r"^head\.norm\.", "norm."),
        (r"^head\.fc\.", "head."),
    ]
    renamed = {}
    for name, tensor in state.items():
        for old, new in rules:
            name = re.sub(old, new, name)
        if "pwconv" in name and tensor.ndim == 4:
            tensor = tensor[:, :, 0, 0]
        renamed[name] = tensor.reshape(1, 1, 1, -1) if "grn." in name else tensor
    return {"model": renamed}


class Case(NamedTuple):
    """A file of a model, and the model that loads it."""

    name: str
    layout: Callable[[State, nn.Module], State]
    file_options: dict[str, Any] = {}
    """Further options of the model in the file."""
    both: dict[str, Any] = {}
    """Options of both models."""
    encoder_options: dict[str, Any] = {}
    """Further options of the encoder."""
    size: int = 224


TINY_CONVNEXT = {"depths": (1, 1, 2, 1), "dims": (8, 16, 24, 32)}
TINY_DINO = {**SMALL_VIT, "init_values": 0.1}
CASES = {
    "swin": Case("swin_tiny_patch4_window7_224", swin, both=SMALL_SWIN),
    "swin of another window": Case(
        "swin_tiny_patch4_window7_224",
        swin,
        both=SMALL_SWIN,
        encoder_options={"img_size": 256, "window_size": 8},
        size=256,
    ),
    "vit": Case("vit_base_patch16_224", plain, both=SMALL_VIT),
    "vit of another size": Case("vit_base_patch16_224", plain, {"img_size": 384}, SMALL_VIT),
    "vit of other patches": Case("vit_base_patch16_224", plain, {"patch_size": 32}, SMALL_VIT),
    "vit of two sides": Case("vit_base_patch16_224", plain, {}, SMALL_VIT, {"img_size": (112, 448)}),
    "dinov2 of 1370 tokens": Case("vit_base_patch14_dinov2", dinov2, both=TINY_DINO, size=518),
    "dinov2 for 257 tokens": Case("vit_base_patch14_dinov2", dinov2, {}, TINY_DINO, {"img_size": 224}),
    "dinov2 for 2026 tokens": Case("vit_base_patch14_dinov2", dinov2, {}, TINY_DINO, {"img_size": 630}, 630),
    "dinov2 of 8×20 patches": Case(
        "vit_base_patch14_dinov2", dinov2, {}, TINY_DINO, {"img_size": (112, 280)}
    ),
    "dinov2 with registers": Case(
        "vit_base_patch14_reg4_dinov2", dinov2_registers, {}, TINY_DINO, {"img_size": 224}
    ),
    "dinov2 with swiglu": Case("vit_giant_patch14_dinov2", dinov2, {}, TINY_DINO, {"img_size": 224}),
    "deit": Case("deit_base_patch16_224", in_model, both=SMALL_VIT),
    "deit distilled": Case(
        "deit_base_distilled_patch16_224", in_model, {}, SMALL_VIT, {"img_size": 256}, 256
    ),
    "deit3": Case("deit3_base_patch16_224", deit3, both=SMALL_VIT),
    "beit": Case("beit_base_patch16_224", beit, both=SMALL_VIT),
    "beit of another size": Case("beit_base_patch16_224", beit, {}, SMALL_VIT, {"img_size": 384}, 384),
    "beit2": Case("beitv2_base_patch16_224", beit2, both=SMALL_VIT),
    "convnext": Case("convnext_tiny", convnext, both=TINY_CONVNEXT),
    "convnext2": Case("convnextv2_tiny", convnext, both=TINY_CONVNEXT),
}


OF_FIVE_BANDS = ("swin", "dinov2 for 257 tokens", "convnext")


@pytest.mark.parametrize(("case", "bands"), [*((c, 3) for c in CASES), *((c, 5) for c in OF_FIVE_BANDS)])
def test_authors_files_load_as_timm_loads_them(
    case: str, bands: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    name, layout, file_options, both, encoder_options, size = CASES[case]
    full_model = timm.create_model(name, **both, **file_options)
    for parameter in full_model.parameters():  # also those that timm starts at zero or one
        nn.init.normal_(parameter, std=0.2)
    file = tmp_path / "official.pth"
    torch.save(layout(dict(full_model.state_dict()), full_model), file)

    caplog.set_level(logging.INFO)
    encoder = Encoder(name, weights=file, in_chans=bands, **both, **encoder_options).eval()
    theirs: Any = timm.create_model(
        name,
        pretrained=True,
        pretrained_cfg_overlay={"file": str(file)},
        **encoder.spec.options,
    ).eval()
    side = encoder_options.get("img_size", size)
    image = torch.randn(1, bands, *((side, side) if isinstance(side, int) else side))
    with torch.no_grad():
        ours, expected = encoder.body.forward_features(image), theirs.forward_features(image)
    assert torch.equal(ours, expected)
    assert " 0 missing" in caplog.text
    assert not [record for record in caplog.records if record.levelno > logging.INFO]
    config = timm.get_pretrained_cfg(name)
    assert config is not None
    known = (tuple(config.mean), tuple(config.std)) if bands == 3 else (None, None)
    assert (encoder.mean, encoder.std) == known
