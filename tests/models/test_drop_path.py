"""Drop path (stochastic depth) of encoders: `+encoder.drop_path_rate`."""

from __future__ import annotations

import pytest
import torch
from tests.models.small import KINDS
from torch import nn

from pixelwise.models import Encoder
from pixelwise.schedules.freezing import freeze


@pytest.mark.parametrize(
    "name", sorted(KINDS.keys() - {"test_efficientnet"})
)  # without a shortcut around a block
def test_drop_path_acts_in_training_only(name: str) -> None:
    """Two passes differ while training, and not when evaluated or when the encoder is frozen."""
    encoder = Encoder(name, **{**KINDS[name], "drop_path_rate": 0.9}).train()
    image = torch.randn(8, 3, 112, 144)

    def differs() -> bool:
        return not torch.equal(encoder(image)[-1], encoder(image)[-1])

    for norm in (m for m in encoder.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.ones_(norm.weight)  # timm's are zero at the end of a residual branch
    assert differs()
    freeze(encoder, True)
    assert not differs()
    freeze(encoder, False)
    assert differs()
    encoder.eval()
    assert not differs()
