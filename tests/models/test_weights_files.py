"""Files of weights as people have them: any key and prefix, other models, damaged or foreign files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from tests.helpers import refused
from tests.models.small import SMALL_VIT

from pixelwise.models import Encoder

pytestmark = pytest.mark.fast


def state_of(name: str, **options: Any) -> dict[str, torch.Tensor]:
    return timm.create_model(name, **options).state_dict()


def under(prefix: str, state: dict[str, Any]) -> dict[str, Any]:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


PREFIXES = ["module.", "_orig_mod.", "model._orig_mod.", "net.", "module.encoder_q.", "a.b.c.d."]


KEYS = ["model_state_dict", "teacher", "net", "encoder", "a.b"]


@pytest.mark.parametrize("nested", [*PREFIXES, *KEYS])
def test_the_place_of_the_weights_in_a_file_is_found(nested: str, tmp_path: Path) -> None:
    state = state_of("test_resnet")
    content = under(nested, state) if nested in PREFIXES else {nested: state, "epoch": 3, "optimizer": {0: 1}}
    torch.save(content, tmp_path / "nested.pth")
    encoder = Encoder("test_resnet", weights=tmp_path / "nested.pth")
    assert torch.equal(encoder.get_parameter("body.conv1.0.weight"), state["conv1.0.weight"])


@pytest.mark.parametrize("names", [("student", "teacher"), ("encoder_q", "module.encoder_k")])
def test_one_of_several_equal_sets_is_never_chosen(names: tuple[str, str], tmp_path: Path) -> None:
    first, second = names
    state = state_of("test_resnet")
    torch.save({**under(f"{first}.", state), **under(f"{second}.", state)}, tmp_path / "two.pth")
    with refused(rf"several sets[\s\S]*{first}\. or {second}\."):
        Encoder("test_resnet", weights=tmp_path / "two.pth")
    torch.save({"model": state_of("test_resnet"), "model_ema": state}, tmp_path / "ema.pth")  # timm's choice
    encoder = Encoder("test_resnet", weights=tmp_path / "ema.pth")
    assert torch.equal(encoder.get_parameter("body.conv1.0.weight"), state["conv1.0.weight"])


SMALL = {"depths": (1, 1, 2, 1), "dims": (8, 16, 24, 32)}


OTHERS: dict[str, tuple[str, dict[str, Any], str, dict[str, Any], str]] = {
    "a deeper stage": ("resnet34", {}, "resnet18", {}, r"layer1\.2\.conv1"),
    "a deeper stage, flattened": (
        "convnext_tiny", {**SMALL, "depths": (1, 1, 3, 1)}, "convnext_tiny", SMALL, r"stages\.2\.blocks\.2"
    ),
    "more blocks": (
        "vit_base_patch16_224", {**SMALL_VIT, "depth": 6}, "vit_base_patch16_224", SMALL_VIT, r"blocks\.\d"
    ),
    "more layers in a block": ("seresnet18", {}, "resnet18", {}, r"layer1\.0\.se"),
    "another version": ("convnextv2_tiny", SMALL, "convnext_tiny", SMALL, r"mlp\.grn"),
    "one band": ("test_resnet", {"in_chans": 1}, "test_resnet", {}, r"data\.channels"),
    "thirteen bands": ("test_resnet", {"in_chans": 13}, "test_resnet", {}, r"conv1\.0\.weight .*13, 3, 3"),
}  # fmt: skip


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("case", OTHERS)
def test_a_file_of_another_model_is_refused(case: str, own: bool, tmp_path: Path) -> None:
    """Even where every weight of the encoder is in the file, or all but a few."""
    stored, options, name, own_options, message = OTHERS[case]
    if own:
        bands = {"in_chans": options.get("in_chans", 3)}
        state = under("encoder.", Encoder(stored, **{**options, **bands}).state_dict())
        message = "cannot be used|are not in"
    else:
        state = state_of(stored, **options)
    torch.save(state, tmp_path / "other.pth")
    with refused(message):
        Encoder(name, weights=tmp_path / "other.pth", **own_options)
    Encoder(name, weights=tmp_path / "other.pth", allow_missing=True, **own_options)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["conv1.0.weight", "layer1.0.bn1.running_var"])
def test_values_that_are_not_finite_are_refused(name: str, value: float, tmp_path: Path) -> None:
    state = state_of("test_resnet")
    state[name].view(-1)[0] = value
    torch.save(state, tmp_path / "nan.pth")
    with refused(rf"not finite[\s\S]*{name}"):
        Encoder("test_resnet", weights=tmp_path / "nan.pth", allow_missing=True)


def test_quantised_weights_are_refused(tmp_path: Path) -> None:
    integers = {n: (100 * t).to(torch.int8) for n, t in state_of("test_resnet").items()}
    torch.save(integers, tmp_path / "int8.pth")
    with refused(r"no tensor .* fits[\s\S]*torch\.int8"):
        Encoder("test_resnet", weights=tmp_path / "int8.pth")


@pytest.mark.parametrize("save", ["safetensors as .pth", "pickle as .safetensors"])
def test_the_format_follows_from_the_content(save: str, tmp_path: Path) -> None:
    file = tmp_path / f"weights{save.split()[-1]}"
    (save_file if save.startswith("safe") else torch.save)(state_of("test_resnet"), file)
    Encoder("test_resnet", weights=file)


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        (b"\n<!DOCTYPE html><html>", "a web page"),
        (b"\x08\x07\x12\x07pytorch", "another format, by its first bytes"),
        (b'{"weight_map": {}}', "another format, by its first bytes"),
    ],
)
def test_files_that_are_no_weights_are_named(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with refused(message):
        Encoder("test_resnet", weights=tmp_path / name)


def test_a_pickled_model_gets_the_way_to_its_tensors(tmp_path: Path) -> None:
    torch.save(timm.create_model("test_resnet"), tmp_path / "model.pth")
    with refused(r"never run[\s\S]*state_dict\(\)"):
        Encoder("test_resnet", weights=tmp_path / "model.pth")


@pytest.mark.parametrize(
    ("address", "message"),
    [("https://x.org/w.pth", "download the file"), ("hf_hub:timm/x", "encoder.name=hf_hub:timm/x")],
)
def test_addresses_instead_of_files_are_explained(address: str, message: str, tmp_path: Path) -> None:
    for weights in (address, tmp_path / address):  # the commands make paths absolute
        with refused(message):
            Encoder("test_resnet", weights=weights)


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_a_folder_of_the_hub_sets_its_mean_and_std(file: str, tmp_path: Path) -> None:
    """They differ from those of timm's model if the folder holds another version of it."""
    statistics = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    (tmp_path / "config.json").write_text(json.dumps({"pretrained_cfg": statistics}))
    (save_file if file.endswith("safetensors") else torch.save)(state_of("test_resnet"), tmp_path / file)
    encoder = Encoder("test_resnet", weights=tmp_path)
    assert (encoder.mean, encoder.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert encoder.expected_by == str(tmp_path / "config.json")
