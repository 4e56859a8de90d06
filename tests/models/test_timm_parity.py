"""Encoders and classifiers of every kind against timm, and weights that pass from one task to the other."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from benchmarks.parity import KINDS, differences_from_timm
from tests.helpers import Compose, refused
from tests.models.small import DECODERS, composition
from torch import nn

from pixelwise import build
from pixelwise.models import Composition, Encoder
from pixelwise.models.decoders import Linear
from pixelwise.schedules.freezing import freeze

UNET = next(path for path in DECODERS if path.stem == "unet")
PLAIN = ["test_vit", "vit_small_patch14_reg4_dinov2", "vit_small_patch16_dinov3", "beit_base_patch16_224"]


def classifier_of(name: str, compose: Compose, *overrides: str) -> Composition:
    torch.manual_seed(0)
    config = compose("task=classification", f"encoder.name={name}", "data.channels=3", *overrides)
    return build.model(config)


# ---------------------------------------------------------------------------------- the same numbers
@pytest.mark.parametrize("name", KINDS)
def test_logits_and_maps_are_timms(name: str, tmp_path: Path) -> None:
    logits, last = differences_from_timm(name, KINDS[name], tmp_path)
    assert logits <= 1e-6
    assert not last


@pytest.mark.fast
@pytest.mark.parametrize("blocks", [1, 4, [1, 3]])
@pytest.mark.parametrize("name", PLAIN)
def test_a_linear_probe_reads_blocks_under_the_final_norm(name: str, blocks: int | list[int]) -> None:
    options: dict[str, Any] = KINDS[name]
    encoder = Encoder(name, blocks=blocks, neck=False, **options).eval()
    for parameter in encoder.parameters():
        if parameter.ndim == 1:
            nn.init.uniform_(parameter, 0.2, 1)
    theirs: Any = timm.create_model(name, num_classes=0, **options).eval()
    theirs.load_state_dict(encoder.body.state_dict(), strict=False)
    probe = Linear(encoder.channels, encoder.strides, encoder_blocks=blocks)
    image = torch.randn(2, 3, *encoder.spec.size)
    with torch.no_grad():
        maps = theirs.forward_intermediates(image, indices=blocks, norm=True, intermediates_only=True)
        joined = probe(encoder(image))
    assert torch.equal(joined, torch.cat(maps, dim=1))
    assert (joined.shape[1], *encoder.strides) == (probe.out_channels, *[encoder.spec.stride] * len(maps))


@pytest.mark.fast
def test_decoder_linear_composes_a_probe_of_a_transformer(compose: Compose) -> None:
    four = ["decoder.encoder_blocks=4", "decoder.batchnorm=true"]
    model = build.model(compose("decoder=linear", "encoder.name=test_vit", "data.channels=3", *four))
    assert [name for name, _ in model.decoder.named_parameters()] == ["norm.weight", "norm.bias"]
    assert (model.encoder.strides, model.decoder.out_channels) == ((16,) * 4, 4 * 64)
    model.train()
    probed = model.decoder(model.encoder(torch.randn(4, 3, 64, 64)))
    torch.testing.assert_close(probed.mean((0, 2, 3)), torch.zeros(256), atol=1e-5, rtol=0)


@pytest.mark.fast
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["decoder=linear", "decoder.encoder_blocks=2"], r"decoder.encoder_blocks[\s\S]*strides"),
        (["encoder.name=test_vit", "encoder.blocks=3"], r"encoder.blocks[\s\S]*one or four"),
        (["encoder.name=test_vit", "encoder.blocks=7"], r"encoder.blocks[\s\S]*7[\s\S]*from 1 to 6"),
        (["encoder.name=test_vit", "encoder.blocks=[1,6]"], r"encoder.blocks[\s\S]*6[\s\S]*below 6"),
        (["task=classification", "pool=token"], r"task.head.pool[\s\S]*no class token[\s\S]*pool=avg"),
        (["task=classification", "encoder.final=false"], r"encoder.final"),
        (["task=classification", "encoder.name=mobilenetv5_300m_enc"], r"encoder.name[\s\S]*no head"),
        (["task=classification", "pool=gem", "task.head.pool.p=0"], r"task.head.pool.p"),
        (["task=classification", "pool=attention", "task.head.pool.heads=7"], r"pool.heads[\s\S]*96"),
    ],
)
def test_impossible_maps_and_pools_are_refused(overrides: list[str], message: str, compose: Compose) -> None:
    with refused(message):
        build.model(compose("encoder=test_resnet", "data.channels=3", *overrides))


# --------------------------------------------------------------------------------- from task to task
@pytest.mark.fast
@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_convnext", "test_vit"])
def test_classifier_and_segmenter_have_the_same_encoder_state(name: str, compose: Compose) -> None:
    classifier, segmenter = classifier_of(name, compose), composition(name, UNET)
    state = {n: t for n, t in segmenter.encoder.state_dict().items() if not n.startswith("neck.")}
    classifier.encoder.load_state_dict(state)
    segmenter.encoder.load_state_dict(classifier.encoder.state_dict(), strict=segmenter.encoder.neck is None)


@pytest.mark.fast
@pytest.mark.parametrize("name", ["test_convnext", "mobilenetv3_small_050"])
def test_head_layers_pass_between_classifiers_and_may_miss(
    name: str, compose: Compose, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained = classifier_of(name, compose)
    for parameter in trained.parameters():
        nn.init.normal_(parameter)
    torch.save({f"model.{n}": t for n, t in trained.state_dict().items()}, tmp_path / "classifier.ckpt")
    segmenter = {f"model.{n}": t for n, t in trained.state_dict().items() if not n.startswith("head.")}
    torch.save(segmenter, tmp_path / "segmenter.ckpt")

    taken = classifier_of(name, compose, f"encoder.weights={tmp_path}/classifier.ckpt").state_dict()
    new = {n for n, tensor in trained.state_dict().items() if not torch.equal(tensor, taken[n])}
    assert {n for n in new if not n.startswith("normalize.")} == {
        n for n in trained.state_dict() if trained.part_of(n) == "head"
    }
    caplog.set_level(logging.WARNING)
    classifier_of(name, compose, f"encoder.weights={tmp_path}/segmenter.ckpt")
    assert "stay random" in caplog.text
    caplog.clear()
    Encoder(name, weights=tmp_path / "classifier.ckpt")
    assert not caplog.text


# ------------------------------------------------------------------------------------- frozen encoders
@pytest.mark.fast
@pytest.mark.parametrize(
    "name", ["test_efficientnet", "test_convnext", "mobilenetv4_conv_small_035", "test_vit"]
)
@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_a_frozen_encoder_is_bitwise_fixed_and_keeps_no_graph(name: str, task: str, compose: Compose) -> None:
    """Also the pretrained layers in a classifier's head."""
    decoder = ["decoder=linear"] if task == "segmentation" else []
    model = build.model(
        compose(
            f"task={task}", f"encoder.name={name}", "data.channels=3", "+encoder.drop_path_rate=0.5", *decoder
        )
    )
    freeze(model.encoder, True)
    model.train()
    for module, part in model.trained_with.items():
        freeze(model.get_submodule(module), part == "encoder")
    before = {n: t.clone() for n, t in model.state_dict().items()}
    saved: list[torch.Tensor] = []
    image = torch.randn(4, 3, *model.encoder.spec.size)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        features = model.encoder(image)
        assert not saved
        logits = model.head(model.decoder(features), image.shape[-2:])
    assert all(not x.requires_grad for x in features)
    assert torch.equal(features[0], model.encoder(image)[0])  # no drop path
    logits.square().mean().backward()
    trained = {n for n, p in model.named_parameters() if p.grad is not None}
    assert trained == {n for n, _ in model.named_parameters() if model.part_of(n) != "encoder"}
    torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1).step()
    moved = {n for n, t in model.state_dict().items() if not torch.equal(t, before[n])}
    assert moved == trained


@pytest.mark.fast
def test_pretrained_layers_of_the_head_belong_to_the_encoder(compose: Compose) -> None:
    parts = {name: {} for name in ("test_convnext", "test_resnet", "mobilenetv3_small_050")}
    for name, found in parts.items():
        model = classifier_of(name, compose)
        found |= {n: model.part_of(n) for n, _ in model.named_parameters() if n.startswith("head.")}
    assert parts == {
        "test_convnext": {
            "head.model.head.norm.weight": "encoder",
            "head.model.head.norm.bias": "encoder",
            "head.model.head.fc.weight": "head",
            "head.model.head.fc.bias": "head",
        },
        "test_resnet": {"head.model.fc.weight": "head", "head.model.fc.bias": "head"},
        "mobilenetv3_small_050": {
            "head.model.conv_head.weight": "encoder",
            "head.model.conv_head.bias": "encoder",
            "head.model.classifier.weight": "head",
            "head.model.classifier.bias": "head",
        },
    }


@pytest.mark.fast
def test_drop_rate_is_timms(compose: Compose) -> None:
    model = classifier_of("test_resnet", compose, "encoder.drop_rate=0.9").train()
    features = torch.ones(1, 96, 2, 2)
    assert len({model.head(features, (64, 64)).sum().item() for _ in range(9)}) > 1
    model.eval()
    assert len({model.head(features, (64, 64)).sum().item() for _ in range(9)}) == 1


# ---------------------------------------------------------------------------------------------- pools
@pytest.mark.fast
@pytest.mark.parametrize("pool", ["avg", "token", "token_avg", "gem", "attention"])
@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_vit", "swin_tiny_patch4_window7_224"])
def test_every_pool_trains_with_every_layout(pool: str, name: str, compose: Compose) -> None:
    if pool.startswith("token") and name != "test_vit":
        with refused("no class token"):
            classifier_of(name, compose, f"pool={pool}")
        return
    small = ["+encoder.embed_dim=16", "+encoder.depths=[1,1,1,1]", "+encoder.num_heads=[1,2,4,8]"]
    model = classifier_of(name, compose, f"pool={pool}", *(small if "swin" in name else []))
    model(torch.randn(2, 3, 64, 64)).square().mean().backward()
    head = {n: p.grad for n, p in model.head.named_parameters()}
    assert all(grad is not None and grad.any() for n, grad in head.items() if not n.endswith("kv.bias"))


@pytest.mark.fast
def test_average_pool_equals_timms_where_timm_averages(compose: Compose) -> None:
    """The norm of ConvNeXt follows the pool in both."""
    own, other = classifier_of("test_convnext", compose), classifier_of("test_convnext", compose, "pool=avg")
    state = own.state_dict()
    state |= {f"head.linear.{n}": state.pop(f"head.model.head.fc.{n}") for n in ("weight", "bias")}
    other.load_state_dict(state)
    image = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(other.eval()(image), own.eval()(image), atol=1e-5, rtol=0)


@pytest.mark.fast
def test_pools_by_hand(compose: Compose) -> None:
    tokens = torch.tensor([[[5.0, 7.0], [9.0, 9.0]]])  # class token and a register
    positions = torch.tensor([[[1.0, 2.0], [3.0, 2.0]]])
    expected = {
        "avg": [[2.0, 2.0]],
        "token": [[5.0, 7.0]],
        "token_avg": [[5.0, 7.0], [2.0, 2.0]],
        "gem": [[14 ** (1 / 3), 2.0]],  # (1³ + 3³) / 2 = 14
    }
    for name, vectors in expected.items():
        head = classifier_of("test_vit", compose, f"pool={name}").head
        assert torch.stack(head.pool(tokens, positions))[:, 0].tolist() == [
            pytest.approx(vector) for vector in vectors
        ]
    attention = classifier_of("test_vit", compose, "pool=attention").head.pool
    nn.init.zeros_(attention.attention.q.weight)  # equal weights for all five tokens
    tokens, positions = torch.randn(2, 2, 64), torch.randn(2, 3, 64)
    _, value = attention.attention.kv(torch.cat([tokens, positions], 1)).chunk(2, dim=-1)
    nn.init.zeros_(attention.attention.q.bias)
    torch.testing.assert_close(attention(tokens, positions)[0], value.mean(1))
