"""Test-time augmentation: transforms are undone, averaged and combined."""

from __future__ import annotations

import pytest
import torch
from tests.helpers import refused
from torch import Tensor, nn

from pixelwise.inference import D4, TTA, Flips, Scales, with_tta


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """A network without any symmetry."""
    torch.manual_seed(0)
    return nn.Conv2d(3, 4, 3, padding=1).requires_grad_(False)


@pytest.fixture
def image() -> Tensor:
    return torch.rand(2, 3, 24, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.fast
@pytest.mark.parametrize("tta", [Flips(), D4(), Scales([1.0])], ids=["flips", "d4", "scale 1"])
def test_tta_does_not_change_a_pointwise_network(tta: TTA, image: Tensor) -> None:
    pointwise = nn.Conv2d(3, 4, 1).requires_grad_(False)
    torch.testing.assert_close(tta(pointwise, image), pointwise(image))


@pytest.mark.fast
@pytest.mark.parametrize("turn", [lambda x: x.flip(-1), lambda x: x.mT, lambda x: x.rot90(1, (-2, -1))])
def test_d4_makes_any_network_symmetric(turn: object, network: nn.Module, image: Tensor) -> None:
    assert callable(turn)
    assert not torch.allclose(network(turn(image)), turn(network(image)), atol=1e-2)
    torch.testing.assert_close(D4()(network, turn(image)), turn(D4()(network, image)))


@pytest.mark.fast
@pytest.mark.parametrize(("tta", "calls"), [(Flips(), 4), (D4(), 8), (Scales([0.5, 1.0, 2.0]), 3)])
def test_copies_differ_and_their_logits_are_averaged(tta: TTA, calls: int, image: Tensor) -> None:
    inputs: list[Tensor] = []

    def forward(copies: Tensor) -> Tensor:
        inputs.append(copies)
        return torch.full((len(copies), 5), float(len(inputs)))  # logits per image are not transformed back

    mean = tta(forward, image)
    assert mean.shape == (2, 5)
    assert mean.unique().item() == pytest.approx((1 + calls) / 2)
    assert len({tuple(copies.flatten().tolist()) for copies in inputs}) == calls


@pytest.mark.fast
def test_scales_resize_images_and_logits(network: nn.Module) -> None:
    sizes = []

    def forward(resized: Tensor) -> Tensor:
        sizes.append(tuple(resized.shape[-2:]))
        return network(resized)

    flat = torch.full((1, 3, 40, 50), 0.5)
    logits = Scales([0.75, 1, 1.5])(forward, flat)
    assert sizes == [(30, 38), (40, 50), (60, 75)]
    assert logits.shape == (1, 4, 40, 50)
    torch.testing.assert_close(logits[..., 5:-5, 5:-5], network(flat)[..., 5:-5, 5:-5])


@pytest.mark.fast
def test_several_ttas_are_combined(network: nn.Module, image: Tensor) -> None:
    calls = 0

    def forward(copies: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return network(copies)

    nested = with_tta(forward, [Flips(), Scales([1, 2])])(image)
    assert calls == 8
    torch.testing.assert_close(nested, Flips()(lambda x: Scales([1, 2])(network, x), image))
    assert with_tta(network, []) is network


@pytest.mark.fast
@pytest.mark.parametrize("factors", [[], [0], [1, -1], ["big"]])
def test_impossible_factors_are_refused(factors: list[float]) -> None:
    with refused(r"Scales\.factors"):
        Scales(factors)
