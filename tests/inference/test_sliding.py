"""Sliding windows against mmsegmentation's rule, written plainly, and logits at another size."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers import refused
from tests.inference.test_blending import Small
from torch import Tensor

from pixelwise.inference import Scales, Sliding, Tiling, resized, resized_blocks, with_tta
from pixelwise.inference.sliding import ROWS

Network = Callable[[Tensor], Tensor]
CLASSES = 4


def slide_inference(network: Network, image: Tensor, crop: Sequence[int], stride: Sequence[int]) -> Tensor:
    """The rule of `EncoderDecoder.slide_inference`: sum the logits of all windows, divide by their number."""
    (high, wide), (down, right), (rows, columns) = crop, stride, image.shape[-2:]
    total = torch.zeros(len(image), CLASSES, rows, columns)
    count = torch.zeros(rows, columns)
    for i in range(max(rows - high + down - 1, 0) // down + 1):
        for j in range(max(columns - wide + right - 1, 0) // right + 1):
            bottom, end = min(i * down + high, rows), min(j * right + wide, columns)
            top, left = max(bottom - high, 0), max(end - wide, 0)
            total[..., top:bottom, left:end] += network(image[..., top:bottom, left:end])
            count[top:bottom, left:end] += 1
    assert count.min() > 0
    return total / count


@pytest.fixture(scope="module")
def network() -> Network:
    return torch.inference_mode()(Small().eval())


@pytest.mark.fast
@pytest.mark.parametrize(
    ("shape", "window", "stride"),
    [
        ((20, 31), 32, 21),  # smaller than the window
        ((32, 32), 32, 21),  # equal
        ((33, 20), 32, 21),  # larger on one side by a pixel
        ((75, 98), 32, 21),  # the stride does not divide the rest
        ((74, 53), 32, 21),  # it does
        ((61, 47), (16, 24), (11, 7)),
        ((61, 47), 24, 5),  # five windows share a pixel
        ((64, 96), 32, 32),  # no overlap
    ],
)
def test_windows_are_averaged_as_by_mmsegmentation(
    shape: tuple[int, int], window: int | tuple[int, int], stride: int | tuple[int, int], network: Network
) -> None:
    image = torch.randint(256, (3, 3, *shape), generator=torch.Generator().manual_seed(1))
    pair = [size if isinstance(size, tuple) else (size, size) for size in (window, stride)]
    expected = slide_inference(network, image, *pair)
    logits = Sliding(Tiling(window, stride=stride))(network, image)
    torch.testing.assert_close(logits.softmax(1), expected.softmax(1), rtol=0, atol=1e-5)
    assert torch.equal(logits.argmax(1), expected.argmax(1))


@pytest.mark.fast
@settings(deadline=None, max_examples=50)
@given(st.integers(1, 90), st.integers(1, 40), st.data())
def test_each_pixel_is_the_mean_of_the_windows_that_hold_it(
    length: int, window: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(1, window))
    spans = Tiling(window, stride=stride).spans((length, 1))[0]
    weights = torch.zeros(len(spans), length)
    for weight, span in zip(weights, spans, strict=True):
        weight[span.start : span.start + span.size] = torch.from_numpy(span.weight)
    torch.testing.assert_close(weights, (weights > 0) / (weights > 0).sum(0))


@pytest.mark.fast
def test_scales_resize_the_image_and_not_its_windows(network: Network) -> None:
    image = torch.rand(1, 3, 48, 40) * 255
    seen: list[tuple[int, ...]] = []

    def spy(pixels: Tensor) -> Tensor:
        seen.append(tuple(pixels.shape[-2:]))
        return network(pixels)

    with_tta(spy, [Scales([1.5]), Sliding(Tiling(32, stride=32))])(image)
    assert len(seen) == 3 * 2  # 72 × 60 pixels
    assert set(seen) == {(32, 32)}


@pytest.mark.fast
@pytest.mark.parametrize("size", [(7, 5), (40, 61), (ROWS + 9, 30), (20, 17), (3 * ROWS, 1)])
def test_resized_logits_are_those_of_interpolate(size: tuple[int, int]) -> None:
    logits = torch.randn(2, CLASSES, 20, 17)
    expected = F.interpolate(logits, size, mode="bilinear", align_corners=False)
    assert torch.equal(resized(logits, size), expected)
    blocks = list(resized_blocks(logits[0], size))
    joined = torch.cat([block.logits for block in blocks], 1)
    torch.testing.assert_close(joined, expected[0], rtol=0, atol=1e-5)
    assert [block.top for block in blocks] == [*range(0, size[0], ROWS)]


@pytest.mark.fast
@pytest.mark.parametrize(("window", "stride"), [(32, 33), ((16, 32), 20), (32, 0), (32, (8, -1))])
def test_a_stride_that_leaves_gaps_is_refused(window: int, stride: int) -> None:
    with refused(r"^Tiling\.stride\n  found:"):
        Tiling(window, stride=stride)
