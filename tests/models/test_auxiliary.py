"""Auxiliary heads on every map of every decoder and every kind of encoder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.helpers import Compose, refused
from tests.models.small import DECODERS, KINDS, composition, decoder_of, encoder_for
from torch import nn

from pixelwise import build
from pixelwise.models import AuxiliaryHead, AuxiliaryHeads, Composition, Encoder, InnerMaps
from pixelwise.runs import checkpoints

pytestmark = pytest.mark.fast
SIZE = (97, 131)
DECODER = {file.stem: file for file in DECODERS}

every_decoder = pytest.mark.parametrize("decoder", DECODERS, ids=lambda path: path.stem)
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda name: name.split("_patch")[0])


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def supervised(kind: str, decoder: Path, *names: str, weight: float = 0.4) -> Composition:
    """A composition with one auxiliary head on each of the named maps; on all maps without names."""
    plain = composition(kind, decoder)
    encoder = encoder_for(kind, decoder)
    built = decoder_of(decoder, encoder.channels, encoder.strides)
    inner = InnerMaps(encoder, built)
    chosen = names or tuple(inner.channels)
    heads = {
        name: AuxiliaryHead(inner.check(name, [name]), 3, weight, width=8, dropout=0.0) for name in chosen
    }
    auxiliary = AuxiliaryHeads(heads, {name: [name] for name in chosen}, inner)
    model = Composition(encoder, built, plain.head, plain.normalize, auxiliary)
    for parameter in model.parameters():
        if parameter.ndim == 1:  # timm starts residual blocks with a batch-norm weight of 0
            nn.init.uniform_(parameter, 0.5, 1)
    return model


# ------------------------------------------------------------------------------------------- the maps
@every_decoder
def test_a_head_on_every_map_trains(decoder: Path) -> None:
    model = supervised("test_resnet", decoder)
    model(torch.randn(2, 3, *SIZE))
    assert model.auxiliary is not None
    outputs = list(model.auxiliary.logits(SIZE))
    assert {"stride2", "stage1", "stage2", "stage3", "decoder"} <= {name for name, _, _ in outputs}
    assert {tuple(logits.shape) for _, _, logits in outputs} == {(2, 3, *SIZE)}
    for name, head, logits in outputs:
        logits.square().mean().backward(retain_graph=True)
        assert all(p.grad is not None and p.grad.any() for p in head.parameters()), name


@every_kind
def test_every_stage_reaches_the_encoder(kind: str) -> None:
    for name in ("stage1", "stage2", "stage3", "stage4"):
        model = supervised(kind, DECODER["pspnet"], name)  # it reads the last map only
        loss = model(torch.randn(2, 3, *SIZE)).square().mean()
        assert model.auxiliary is not None
        for _, head, logits in model.auxiliary.logits(SIZE):
            loss = loss + head.weight * logits.square().mean()
        loss.backward()
        missing = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
        assert missing == [], name


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("test_resnet", "stride2 stage1 stage2 stage3 stage4"),
        ("test_convnext", "stage1 stage2 stage3 stage4"),
        ("test_vit", "stage1 stage2 stage3 stage4"),
        ("vgg11", "stride1 stride2 stage1 stage2 stage3 stage4"),
    ],
)
def test_stages_are_counted_from_stride_4(kind: str, names: str) -> None:
    encoder = Encoder(kind)
    stages = InnerMaps(encoder, decoder_of(DECODER["unet"], encoder.channels, encoder.strides)).stages
    assert list(stages) == names.split()
    assert [encoder.strides[stages[f"stage{n}"]] for n in (1, 2, 3, 4)] == [4, 8, 16, 32]


def test_maps_are_added_at_the_largest_size() -> None:
    head = AuxiliaryHead(2, 3, width=None, dropout=0.0)
    small, large = torch.randn(1, 2, 4, 5), torch.randn(1, 2, 8, 10)
    resized = nn.functional.interpolate(small, size=(8, 10), mode="bilinear", align_corners=False)
    torch.testing.assert_close(head([small, large], (16, 20)), head([large + resized], (16, 20)))


# ------------------------------------------------------------------------------------------- no cost
@every_kind
@every_decoder
def test_evaluation_ignores_the_heads(kind: str, decoder: Path) -> None:
    trained = supervised(kind, decoder, "stage3").eval()
    model = composition(kind, decoder).eval()
    checkpoints.fill(model, trained.state_dict(), Path("best.ckpt"))
    image = torch.randn(1, 3, *SIZE)
    with torch.no_grad():
        assert torch.equal(model(image), trained(image))
    assert trained.auxiliary is not None
    assert trained.auxiliary._maps == {}, "evaluation keeps maps in memory"
    assert not any("auxiliary" in name for name in model.state_dict())
    assert not any(module._forward_hooks for module in model.modules())


def test_maps_are_forgotten_once_read() -> None:
    model = supervised("test_resnet", DECODER["unet"])
    model(torch.randn(2, 3, *SIZE))
    assert model.auxiliary is not None
    assert model.auxiliary._maps
    assert list(model.auxiliary.logits(SIZE))
    assert model.auxiliary._maps == {}


def test_other_weights_of_another_model_are_still_refused() -> None:
    model, other = (composition("test_resnet", DECODER[name]) for name in ("unet", "fpn"))
    with refused("does not fit the model"):
        checkpoints.fill(model, other.state_dict(), Path("best.ckpt"))


def test_heads_are_trained_as_part_of_the_head() -> None:
    model = supervised("test_vit", DECODER["unet"], "stage2")
    parts = {name: model.part_of(name) for name, _ in model.named_parameters()}
    assert {part for name, part in parts.items() if name.startswith("auxiliary.")} == {"head"}
    assert {part for name, part in parts.items() if name.startswith("encoder.neck.")} == {"decoder"}


@pytest.mark.parametrize("decoder", ["unet", "unetplusplus", "pspnet"])
def test_a_compiled_model_has_the_same_maps(decoder: str) -> None:
    torch._dynamo.reset()
    model = supervised("test_resnet", DECODER[decoder], "stage3", "decoder").eval()
    image = torch.randn(2, 3, *SIZE)
    found = []
    for backend in (None, "aot_eager"):
        if backend:
            model.compile(backend=backend)
        model.zero_grad()
        total = model(image).square().mean()
        assert model.auxiliary is not None
        for _, _, logits in model.auxiliary.logits(SIZE):
            total = total + logits.square().mean()
        total.backward()
        found.append([total.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)])
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------------------------------- the config
@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "+auxiliary.stage5={}",
            r"auxiliary.stage5: no map[\s\S]*found: +stage5[\s\S]*expected: stride2, stage1, stage2, stage3, "
            r"stage4 of the encoder; decoder, blocks_0[\s\S]*did you mean stage",
        ),
        (
            "+auxiliary.x={maps:[stage1,stage2]}",
            r"same number of channels[\s\S]*stage1 with \d+, stage2 with \d+",
        ),
        ("+auxiliary.x={maps:[stage1,3]}", r"auxiliary.x.maps[\s\S]*each entry text"),
        ("+auxiliary.stage3={weight:-1}", r"weight[\s\S]*found: +-1"),
        ("+auxiliary.stage3={weihgt:1}", r"auxiliary.stage3[\s\S]*weihgt"),
        ("+auxiliary.stage3=0.4", r"auxiliary.stage3[\s\S]*found: +0.4"),
        ("+auxiliary.items={}", r"not a name for a head[\s\S]*auxiliary.NAME.maps=items"),
    ],
)
def test_a_wrong_setting_is_refused(override: str, message: str, compose: Compose) -> None:
    with refused(message):
        build.model(compose("encoder=test_resnet", override), training=True)


@pytest.mark.parametrize("task", ["classification", "tagging"])
def test_tasks_without_pixel_labels_refuse_heads(task: str, compose: Compose) -> None:
    with refused(rf"auxiliary: task={task} cannot use stage3[\s\S]*expected: none"):
        compose(f"task={task}", "auxiliary=stage3")


def test_null_removes_a_head(compose: Compose) -> None:
    config = compose("encoder=test_resnet", "auxiliary=stage3", "auxiliary.stage3=null")
    assert build.model(config, training=True).auxiliary is None
