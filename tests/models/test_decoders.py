"""Every decoder on pyramids of any depth; `test_every_pair.py` tests them with encoders."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.helpers import Compose, refused
from tests.models.small import DECODERS, decoder_of
from torch import Tensor, nn

from pixelwise import build
from pixelwise.models import Composition, Encoder
from pixelwise.models.decoders import (
    FPN,
    Decoder,
    DeepLabV3Plus,
    PSPNet,
    SegFormer,
    UNetFormer,
    UNetPlusPlus,
    UPerNet,
)

ONE_IMAGE_IS_TOO_FEW = {"deeplabv3plus", "upernet"}  # batch-norm after global pooling

PYRAMIDS = {
    "five": ((6, 8, 12, 16, 20), (2, 4, 8, 16, 32)),  # ResNet
    "four": ((8, 12, 16, 20), (4, 8, 16, 32)),  # ConvNeXt, Swin
    "six": ((4, 6, 8, 12, 16, 20), (1, 2, 4, 8, 16, 32)),  # VGG
    "three": ((8, 12, 16), (4, 8, 16)),
    "dilated": ((8, 12, 16, 20), (4, 8, 16, 16)),
    "late": ((12, 16), (8, 16)),
    "one": ((16,), (16,)),
}
STRIDE_4 = [DeepLabV3Plus, FPN, SegFormer, UNetFormer, UPerNet]
SIZES = [pytest.param((97, 131), marks=pytest.mark.fast), (64, 96), (33, 250)]

every_decoder = pytest.mark.parametrize("decoder", DECODERS, ids=lambda path: path.stem)
every_pyramid = pytest.mark.parametrize("pyramid", PYRAMIDS)


@pytest.fixture(autouse=True)
def seed() -> None:
    """With some seeds, units without bias start dead, such as those of UNetFormer's channel attention."""
    torch.manual_seed(0)


def built(decoder: Path, pyramid: str = "five") -> Decoder:
    return decoder_of(decoder, *PYRAMIDS[pyramid])


def maps(decoder: Decoder, batch: int, size: tuple[int, int], up: bool = True) -> list[Tensor]:
    """Feature maps of an image of `size`, whose sides some encoders round up and others down."""
    bias = -1 if up else 0
    return [
        torch.randn(batch, c, *(max(1, (side + bias) // s - bias) for side in size))
        for c, s in zip(decoder.channels, decoder.strides, strict=True)
    ]


# ------------------------------------------------------------------------------------ any pyramid
@every_decoder
@every_pyramid
@pytest.mark.parametrize("up", [True, False], ids=["rounded up", "rounded down"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_any_depth_any_size(decoder: Path, pyramid: str, size: tuple[int, int], up: bool) -> None:
    model = built(decoder, pyramid).eval()
    with torch.no_grad():
        out = model(maps(model, 1, size, up))
    assert out.shape[:2] == (1, model.out_channels)
    assert out.isfinite().all()


@pytest.mark.fast
@every_decoder
@every_pyramid
def test_all_parameters_and_the_last_map_get_a_gradient(decoder: Path, pyramid: str) -> None:
    model = built(decoder, pyramid)
    features = [x.requires_grad_() for x in maps(model, 2, (64, 96))]
    (model(features) * torch.randn(1)).square().mean().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert features[-1].grad is not None
    assert features[-1].grad.any()


@pytest.mark.fast
@pytest.mark.parametrize(
    ("decoder", "stride"),
    [
        (UNetPlusPlus, 1),
        (PSPNet, 32),
        *((d, 4) for d in STRIDE_4),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
@pytest.mark.parametrize("pyramid", ["five", "four", "six"])
def test_the_output_has_the_stride_of_the_paper(decoder: type[Decoder], stride: int, pyramid: str) -> None:
    model = decoder(*PYRAMIDS[pyramid]).eval()
    assert model(maps(model, 1, (64, 96))).shape[-2:] == (64 // stride, 96 // stride)


@pytest.mark.fast
def test_unetplusplus_repeats_the_first_width_if_too_few() -> None:
    few, enough = (UNetPlusPlus(*PYRAMIDS["five"], widths=w) for w in [(32, 16), (32, 32, 32, 32, 16)])
    assert [p.shape for p in few.parameters()] == [p.shape for p in enough.parameters()]


# --------------------------------------------------------------------------------------- training
@pytest.mark.fast
@every_decoder
def test_one_image_trains_or_raises_a_clear_error(decoder: Path) -> None:
    model = built(decoder)
    features = maps(model, 1, (97, 131))
    if decoder.stem in ONE_IMAGE_IS_TOO_FEW:
        with refused(r"cannot train on one image at a time[\s\S]*data.batch_size=2"):
            model(features)
        model.eval()
    assert model(features).isfinite().all()


@pytest.mark.fast
@every_decoder
def test_bf16_autocast_is_finite_and_close_to_float32(decoder: Path) -> None:
    model = built(decoder)
    for module in model.modules():
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            module.p = 0.0
    features = [x.requires_grad_() for x in maps(model, 2, (97, 131))]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = model(features)
    rough.float().square().mean().backward()
    gradients = [x.grad for x in (features[-1], *model.parameters())]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    assert (rough.float() - model(features)).abs().mean() <= 0.02 * model(features).abs().max()


@pytest.mark.fast
@every_decoder
def test_channels_last_changes_nothing(decoder: Path) -> None:
    model = built(decoder).eval()
    features = maps(model, 2, (97, 131))
    with torch.no_grad():
        expected = model(features)
        model.to(memory_format=torch.channels_last)
        output = model([x.contiguous(memory_format=torch.channels_last) for x in features])
    torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.fast
@every_decoder
def test_an_image_does_not_depend_on_the_others(decoder: Path) -> None:
    model = built(decoder).eval()
    features = maps(model, 3, (97, 131))
    others = [torch.cat([x[:1], 5 * torch.randn_like(x[1:])]) for x in features]
    with torch.no_grad():
        assert torch.equal(model(features)[0], model(others)[0])


@every_decoder
def test_it_compiles_without_a_graph_break(decoder: Path) -> None:
    torch._dynamo.reset()
    model = built(decoder)
    features = maps(model, 2, (97, 131))
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.manual_seed(0)
    output = compiled(features)
    torch.manual_seed(0)
    torch.testing.assert_close(output, model(features))


# -------------------------------------------------------------------------------- dilated encoders


def model_of(compose: Compose, *overrides: str) -> Composition:
    return build.model(compose("data.channels=3", *overrides))


@pytest.mark.fast
@pytest.mark.parametrize(
    ("overrides", "strides"),
    [
        (["decoder=deeplabv3plus"], (2, 4, 8, 16, 16)),
        (["decoder=deeplabv3plus", "decoder.encoder_output_stride=8"], (2, 4, 8, 8, 8)),
        (["decoder=pspnet"], (2, 4, 8, 8, 8)),
        (["decoder=pspnet", "decoder.encoder_output_stride=32"], (2, 4, 8, 16, 32)),
        (["decoder=unet"], (2, 4, 8, 16, 32)),
        (["decoder=fpn", "encoder.output_stride=16"], (2, 4, 8, 16, 16)),
    ],
    ids=lambda value: (" ".join if isinstance(value, list) else str)(value),
)
def test_the_decoder_sets_the_dilation_of_the_encoder(
    overrides: list[str], strides: tuple[int, ...], compose: Compose
) -> None:
    model = model_of(compose, "encoder=test_resnet", *overrides).eval()
    assert model.encoder.strides == strides
    image = torch.randn(1, 3, 64, 96)
    sizes = [(x.shape[-2], x.shape[-1]) for x in model.encoder(image)]
    assert sizes == [(64 // s, 96 // s) for s in strides]
    assert model(image).shape[-2:] == image.shape[-2:]


@pytest.mark.fast
@pytest.mark.parametrize("name", ["ghostnet_100", "swin_tiny_patch4_window7_224", "vgg11"])
def test_an_encoder_that_cannot_be_dilated_is_refused(name: str) -> None:
    with refused(rf"cannot dilate '{name}' to stride 16[\s\S]*decoder.encoder_output_stride=32"):
        Encoder(name, output_stride=16)
