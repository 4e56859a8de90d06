"""With the same weights, logits equal those of segmentation_models_pytorch."""

from __future__ import annotations

import pytest
import torch
from benchmarks.parity import (
    ENCODERS,
    READOUTS,
    REFERENCES,
    TOLERANCE,
    largest_difference,
    largest_difference_of_dpt,
)

from pixelwise.models import Encoder


@pytest.mark.parametrize("decoder", REFERENCES)
@pytest.mark.parametrize(
    "encoder",
    [
        pytest.param("test_resnet", marks=pytest.mark.fast),
        "test_convnext",
        *(pytest.param(encoder, marks=pytest.mark.slow) for encoder in ENCODERS),
    ],
)
def test_the_logits_are_equal(decoder: str, encoder: str) -> None:
    assert largest_difference(decoder, encoder) <= TOLERANCE


@pytest.mark.fast
@pytest.mark.parametrize(
    ("encoder", "readout"),
    [
        ("test_resnet", "ignore"),
        ("test_convnext", "ignore"),
        *(("test_vit", readout) for readout in READOUTS),
    ],
)
def test_dpt_is_equal_on_pyramids_and_transformers(encoder: str, readout: str) -> None:
    assert largest_difference_of_dpt(encoder, readout) <= TOLERANCE


@pytest.mark.fast
@pytest.mark.parametrize("readout", ["add", "project"])
def test_the_class_token_is_that_of_timm(readout: str) -> None:
    torch.manual_seed(0)
    encoder = Encoder("test_vit", neck=False, readout=readout).eval()
    image = torch.randn(2, 3, 64, 96)
    body = encoder.body
    with torch.no_grad():
        pairs = body.forward_intermediates(
            image,
            indices=[*encoder.spec.indices],
            norm=True,
            return_prefix_tokens=True,
            intermediates_only=True,
        )
        for found, (x, tokens) in zip(encoder(image), pairs, strict=True):
            token = tokens[:, 0, :, None, None].expand_as(x)
            assert torch.equal(found, x + token if readout == "add" else torch.cat([x, token], dim=1))
