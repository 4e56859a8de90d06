"""Encoder weights from every kind of file, what is reported about them, and what no network means."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import save_file
from tests.models.small import DECODERS, composition
from torch import nn

from pixelwise.errors import UserError
from pixelwise.models import Composition, Encoder
from pixelwise.models.encoder_weights import reach

pytestmark = pytest.mark.fast
UNET = next(path for path in DECODERS if path.stem == "unet")  # which reads every map
ENCODERS = ["test_resnet", "test_convnext", "mobilenetv3_small_050"]  # timm wraps them differently


@pytest.fixture(autouse=True)
def same_numbers_each_time() -> None:
    torch.manual_seed(0)


# ------------------------------------------------------------------------------------ timm's own files
def save_pth(whole: nn.Module, folder: Path) -> Path:
    torch.save(whole.state_dict(), folder / "timm.pth")
    return folder / "timm.pth"


def save_training_checkpoint(whole: nn.Module, folder: Path) -> Path:
    wrapped = {f"module.{name}": tensor for name, tensor in whole.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": wrapped}, folder / "training.pth")
    return folder / "training.pth"


def save_safetensors(whole: nn.Module, folder: Path) -> Path:
    save_file(whole.state_dict(), folder / "timm.safetensors")
    return folder / "timm.safetensors"


def save_hub_folder(whole: nn.Module, folder: Path) -> Path:
    save_file(whole.state_dict(), folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("save", [save_pth, save_training_checkpoint, save_safetensors, save_hub_folder])
@pytest.mark.parametrize("name", ENCODERS)
def test_timms_whole_model_loads_bitwise(
    name: str, save: Callable[[nn.Module, Path], Path], tmp_path: Path
) -> None:
    whole: Any = timm.create_model(name, num_classes=10)
    whole(torch.randn(2, 3, 64, 64))  # leaves batch-norm statistics that must arrive as well
    image = torch.randn(1, 3, 64, 64)
    encoder = Encoder(name, weights=save(whole, tmp_path)).eval()
    with torch.no_grad():
        assert torch.equal(encoder(image)[-1], whole.eval().forward_features(image))


def test_the_first_layer_is_adapted_to_the_bands(tmp_path: Path) -> None:
    """One band sees what three equal ones saw: the sum; six share what three had: half, twice."""
    whole = timm.create_model("test_resnet")
    rgb = whole.get_submodule("conv1.0").weight
    for bands, expected in {1: rgb.sum(1, keepdim=True), 6: torch.cat([rgb, rgb], 1) / 2}.items():
        encoder = Encoder("test_resnet", weights=save_pth(whole, tmp_path), in_chans=bands)
        torch.testing.assert_close(encoder.get_parameter("body.conv1.0.weight"), expected)


# ------------------------------------------------------------------------------------------ our own
def save_run_folder(trained: Composition, folder: Path) -> Path:
    (folder / "checkpoints").mkdir()
    state = {f"model.{name}": tensor for name, tensor in trained.state_dict().items()}
    torch.save({"state_dict": state}, folder / "checkpoints/best.ckpt")
    return folder


def save_checkpoint(trained: Composition, folder: Path) -> Path:
    return save_run_folder(trained, folder) / "checkpoints/best.ckpt"


def save_own_hub_folder(trained: Composition, folder: Path) -> Path:
    save_file(trained.state_dict(), folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("save", [save_run_folder, save_checkpoint, save_own_hub_folder])
@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_the_encoder_of_an_own_model_loads_bitwise(
    name: str, save: Callable[[Composition, Path], Path], tmp_path: Path
) -> None:
    trained = composition(name, UNET)
    trained(torch.randn(2, 3, 64, 64))
    encoder = Encoder(name, weights=save(trained, tmp_path))
    for key, tensor in encoder.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(tensor, trained.encoder.state_dict()[key]), key


# ------------------------------------------------------------------------------------- what is said
def test_what_matched_and_what_did_not_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = timm.create_model("test_resnet", num_classes=10).state_dict()
    del state["layer4.0.conv1.weight"]
    state["layer1.0.conv1.weight"] = torch.zeros(7, 7, 3, 3)
    torch.save(state, tmp_path / "some.pth")
    with caplog.at_level(logging.INFO):
        encoder = Encoder("test_resnet", weights=tmp_path / "some.pth")
    matched = len(encoder.state_dict()) - 2
    assert caplog.messages == [
        f"encoder.weights={tmp_path}/some.pth: {matched} tensors matched, 2 missing, 3 unexpected",
        "encoder.weights: not of the encoder, left out: fc.weight, fc.bias",
        "encoder.weights: of another shape, left out: layer1.0.conv1.weight (7, 7, 3, 3) for (32, 32, 3, 3)",
        "encoder.weights: missing, kept as initialised: "
        "body.layer1.0.conv1.weight, body.layer4.0.conv1.weight",
    ]


def test_weights_that_fit_nowhere_are_refused(tmp_path: Path) -> None:
    torch.save(timm.create_model("test_convnext").state_dict(), tmp_path / "other.pth")
    counter = {"bn1.num_batches_tracked": torch.tensor(9), "stem.weight": torch.zeros(3)}
    torch.save(counter, tmp_path / "counter.pth")  # batch-norm's counter fits any model
    (tmp_path / "broken.pth").write_bytes(b"PK")
    for file, message in {
        "other.pth": r"nothing in .* fits[\s\S]*found: .*stem",
        "counter.pth": r"nothing in .* fits[\s\S]*found: .*stem.weight",
        "broken.pth": "cannot be read",
        "none.pth": r"not a file[\s\S]*a run folder",
        ".": "not a file",
    }.items():
        with pytest.raises(UserError, match=message):
            Encoder("test_resnet", weights=tmp_path / file)


# --------------------------------------------------------------------------------------- no network
def test_pretrained_without_network_fails_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(
        huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9"
    )  # discards, if it answers
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    start = time.perf_counter()
    with pytest.raises(UserError, match=r"not in the cache[\s\S]*refused[\s\S]*encoder.weights=FILE"):
        Encoder("test_resnet", pretrained=True)
    assert time.perf_counter() - start < 5


def test_a_network_that_swallows_everything_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def silent(*_: object, **__: object) -> None:
        over.wait(60)
        raise OSError("given up by the system, long after")

    monkeypatch.setattr(socket, "create_connection", silent)
    with pytest.raises(TimeoutError, match=r"no answer in 0.1 s"):
        reach("127.0.0.1", 9, timeout_s=0.1)
    over.set()
