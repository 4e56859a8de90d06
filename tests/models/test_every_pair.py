"""Every decoder with every kind of encoder: small ones, and in slow tests those of conf/encoder and more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig
from tests.models.small import DECODERS, KINDS, composition
from torch import nn

from pixelwise import build
from pixelwise.errors import UserError
from pixelwise.models import Composition

ENCODERS = sorted(path.stem for path in (Path(__file__).parents[2] / "conf/encoder").glob("*.yaml"))
FURTHER_KINDS = [  # deep ones with fewer blocks, since all blocks are alike
    "vgg11",  # six maps, from stride 1 on
    "regnetx_002",
    "dla46_c",  # accepts multiples of 32
    "hrnet_w18_small",
    "ghostnet_100",
    "repvgg_a0",
    "nf_resnet26",  # no norms
    "edgenext_xx_small",  # convolutions and attention
    "fastvit_t8",
    "pvt_v2_b0",
    "mvitv2_tiny",
    "hiera_tiny_224 +encoder.stages=[1,1,1,1]",
    "test_maxvit",  # accepts multiples of 160
    "caformer_s18",
    "tiny_vit_5m_224 +encoder.depths=[1,1,2,1]",
    "efficientvit_m0",  # strides from 16 to 64
    "eva02_tiny_patch14_224 +encoder.depth=4",  # a single scale of stride 14
    "beit_base_patch16_224 +encoder.depth=4",  # accepts 224×224 only
    "xcit_nano_12_p16_224 +encoder.depth=4",
    "cait_xxs24_224 +encoder.depth=4",
    "samvit_base_patch16 +encoder.depth=4",
    "mixer_s32_224",
    "sequencer2d_s",
    "vit_tiny_r_s16_p8_224",  # a transformer on a convolutional stem
]


@pytest.fixture(autouse=True)
def same_numbers_each_time() -> None:
    """With some seeds, units without bias start dead, such as those of UNetFormer's channel attention."""
    torch.manual_seed(0)


def without_gradient(model: nn.Module) -> list[str]:
    """Names of the parameters without a gradient."""
    return [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]


# ---------------------------------------------------------------------------------------- small ones
@pytest.fixture(
    scope="module",
    params=[
        pytest.param(
            (name, decoder),
            id=f"{name.split('_patch')[0]}-{decoder.stem}",
            marks=[pytest.mark.fast] if name == "test_resnet" or decoder.stem == "unet" else [],
        )
        for name in KINDS
        for decoder in DECODERS
    ],
)
def model(request: pytest.FixtureRequest) -> Composition:
    return composition(*request.param)


class TestEveryPair:
    """Properties of any encoder with any decoder."""

    def test_size_is_kept_and_images_are_independent(self, model: Composition) -> None:
        model.eval()
        images = torch.randn(2, 3, 97, 131)
        others = torch.cat([images[:1], 5 * torch.randn(1, 3, 97, 131)])
        with torch.no_grad():
            logits, beside_others = model(images), model(others)
        assert logits.shape == (2, 3, 97, 131)
        assert logits.isfinite().all()
        assert torch.equal(logits[0], beside_others[0])
        assert not torch.equal(logits[1], beside_others[1])

    def test_the_gradient_reaches_every_parameter(self, model: Composition) -> None:
        model.train()
        for parameter in model.parameters():
            if parameter.ndim == 1:  # timm starts residual blocks with a batch-norm weight of 0
                nn.init.uniform_(parameter, 0.5, 1)
        model(torch.randn(2, 3, 97, 131)).square().mean().backward()
        assert without_gradient(model) == []


# ----------------------------------------------------------------------------------------- as composed
def built(compose: Callable[..., DictConfig], decoder: str, encoder: str) -> Composition:
    """Build the composed model; if its encoder cannot be dilated, apply the fix of the error message."""
    overrides = ["data.channels=3", f"decoder={decoder}", *encoder.split()]
    fix = "decoder.encoder_output_stride=32"
    try:
        return build.model(compose(*overrides))
    except UserError as error:
        if fix not in str(error):
            raise
        return build.model(compose(*overrides, fix))


@pytest.mark.slow
@pytest.mark.parametrize("decoder", DECODERS, ids=lambda path: path.stem)
@pytest.mark.parametrize(
    "encoder",
    [*(f"encoder={name}" for name in ENCODERS), *(f"encoder.name={name}" for name in FURTHER_KINDS)],
)
def test_it_trains_and_predicts(encoder: str, decoder: Path, compose: Callable[..., DictConfig]) -> None:
    model = built(compose, decoder.stem, encoder)
    spec = model.encoder.spec
    size = spec.size if spec.multiple is None else (97, 131)
    model(torch.randn(2, 3, *size)).square().mean().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []
    model.eval()
    image = torch.randn(1, 3, *size)
    with torch.no_grad():
        logits = model(image)
        assert logits.shape[-2:] == size
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = model(image)
    assert rough.isfinite().all()
    assert (rough.float() - logits).abs().mean() <= 0.05 * logits.abs().max()
