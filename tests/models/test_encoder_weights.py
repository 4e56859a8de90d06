"""Encoder weights from files of every kind: loading, log messages, errors without a network."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from tests.helpers import refused
from tests.models.small import DECODERS, SMALL_SWIN, SMALL_VIT, composition
from torch import nn

from pixelwise.models import Composition, Encoder

pytestmark = pytest.mark.fast


UNET = next(path for path in DECODERS if path.stem == "unet")  # reads every map


ENCODERS = ["test_resnet", "test_convnext", "mobilenetv3_small_050"]  # timm wraps them differently


@pytest.fixture(autouse=True)
def same_numbers_each_time() -> None:
    torch.manual_seed(0)


# ------------------------------------------------------------------------------------ timm's own files
def save_pth(full_model: nn.Module, folder: Path) -> Path:
    torch.save(full_model.state_dict(), folder / "timm.pth")
    return folder / "timm.pth"


def save_training_checkpoint(full_model: nn.Module, folder: Path) -> Path:
    wrapped = {f"module.{name}": tensor for name, tensor in full_model.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": wrapped}, folder / "training.pth")
    return folder / "training.pth"


def save_safetensors(full_model: nn.Module, folder: Path) -> Path:
    save_file(full_model.state_dict(), folder / "timm.safetensors")
    return folder / "timm.safetensors"


def save_hub_folder(full_model: nn.Module, folder: Path) -> Path:
    save_file(full_model.state_dict(), folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("save", [save_pth, save_training_checkpoint, save_safetensors, save_hub_folder])
@pytest.mark.parametrize("name", ENCODERS)
def test_timms_full_model_loads_bitwise(
    name: str, save: Callable[[nn.Module, Path], Path], tmp_path: Path
) -> None:
    full_model: Any = timm.create_model(name, num_classes=10)
    full_model(torch.randn(2, 3, 64, 64))  # sets batch-norm statistics, which must be loaded too
    image = torch.randn(1, 3, 64, 64)
    encoder = Encoder(name, weights=save(full_model, tmp_path)).eval()
    with torch.no_grad():
        assert torch.equal(encoder(image)[-1], full_model.eval().forward_features(image))


@pytest.mark.parametrize("bands", [1, 6])
def test_the_first_layer_is_adapted_to_the_bands(bands: int, tmp_path: Path) -> None:
    """One band gets the sum of the three weights; six bands get each weight twice, halved."""
    full_model = timm.create_model("test_resnet")
    rgb = full_model.get_submodule("conv1.0").weight
    expected = rgb.sum(1, keepdim=True) if bands == 1 else torch.cat([rgb, rgb], 1) / 2
    encoder = Encoder("test_resnet", weights=save_pth(full_model, tmp_path), in_chans=bands)
    torch.testing.assert_close(encoder.get_parameter("body.conv1.0.weight"), expected)


# ------------------------------------------------------------------------------ files of this project
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
def test_the_encoder_of_a_trained_run_loads_bitwise(
    name: str, save: Callable[[Composition, Path], Path], tmp_path: Path
) -> None:
    trained = composition(name, UNET)
    trained(torch.randn(2, 3, 64, 64))
    encoder = Encoder(name, weights=save(trained, tmp_path))
    for key, tensor in encoder.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(tensor, trained.encoder.state_dict()[key]), key


@pytest.mark.parametrize(
    ("name", "small"),
    [
        ("beit_base_patch16_224", SMALL_VIT),  # tables of relative positions
        ("swin_tiny_patch4_window7_224", SMALL_SWIN),  # the same, with flattened names
        ("deit_base_patch16_224", SMALL_VIT),  # position embeddings
    ],
)
def test_a_trained_encoder_of_another_size_is_resampled(
    name: str, small: dict[str, Any], tmp_path: Path
) -> None:
    options: dict[str, Any] = {**small, "img_size": 112}
    trained = Encoder(name, **options, **({"window_size": 4} if "swin" in name else {}))
    for parameter in trained.parameters():
        nn.init.normal_(parameter)
    torch.save({f"encoder.{n}": t for n, t in trained.state_dict().items()}, tmp_path / "own.pth")
    encoder = Encoder(name, weights=tmp_path / "own.pth", **{**options, "img_size": (160, 224)})
    before, after = trained.state_dict(), encoder.state_dict()
    assert before.keys() == after.keys()
    resampled = {key for key in before if before[key].shape != after[key].shape}
    assert resampled
    assert all(torch.equal(before[key], after[key]) for key in before.keys() - resampled)
    assert all(0.2 < after[key].std() < 1.5 for key in resampled)  # 0.02 as initialised


# ---------------------------------------------------------------------------------- logs and errors
def test_matched_and_skipped_tensors_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = timm.create_model("test_resnet", num_classes=10).state_dict()
    del state["layer4.0.bn1.weight"]
    state["layer1.0.bn1.weight"] = torch.zeros(7)
    torch.save(state, tmp_path / "some.pth")
    with caplog.at_level(logging.INFO):
        encoder = Encoder("test_resnet", weights=tmp_path / "some.pth", allow_missing=True)
    matched = len(encoder.state_dict()) - 2
    messages = [record.getMessage() for record in caplog.records if record.name.startswith("pixelwise")]
    assert messages == [
        f"encoder.weights={tmp_path}/some.pth: {matched} tensors matched, 2 missing, 3 unexpected",
        "encoder.weights: skipped, not part of the encoder: fc.weight, fc.bias",
        "encoder.weights: skipped, of another model: layer1.0.bn1.weight (7,) for (32,)",
        "encoder.weights: missing, 0.034 % stay random: layer1.0.bn1.weight, layer4.0.bn1.weight",
    ]


@pytest.mark.parametrize("allow_missing", [False, True])
@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("other.pth", r"no tensor in .* fits[\s\S]*found: .*stem"),
        ("counter.pth", r"no tensor in .* fits[\s\S]*found: .*stem.weight"),
        ("empty.pth", r"no tensor in .* fits[\s\S]*found: .*do not fit: none"),
        ("list.pth", "cannot be read"),
        ("broken.pth", "cannot be read"),
        ("none.pth", r"not a file[\s\S]*a run folder"),
        (".", "not a file"),
    ],
)
def test_unusable_weights_are_refused(file: str, message: str, allow_missing: bool, tmp_path: Path) -> None:
    torch.save(timm.create_model("test_convnext").state_dict(), tmp_path / "other.pth")
    counter = {"bn1.num_batches_tracked": torch.tensor(9), "stem.weight": torch.zeros(3)}
    torch.save(counter, tmp_path / "counter.pth")  # batch-norm's counter fits any model
    torch.save({}, tmp_path / "empty.pth")
    torch.save([torch.zeros(3)], tmp_path / "list.pth")
    (tmp_path / "broken.pth").write_bytes(b"PK")
    with refused(message):
        Encoder("test_resnet", weights=tmp_path / file, allow_missing=allow_missing)


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_vit"])
def test_more_than_one_percent_missing_is_refused(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Only weights of timm's model count: files do not hold the pyramid of a plain transformer."""
    state = timm.create_model(name).state_dict()
    own = Encoder(name).body.state_dict()
    inside = {n: t for n, t in state.items() if n in own and n[-7:] != "tracked"}
    total, lost = sum(t.numel() for t in inside.values()), 0
    for key in sorted(inside, key=lambda n: inside[n].numel()):
        if lost + inside[key].numel() > total / 100:  # this tensor exceeds 1 %
            torch.save(state, tmp_path / "enough.pth")
            del state[key]
            torch.save(state, tmp_path / "part.pth")
            lost += inside[key].numel()
            break
        lost += inside[key].numel()
        del state[key]
    Encoder(name, weights=tmp_path / "enough.pth")
    share = rf"{100 * lost / total:.1f}% of the encoder's weights are not in .*part.pth"
    with refused(rf"{share}[\s\S]*allow_missing=true"):
        Encoder(name, weights=tmp_path / "part.pth")
    caplog.clear()
    Encoder(name, weights=tmp_path / "part.pth", allow_missing=True)
    assert "stay random" in caplog.text
    assert "neck" not in caplog.text


def test_nothing_in_a_file_is_executed(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    torch.save({**timm.create_model("test_resnet").state_dict(), "trap": Trap()}, tmp_path / "trap.pth")
    with refused("cannot be read"):
        Encoder("test_resnet", weights=tmp_path / "trap.pth")
    assert not (tmp_path / "sprung").exists()


# ------------------------------------------------------------------------------- mean and deviation
def test_a_file_sets_the_mean_and_std_of_its_model(tmp_path: Path) -> None:
    trained = composition("test_resnet", UNET)
    trained.normalize.set([0.1, 0.2, 0.3], [0.4, 0.5, 0.6])
    full_model = timm.create_model("test_resnet")
    config: Any = full_model.pretrained_cfg
    for file, expected in {
        save_pth(full_model, tmp_path): (config["mean"], config["std"]),
        save_run_folder(trained, tmp_path): ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6]),
        save_own_hub_folder(trained, tmp_path) / "model.safetensors": ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6]),
    }.items():
        encoder = Encoder("test_resnet", weights=file)
        assert (encoder.mean, encoder.std) == tuple(pytest.approx(tuple(numbers)) for numbers in expected)
        others = Encoder("test_resnet", weights=file, in_chans=4)
        assert (others.mean, others.std) == (None, None)
    assert Encoder("test_resnet").mean is None
