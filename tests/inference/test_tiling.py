"""Windows cover an image, start on the encoders' grid, and have weights that sum to 1."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers import refused

from pixelwise.inference.tiling import GRID, Tiling

pytestmark = pytest.mark.fast


@settings(deadline=None)
@given(st.integers(1, 700), st.integers(1, 300), st.floats(0, 0.9))
def test_windows_cover_an_axis_with_weights_that_sum_to_one(length: int, window: int, overlap: float) -> None:
    spans = Tiling((window, window), overlap).spans((length, length))[0]
    total = np.zeros(length)
    for span in spans:
        assert span.size == min(window, length)
        assert (span.weight > 0).all()
        total[span.start : span.start + span.size] += span.weight
    np.testing.assert_allclose(total, 1, atol=1e-6)
    assert spans[-1].start + spans[-1].size == length
    assert sum(span.done for span in spans) == length
    for before, after in pairwise(spans):
        assert before.start < after.start
        assert before.start + before.done == after.start
        assert before.start + before.size - after.start == after.kept >= min(overlap * window, window - 1)


def test_windows_start_on_the_grid_and_are_as_few_as_possible() -> None:
    spans = Tiling(512, 0.25).spans((6000, 6000))[0]
    assert all(span.start % GRID == 0 for span in spans[:-1])
    assert len(spans) == 1 + -(-(6000 - 512) // 384)
    assert max(span.kept for span in spans) < 0.35 * 512  # evenly spaced, also at the end


@pytest.mark.parametrize(
    ("key", "arguments"),
    [
        ("window", {"window": 0}),
        ("window", {"window": [512]}),
        ("window", {"window": [512, 1.5]}),
        ("overlap", {"overlap": 1.0}),
        ("overlap", {"overlap": -0.1}),
        ("batch_size", {"batch_size": 0}),
    ],
)
def test_an_impossible_tiling_names_its_key(key: str, arguments: dict[str, object]) -> None:
    with refused(rf"^Tiling\.{key}\n  found:"):
        Tiling(**arguments)  # type: ignore[arg-type]
