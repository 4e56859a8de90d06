"""The composition on pictures to check by hand, and every decoder on encoders of several kinds."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import segmentation_models_pytorch as smp
import timm
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from safetensors.torch import save_file
from torch import Tensor, nn

from pixelwise import build
from pixelwise.errors import UserError
from pixelwise.models import ClassifierHead, Composition, Encoder, Normalize, PixelHead
from pixelwise.models.decoders import UNet

DECODERS = sorted((Path(__file__).parents[2] / "conf/decoder").glob("*.yaml"))
ENCODERS = ["test_resnet", "convnext_atto", "mobilenetv3_small_050"]  # 5 maps, 4 maps, inverted residuals
SIZES = [(97, 131), (64, 64), (33, 70)]

PICTURE = torch.tensor(
    [
        [0, 0, 1, 1, 2],
        [0, 1, 1, 2, 2],
        [0, 0, 0, 0, 2],
        [1, 1, 2, 2, 2],
    ]
)
"""Four rows of five pixels: 7 of class 0, 6 of class 1, 7 of class 2."""


@pytest.fixture(autouse=True)
def same_numbers_each_time() -> None:
    torch.manual_seed(0)


def composition(
    encoder_name: str, decoder: Path, head: type[nn.Module] = PixelHead, classes: int = 3
) -> Composition:
    encoder = Encoder(encoder_name)
    built = build.make(OmegaConf.load(decoder), "decoder", channels=encoder.channels, strides=encoder.strides)
    return Composition(encoder, built, head(built.out_channels, classes), Normalize([0.0] * 3, [1.0] * 3))


# ------------------------------------------------------------------------------------------ heads
@pytest.mark.fast
def test_a_picture_to_one_hot_and_back_by_hand() -> None:
    planes = F.one_hot(PICTURE, 3)  # H×W×N
    assert planes.shape == (4, 5, 3)
    assert planes.sum((0, 1)).tolist() == [7, 6, 7]
    assert planes[..., 2].tolist() == [[0, 0, 0, 0, 1], [0, 0, 0, 1, 1], [0, 0, 0, 0, 1], [0, 0, 1, 1, 1]]
    assert torch.equal(planes.argmax(-1), PICTURE)


@pytest.mark.fast
def test_a_pixel_head_that_copies_one_hot_planes_gives_the_picture_back() -> None:
    head = PixelHead(3, 3)
    head.conv.load_state_dict({"weight": 10 * torch.eye(3)[..., None, None], "bias": torch.zeros(3)})
    planes = F.one_hot(PICTURE, 3).permute(2, 0, 1)[None].float()
    logits = head(planes, (4, 5))
    assert logits.shape == (1, 3, 4, 5)
    assert torch.equal(logits.argmax(1)[0], PICTURE)
    probabilities = logits.softmax(1)
    assert torch.allclose(probabilities.sum(1), torch.ones(1, 4, 5))
    # e¹⁰ against two times e⁰
    assert probabilities[0, 0, 0, 0].item() == pytest.approx(22026.4658 / 22028.4658)


@pytest.mark.fast
def test_a_pixel_head_is_the_classifier_head_at_each_position() -> None:
    features = torch.randn(2, 7, 4, 5)
    pixel, classifier = PixelHead(7, 3), ClassifierHead(7, 3)
    weights = classifier.linear.state_dict()
    pixel.conv.load_state_dict({"weight": weights["weight"][..., None, None], "bias": weights["bias"]})
    logits = pixel(features, (4, 5))
    for y in range(4):
        for x in range(5):
            alone = classifier(features[:, :, y : y + 1, x : x + 1], (1, 1))
            torch.testing.assert_close(logits[:, :, y, x], alone)
    # and the mean over a linear map is the linear map of the mean
    torch.testing.assert_close(logits.mean((2, 3)), classifier(features, (4, 5)))


# ------------------------------------------------------------------------------- encoder × decoder
@pytest.mark.parametrize("decoder", DECODERS, ids=lambda path: path.stem)
@pytest.mark.parametrize("encoder", [pytest.param(ENCODERS[0], marks=pytest.mark.fast), *ENCODERS[1:]])
class TestEveryPair:
    """What holds for any encoder under any decoder."""

    def test_any_size_in_the_same_size_out(self, encoder: str, decoder: Path) -> None:
        model = composition(encoder, decoder).eval()
        with torch.no_grad():
            for height, width in SIZES:
                assert model(torch.randn(1, 3, height, width)).shape == (1, 3, height, width)

    def test_the_gradient_reaches_every_parameter(self, encoder: str, decoder: Path) -> None:
        model = composition(encoder, decoder)
        for parameter in model.parameters():
            if parameter.ndim == 1:  # timm shuts residual blocks by a batch-norm weight of 0
                nn.init.uniform_(parameter, 0.5, 1)
        model(torch.randn(2, 3, 64, 64)).square().mean().backward()
        unreached = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
        assert unreached == []

    def test_a_prediction_does_not_depend_on_its_neighbours(self, encoder: str, decoder: Path) -> None:
        model = composition(encoder, decoder).eval()
        images = torch.randn(3, 3, 64, 64)
        others = torch.cat([images[:1], 5 * torch.randn(2, 3, 64, 64)])
        with torch.no_grad():
            assert torch.equal(model(images)[0], model(others)[0])
            assert not torch.equal(model(images)[1], model(others)[1])

    def test_pooled_it_gives_one_row_an_image(self, encoder: str, decoder: Path) -> None:
        model = composition(encoder, decoder, ClassifierHead, classes=4).eval()
        with torch.no_grad():
            assert model(torch.randn(2, 3, 33, 70)).shape == (2, 4)


@pytest.mark.fast
def test_unet_is_that_of_segmentation_models_pytorch() -> None:
    encoder = Encoder("resnet18")
    decoder = UNet(encoder.channels, encoder.strides)
    ours = Composition(encoder, decoder, PixelHead(decoder.out_channels, 3), Normalize([0.0] * 3, [1.0] * 3))
    ours(torch.randn(2, 3, 64, 64))  # gives batch-norm statistics worth comparing
    theirs = smp.Unet("tu-resnet18", encoder_weights=None, classes=3)
    theirs.segmentation_head[0] = ours.head.conv  # theirs is a 3×3 convolution
    names = {"encoder.body.": "encoder.model."}
    for block in range(5):
        names |= {f"decoder.blocks.{block}.{i}.": f"decoder.blocks.{block}.conv{i + 1}." for i in range(2)}
    weights = {
        new + name.removeprefix(old): tensor
        for name, tensor in ours.state_dict().items()
        for old, new in names.items()
        if name.startswith(old)
    }
    missing, unknown = theirs.load_state_dict(weights, strict=False)
    assert ({name.split(".")[0] for name in missing}, unknown) == ({"segmentation_head"}, [])
    image = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        difference = (ours.eval()(image) - theirs.eval()(image)).abs().max().item()
    assert difference <= 1e-4


# --------------------------------------------------------------------------------------- normalize
@pytest.mark.fast
@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (torch.tensor([0, 51, 255], dtype=torch.uint8), [-2.0, -1.2, 2.0]),
        (torch.tensor([0, 13107, 65535], dtype=torch.uint16), [-2.0, -1.2, 2.0]),
        (torch.tensor([0.0, 0.2, 1.0]), [-2.0, -1.2, 2.0]),
    ],
    ids=["uint8", "uint16", "float32"],
)
def test_normalize_scales_by_what_the_dtype_can_hold(stored: Tensor, expected: list[float]) -> None:
    normalize = Normalize([0.5], [0.25])
    image = normalize(stored.view(1, 1, 1, 3))
    assert image.dtype == torch.float32
    torch.testing.assert_close(image.flatten(), torch.tensor(expected))
    torch.testing.assert_close(normalize.undo(image).flatten(), torch.tensor([0.0, 0.2, 1.0]))


@pytest.mark.fast
def test_normalize_treats_each_channel_alone_and_keeps_the_memory_format() -> None:
    image = torch.full((2, 2, 3, 4), 255, dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    out = Normalize([0.0, 0.5], [1.0, 0.5])(image)
    assert out[:, 0].unique().tolist() == [1.0]
    assert Normalize([0.0, 0.2], [1.0, 0.4])(image)[0, 1, 0, 0].item() == pytest.approx(2.0)
    assert out.is_contiguous(memory_format=torch.channels_last)


# ----------------------------------------------------------------------------------------- encoder
@pytest.mark.fast
def test_an_unknown_encoder_suggests_near_names() -> None:
    with pytest.raises(UserError, match=r"no model 'resnet81'[\s\S]*resnet18"):
        Encoder("resnet81")


@pytest.mark.fast
def test_a_single_scale_encoder_becomes_a_pyramid() -> None:
    encoder = Encoder("vit_tiny_patch16_224").eval()
    with torch.no_grad():
        maps = encoder(torch.randn(1, 3, 96, 64))
    assert len(maps) >= 3
    for stride, channels, features in zip(encoder.strides, encoder.channels, maps, strict=True):
        assert features.shape == (1, channels, 96 // stride, 64 // stride)


@pytest.mark.fast
def test_pretrained_without_network_fails_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no route")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(socket, "create_connection", unreachable)
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    start = time.perf_counter()
    with pytest.raises(UserError, match=r"not in the cache[\s\S]*no route[\s\S]*encoder.weights=FILE"):
        Encoder("test_resnet", pretrained=True)
    assert time.perf_counter() - start < 5


@pytest.mark.fast
def test_other_numbers_of_bands() -> None:
    assert Encoder("test_resnet", in_chans=5).eval()(torch.randn(1, 5, 64, 64))[0].shape[1] == 32


# ----------------------------------------------------------------------------------------- weights
def save_timm_pth(whole: nn.Module, folder: Path) -> Path:
    torch.save(whole.state_dict(), folder / "timm.pth")
    return folder / "timm.pth"


def save_timm_training_checkpoint(whole: nn.Module, folder: Path) -> Path:
    wrapped = {f"module.{name}": tensor for name, tensor in whole.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": wrapped}, folder / "training.pth")
    return folder / "training.pth"


def save_timm_safetensors(whole: nn.Module, folder: Path) -> Path:
    save_file(whole.state_dict(), folder / "timm.safetensors")
    return folder / "timm.safetensors"


@pytest.mark.fast
@pytest.mark.parametrize("save", [save_timm_pth, save_timm_training_checkpoint, save_timm_safetensors])
@pytest.mark.parametrize("name", ENCODERS)
def test_a_file_of_timms_whole_model_loads_bitwise(
    name: str, save: Callable[[nn.Module, Path], Path], tmp_path: Path
) -> None:
    whole: Any = timm.create_model(name, num_classes=10)
    whole(torch.randn(2, 3, 64, 64))  # leaves batch-norm statistics that must arrive as well
    image = torch.randn(1, 3, 64, 64)
    encoder = Encoder(name, weights=save(whole, tmp_path)).eval()
    with torch.no_grad():
        assert torch.equal(encoder(image)[-1], whole.eval().forward_features(image))


@pytest.mark.fast
def test_the_encoder_of_an_own_checkpoint_loads_bitwise(tmp_path: Path) -> None:
    trained = composition("test_resnet", DECODERS[0])
    trained(torch.randn(2, 3, 64, 64))
    file = tmp_path / "best.ckpt"
    torch.save({"state_dict": {f"model.{n}": t for n, t in trained.state_dict().items()}}, file)
    for name, tensor in Encoder("test_resnet", weights=file).state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(tensor, trained.encoder.state_dict()[name]), name


@pytest.mark.fast
def test_weights_that_fit_nowhere_are_refused(tmp_path: Path) -> None:
    torch.save(timm.create_model("convnext_atto").state_dict(), tmp_path / "other.pth")
    (tmp_path / "broken.pth").write_bytes(b"PK")
    for file, message in {
        "other.pth": "fits",
        "broken.pth": "cannot be read",
        "none.pth": "not a file",
    }.items():
        with pytest.raises(UserError, match=message):
            Encoder("test_resnet", weights=tmp_path / file)
