"""Encoders of every kind: channels, strides, image sizes, bands, pretrained weights."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from tests.helpers import refused
from tests.models.small import DECODERS, SMALL_SWIN, SMALL_VIT, decoder_of
from tools.encoder_table import report, survey
from torch import nn

from pixelwise.errors import UserError
from pixelwise.models import Encoder
from pixelwise.models.decoders import Linear, UNet
from pixelwise.models.neck import SimplePyramid
from pixelwise.models.timm_spec import probe_timm

KINDS: dict[str, tuple[str, dict[str, Any], tuple[int, ...], tuple[int, ...]]] = {
    "cnn": ("test_resnet", {}, (32, 32, 48, 192, 96), (2, 4, 8, 16, 32)),
    "hierarchical": ("test_efficientnet", {}, (16, 24, 32, 48, 64), (2, 4, 8, 16, 32)),
    "channels last": ("swin_tiny_patch4_window7_224", SMALL_SWIN, (16, 32, 64, 128), (4, 8, 16, 32)),
    "vit": ("test_vit", {}, (16, 32, 64, 64), (4, 8, 16, 32)),
    "vit with depth 9": ("test_vit3", {}, (24, 48, 96, 96), (4, 8, 16, 32)),
    "dinov3": ("vit_small_patch16_dinov3", SMALL_VIT, (8, 16, 32, 32), (4, 8, 16, 32)),
    "patch 14": ("vit_small_patch14_dinov2", {**SMALL_VIT, "img_size": 70}, (8, 16, 32, 32), (3, 7, 14, 28)),
    "multiples of 32": ("dla46_c", {}, (32, 64, 64, 128, 256), (2, 4, 8, 16, 32)),
}
ANY_SIZE = [(97, 131), (64, 64), (33, 70)]


# ------------------------------------------------------------------------------ channels and strides
@pytest.mark.fast
@pytest.mark.parametrize(("name", "options", "channels", "strides"), KINDS.values(), ids=KINDS)
def test_channels_and_strides_are_those_of_the_maps(
    name: str, options: dict[str, Any], channels: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    encoder = Encoder(name, **options).eval()
    assert (encoder.channels, encoder.strides) == (channels, strides)
    with torch.no_grad():
        for height, width in ANY_SIZE:
            maps = encoder(torch.randn(2, 3, height, width))
            assert [x.shape[:2] for x in maps] == [(2, c) for c in channels]
            for x, stride in zip(maps, strides, strict=True):
                true = 3.5 if stride == 3 else stride  # a quarter of 14
                assert x.shape[-2:] == (-(-height // true), -(-width // true))
                assert x.isfinite().all()


@pytest.mark.fast
def test_padding_is_cut_off_the_maps() -> None:
    encoder = Encoder("dla46_c").eval()
    image = torch.randn(1, 3, 70, 90)
    padded = torch.zeros(1, 3, 96, 96)
    padded[..., :70, :90] = image
    with torch.no_grad():
        maps, padded_maps = encoder(image), encoder(padded)
    assert [tuple(x.shape[-2:]) for x in maps] == [(35, 45), (18, 23), (9, 12), (5, 6), (3, 3)]
    for x, y in zip(maps, padded_maps, strict=True):
        assert torch.equal(x, y[..., : x.shape[-2], : x.shape[-1]])


@pytest.mark.fast
def test_channels_come_first_where_timm_has_them_last() -> None:
    encoder = Encoder("swin_tiny_patch4_window7_224", **SMALL_SWIN).eval()
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        theirs = encoder.body.layers[0](encoder.body.patch_embed(image))
        ours = encoder(image)
    assert theirs.shape == (1, 16, 24, 16)
    assert torch.equal(ours[0], theirs.permute(0, 3, 1, 2))


@pytest.mark.fast
def test_maps_of_a_vit_are_spread_over_its_depth() -> None:
    """After each quarter of 6 and of 9 blocks, rounded up."""
    indices = {name: probe_timm(name).indices for name in ("test_vit", "test_vit3")}
    assert indices == {"test_vit": (1, 2, 4, 5), "test_vit3": (2, 4, 6, 8)}


# ------------------------------------------------------------------------------------ the neck
@pytest.mark.fast
def test_the_neck_matches_values_computed_by_hand() -> None:
    neck = SimplePyramid([4], stride=16)
    assert (neck.channels, neck.strides) == ((1, 2, 4, 4), (4, 8, 16, 32))
    x = torch.zeros(1, 4, 3, 3)
    x[:, 2:] = 6.0  # channels 0 0 6 6: mean 3, deviation 3
    x[..., 0, 0] = torch.tensor([9.0, 9.0, 1.0, 1.0])  # mean 5, deviation 4
    doubling = neck.levels[1][1]
    nn.init.zeros_(doubling.bias)
    nn.init.zeros_(doubling.weight)
    with torch.no_grad():
        doubling.weight[2, 0] = torch.tensor([[1.0, 2.0], [3.0, 4.0]])  # input 2 → output 0
        maps = neck([x])
    ones = torch.ones(3, 3)
    ones[0, 0] = -1
    torch.testing.assert_close(maps[2][0], torch.stack([-ones, -ones, ones, ones]), atol=1e-4, rtol=0)
    pooled = torch.tensor([[1.0, 1.0], [1.0, 1.0]])
    alone = torch.tensor([[1.0, -1.0], [-1.0, -1.0]])  # only the first window holds the odd pixel
    torch.testing.assert_close(maps[3][0], torch.stack([alone, alone, pooled, pooled]), atol=1e-4, rtol=0)
    doubled = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).repeat(3, 3)
    doubled[:2, :2] *= -1
    torch.testing.assert_close(maps[1][0, 0], doubled, atol=1e-3, rtol=0)
    assert not maps[1][0, 1].any()
    assert maps[0].shape == (1, 1, 12, 12)


@pytest.mark.fast
@pytest.mark.parametrize(
    ("name", "output_stride", "strides"),
    [("test_vit", 16, (4, 8, 16, 16)), ("vit_small_patch32_224", 32, (8, 16, 32, 32))],
)
def test_no_level_is_coarser_than_the_output_stride(
    name: str, output_stride: int, strides: tuple[int, ...]
) -> None:
    options = SMALL_VIT if name != "test_vit" else {}
    encoder = Encoder(name, output_stride=output_stride, **options).eval()
    assert encoder.strides == strides
    with torch.no_grad():
        sizes = [x.shape[-1] for x in encoder(torch.randn(1, 3, 64, 64))]
    assert sizes == [64 // stride for stride in strides]


@pytest.mark.fast
def test_a_vit_cannot_be_dilated_below_its_patch() -> None:
    with refused(r"output_stride: timm cannot dilate 'test_vit' to stride 8"):
        Encoder("test_vit", output_stride=8)


# ------------------------------------------------------------------------------------ fixed sizes
@pytest.mark.fast
def test_a_fixed_image_size_is_reported_and_can_be_changed() -> None:
    name = "beit_base_patch16_224"
    encoder = Encoder(name, **SMALL_VIT).eval()
    with torch.no_grad():
        assert [x.shape[-1] for x in encoder(torch.randn(1, 3, 224, 224))] == [56, 28, 14, 7]
        with refused(
            r"accepts images of 224×224 only[\s\S]*200×264[\s\S]*\+encoder.img_size=\[200,264\]",
        ):
            encoder(torch.randn(1, 3, 200, 264))
        chosen = Encoder(name, img_size=(208, 272), **SMALL_VIT).eval()  # less than a stride is padded
        assert [tuple(x.shape[-2:]) for x in chosen(torch.randn(1, 3, 200, 264))] == [
            (50, 66),
            (25, 33),
            (13, 17),
            (7, 9),
        ]
        with refused("208×272 only"):
            chosen(torch.randn(1, 3, 160, 264))


@pytest.mark.fast
def test_an_unknown_encoder_suggests_near_names() -> None:
    with refused(r"no model 'resnet81'[\s\S]*resnet18"):
        Encoder("resnet81")


@pytest.mark.fast
def test_an_unknown_timm_option_is_named() -> None:
    with refused(r"cannot build 'test_resnet'[\s\S]*'widht'"):
        Encoder("test_resnet", widht=3)


# -------------------------------------------------------------------------------- bands and weights
@pytest.mark.fast
@pytest.mark.parametrize("bands", [1, 2, 4, 7])
@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_any_number_of_bands(name: str, bands: int) -> None:
    with torch.no_grad():
        assert Encoder(name, in_chans=bands).eval()(torch.randn(1, bands, 48, 48))[0].isfinite().all()


@pytest.mark.fast
@pytest.mark.parametrize("bands", [1, 6])
@pytest.mark.parametrize(("name", "first"), [("test_resnet", "conv1.0"), ("test_vit", "patch_embed.proj")])
def test_pretrained_weights_adapt_to_the_bands(name: str, first: str, bands: int, tmp_path: Path) -> None:
    """One band gets the sum of the three weights; six bands get each weight twice, halved."""
    full_model = timm.create_model(name)
    torch.save(full_model.state_dict(), tmp_path / "full.pth")
    rgb = full_model.get_submodule(first).weight
    expected = rgb.sum(1, keepdim=True) if bands == 1 else torch.cat([rgb, rgb], 1) / 2
    overlay = {"file": str(tmp_path / "full.pth")}
    encoder = Encoder(name, pretrained=True, in_chans=bands, pretrained_cfg_overlay=overlay)
    (adapted,) = [p for n, p in encoder.named_parameters() if n.endswith(f"{first}.weight")]
    torch.testing.assert_close(adapted, expected)


@pytest.mark.fast
def test_a_file_of_a_full_vit_loads(tmp_path: Path) -> None:
    full_model = timm.create_model("test_vit", num_classes=5)
    torch.save(full_model.state_dict(), tmp_path / "vit.pth")
    encoder = Encoder("test_vit", weights=tmp_path / "vit.pth").eval()
    image = torch.randn(1, 3, 160, 160)
    with torch.no_grad():
        ours, theirs = encoder.body.forward_features(image), full_model.eval().forward_features(image)
    assert torch.equal(ours, theirs)


# ---------------------------------------------------------------------------------------- unused maps
@pytest.mark.parametrize(
    "name",
    [
        "hrnet_w18_small",
        pytest.param("test_resnet", marks=pytest.mark.fast),
        pytest.param("test_efficientnet", marks=pytest.mark.fast),
    ],
)
def test_only_weights_of_unused_maps_are_excluded(name: str) -> None:
    """HRNet makes all its maps at the end, and EfficientNet has a layer after its last map."""
    encoder, random = Encoder(name), torch.get_rng_state()
    original = copy.deepcopy(encoder)
    last = len(encoder.strides) - 1
    encoder.keep([last])
    assert torch.equal(torch.get_rng_state(), random)
    image = torch.randn(2, 3, 64, 64)
    maps = original(image)
    maps[last].square().mean().backward()
    unused = {n for n, p in original.named_parameters() if p.grad is None}
    assert bool(unused) == (name != "test_resnet")
    parameters = dict(original.named_parameters())
    assert set(dict(encoder.named_parameters())) == set(parameters) - unused
    assert encoder.state_dict().keys() == original.state_dict().keys()
    assert all(torch.equal(x, y) for x, y in zip(encoder(image), maps, strict=True))


# ------------------------------------------------------------------------------ frozen batch-norm
@pytest.mark.fast
@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])  # timm joins norm and activation
def test_frozen_batchnorm_never_changes(name: str) -> None:
    free, frozen = Encoder(name), Encoder(name, frozen_batchnorm=True)
    assert frozen.state_dict().keys() == free.state_dict().keys()
    free(torch.randn(4, 3, 64, 64))  # statistics that are not 0 and 1
    frozen.load_state_dict(free.state_dict())
    before = {n: t.clone() for n, t in frozen.state_dict().items()}
    frozen.train()
    for parameter in frozen.parameters():
        parameter.requires_grad_(True)  # as a schedule does
    image = torch.randn(4, 3, 64, 64)
    maps = frozen(image)
    maps[-1].square().mean().backward()
    torch.optim.SGD(frozen.parameters(), lr=0.1).step()
    norms = {n for n, m in free.named_modules() if isinstance(m, nn.BatchNorm2d)}
    moved = {n for n, t in frozen.state_dict().items() if not torch.equal(t, before[n])}
    assert moved
    assert not {n.rsplit(".", 1)[0] for n in moved} & norms
    free.load_state_dict(before)
    with torch.no_grad():
        assert torch.equal(free.eval()(image)[-1], maps[-1])


# ---------------------------------------------------------------------------------- the table
@pytest.mark.fast
def test_the_table_of_encoders_has_counts_and_reasons() -> None:
    def narrow(channels: tuple[int, ...], strides: tuple[int, ...]) -> nn.Module:
        if len(channels) > 4:
            raise UserError("five maps are too many")
        return UNet(channels, strides)

    models, decoders = ["test_resnet", "test_vit", "test_vit_relpos"], {"linear": Linear, "narrow": narrow}
    rows = list(survey(models, decoders, {"linear": 8}))
    assert [row.native for row in rows] == ["narrow: five maps are too many", "", ""]
    assert [row.odd for row in rows][:2] == ["narrow: five maps are too many", ""]
    assert rows[2].odd == "images of 160×160 only"
    assert [row.rebuilt for row in rows][1:] == ["", ""]
    assert [row.plain for row in rows] == [(), (8,), (8,)]
    text = report(rows, decoders, {"linear": 8})
    for line in (
        "| all models of timm | 3 |",
        "| work with every decoder at their own size | 2 |",
        "| work with every decoder at 200×264 | 1 |",
        "| work at 200×264, some only if built for it with `+encoder.img_size` | 2 |",
        "| dilated to 8, for linear | 1 | test_resnet |",
        "| cannot be dilated: for linear set `decoder.encoder_output_stride=32` | 2 | test_vit, ",
        "- narrow: five maps are too many (1): `test_resnet`",
        "- images of 160×160 only (1): `test_vit_relpos`",
    ):
        assert line in text


@pytest.mark.slow
@pytest.mark.parametrize("module", timm.list_modules())
def test_the_first_of_each_family_works_with_every_decoder(module: str) -> None:
    decoders = {file.stem: partial(decoder_of, file) for file in DECODERS}
    for row in survey(timm.list_models(module=module)[:1], decoders, {"deeplabv3plus": 16, "pspnet": 8}):
        assert row.native == ""
