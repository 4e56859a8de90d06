"""Every file of conf/loss, and images to try it on."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor, nn

from pixelwise.types import IGNORE

CONF = Path(__file__).parents[2] / "conf" / "loss"
NAMES = sorted(path.stem for path in CONF.glob("*.yaml"))


@cache
def configured(name: str) -> nn.Module:
    return instantiate(OmegaConf.load(CONF / f"{name}.yaml"))


@pytest.fixture(params=NAMES)
def loss(request: pytest.FixtureRequest) -> nn.Module:
    """A loss as its YAML describes it: a new file in conf/loss is tested with no more said."""
    return configured(request.param)


@pytest.fixture
def image() -> tuple[Tensor, Tensor]:
    """Logits (1, 3, 4, 5) and target (1, 4, 5): one class in each row, and the last row ignored.

    The probabilities of a row's five pixels are those written here.
    """
    rows = torch.tensor(
        [[1 / 2, 1 / 4, 1 / 4], [1 / 4, 1 / 2, 1 / 4], [1 / 2, 1 / 4, 1 / 4], [1 / 8, 1 / 8, 3 / 4]]
    )
    logits = rows.double().log().T[None, :, :, None].expand(1, 3, 4, 5)
    target = torch.tensor([0, 1, 2, 255])[None, :, None].expand(1, 4, 5)
    return logits.contiguous(), target.contiguous()


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    """Logits (3, 5, 8, 6) in float64; class 4 is never labelled, some pixels are ignored."""
    random = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(3, 5, 8, 6, generator=random, dtype=torch.float64)
    target = torch.randint(4, (3, 8, 6), generator=random)
    target[:, :2] = IGNORE
    return logits, target
