"""Every file of conf/loss, and pictures to try it on."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch import nn

CONF = Path(__file__).parents[2] / "conf" / "loss"
NAMES = sorted(path.stem for path in CONF.glob("*.yaml"))


@cache
def configured(name: str) -> nn.Module:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return instantiate(compose(name))


@pytest.fixture(params=NAMES)
def loss(request: pytest.FixtureRequest) -> nn.Module:
    """A loss as its YAML describes it: a new file in conf/loss is tested with no more said."""
    return configured(request.param)


@pytest.fixture
def picture() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (1, 3, 4, 5) and target (1, 4, 5): one class in each row, and the last row ignored.

    The probabilities of a row's five pixels are those written here.
    """
    rows = torch.tensor(
        [[1 / 2, 1 / 4, 1 / 4], [1 / 4, 1 / 2, 1 / 4], [1 / 2, 1 / 4, 1 / 4], [1 / 8, 1 / 8, 3 / 4]]
    )
    logits = rows.double().log().T[None, :, :, None].expand(1, 3, 4, 5)
    target = torch.tensor([0, 1, 2, 255])[None, :, None].expand(1, 4, 5)
    return logits.contiguous(), target.contiguous()
