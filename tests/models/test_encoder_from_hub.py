"""Encoders by their names on the hub: from the cache, without a network, with a hub that never answers."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import timm
import torch
from tests.helpers import refused
from torch import nn

from pixelwise.models import Encoder, download

pytestmark = pytest.mark.fast


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a hub address that refuses connections."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")  # the discard port
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "hub"


@pytest.fixture
def silent_hub(offline: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A hub that accepts connections and never answers, as behind a firewall that drops packets."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(
            huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}"
        )
        monkeypatch.setattr(download, "TIMEOUT_S", 0.2)
        yield


UNREACHABLE = {
    "test_resnet": r"the file of 'test_resnet' is not in the cache[\s\S]*encoder.weights=FILE",
    "hf_hub:someone/some-model": r"the description of hf_hub:someone/some-model is not in the cache",
    "gcvit_xxtiny": r"the file of 'gcvit_xxtiny' is not in the cache",  # not on the hub
}


@pytest.mark.parametrize("name", UNREACHABLE)
def test_without_network_it_fails_at_once(name: str, offline: Path) -> None:
    start = time.perf_counter()
    with refused(UNREACHABLE[name] + r"|found: +ConnectError"):
        Encoder(name, pretrained=True)
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("name", ["test_resnet", "hf_hub:someone/some-model"])
@pytest.mark.usefixtures("silent_hub")
def test_a_hub_that_never_answers_times_out(name: str) -> None:
    start = time.perf_counter()
    with refused(rf"{UNREACHABLE[name]}|found: +ReadTimeout"):
        Encoder(name, pretrained=True)
    assert time.perf_counter() - start < 5


def test_the_offline_setting_is_named_in_the_error(offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with refused("HF_HUB_OFFLINE"):
        Encoder("test_resnet", pretrained=True)


def publish(cache: Path, repository: str, name: str, **options: Any) -> nn.Module:
    """Put a model into the cache as if it had been downloaded."""
    full_model = timm.create_model(name, **options)
    root = cache / f"models--{repository.replace('/', '--')}"
    (root / "refs").mkdir(parents=True)
    (root / "refs/main").write_text("1234")
    timm.models.save_for_hf(full_model, root / "snapshots/1234", model_args=options)
    return full_model


@pytest.mark.parametrize("name", ["hf_hub:someone/some-model", "hf-hub:someone/some-model"])
def test_a_model_of_the_hub_is_built_and_loaded(
    name: str, offline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)  # reads the cache only
    options = {"in_chans": 3, "channels": (16, 24, 32, 48)}
    full_model: Any = publish(offline, "someone/some-model", "test_resnet", **options)
    encoder = Encoder(name, pretrained=True).eval()
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(encoder(image)[-1], full_model.eval().forward_features(image))
    assert encoder.mean == tuple(full_model.pretrained_cfg["mean"])
    assert encoder.spec.name == "test_resnet"
    assert Encoder(name, in_chans=5).get_parameter("body.conv1.0.weight").shape[1] == 5


def test_a_missing_hub_prefix_is_suggested() -> None:
    with refused(r"encoder\.name=hf_hub:timm/resnet18\.a1_in1k"):
        Encoder("timm/resnet18.a1_in1k")
