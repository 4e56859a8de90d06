"""With the same weights, logits equal those of segmentation_models_pytorch."""

from __future__ import annotations

import pytest
from benchmarks.parity import ENCODERS, REFERENCES, TOLERANCE, largest_difference


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
