"""Blending of windows: every pixel is covered once, batches do not matter, there are no seams."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelwise.inference import Pixels, Tiling, bands, blend, labels, labels_and_probabilities
from pixelwise.metrics.confusion import SegmentationScores

CLASSES = 4


class Small(nn.Module):
    """A network of stride 2 with a receptive field of 7 pixels to each side and with zero padding."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.down = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.middle = nn.Conv2d(8, 8, 3, padding=1)
        self.up = nn.Conv2d(8, CLASSES, 3, padding=1)
        for layer in (self.down, self.middle, self.up):
            nn.init.kaiming_normal_(layer.weight)

    def forward(self, pixels: Tensor) -> Tensor:
        features = self.middle(self.down(pixels.float() / 255).relu()).relu()
        return self.up(F.interpolate(features, size=pixels.shape[-2:], mode="bilinear"))


@pytest.fixture(scope="module")
def network() -> Callable[[Tensor], Tensor]:
    return torch.inference_mode()(Small().eval())


def draw(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A smooth bright scene with noise, which differs from zero padding everywhere."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.random((1, 3, height // 16 + 2, width // 16 + 2), dtype=np.float32))
    smooth = F.interpolate(coarse, size=(height, width), mode="bicubic")[0].permute(1, 2, 0).numpy()
    return np.clip(120 + 100 * smooth + rng.integers(0, 16, (height, width, 1)), 0, 255).astype(np.uint8)


def plain_logits(network: Callable[[Tensor], Tensor], image: np.ndarray) -> np.ndarray:
    """Return logits (K, H, W) of one forward pass."""
    return network(torch.from_numpy(image).permute(2, 0, 1)[None])[0].numpy()


def cut(network: Callable[[Tensor], Tensor], image: np.ndarray, side: int) -> np.ndarray:
    """Return logits (K, H, W) of tiles without overlap, which have seams."""
    rows = [
        [plain_logits(network, image[y : y + side, x : x + side]) for x in range(0, image.shape[1], side)]
        for y in range(0, image.shape[0], side)
    ]
    return np.concatenate([np.concatenate(row, axis=2) for row in rows], axis=1)


def tiled(network: Callable[[Tensor], Tensor], image: np.ndarray, tiling: Tiling) -> np.ndarray:
    """Return logits (K, H, W) from blocks, and check that these cover the image once."""
    logits = np.full((CLASSES, *image.shape[:2]), np.nan, np.float32)
    for top, left, part in blend(Pixels(image), network, tiling, CLASSES):
        place = np.s_[:, top : top + part.shape[1], left : left + part.shape[2]]
        assert np.isnan(logits[place]).all()
        logits[place] = part.numpy()
    assert not np.isnan(logits).any()
    return logits


# --------------------------------------------------------------------------------------- the blending
@pytest.mark.fast
@pytest.mark.parametrize("shape", [(64, 64), (33, 64), (1, 1), (50, 7)])
def test_a_single_window_gives_exactly_the_plain_logits(
    shape: tuple[int, int], network: Callable[[Tensor], Tensor]
) -> None:
    image = draw(*shape)
    np.testing.assert_array_equal(
        tiled(network, image, Tiling(64, batch_size=4)), plain_logits(network, image)
    )


@pytest.mark.fast
def test_interior_pixels_equal_the_plain_logits(network: Callable[[Tensor], Tensor]) -> None:
    image = draw(600, 610)
    tiling = Tiling((256, 192), 0.25)
    blended, plain = tiled(network, image, tiling), plain_logits(network, image)
    alone = [
        np.concatenate([np.arange(s.start + s.kept, s.start + s.done) for s in spans])
        for spans in tiling.spans((600, 610))
    ]  # pixels in one window only, at least a quarter of its size from its edge
    assert min(map(len, alone)) > 200
    far = np.ix_(range(CLASSES), *alone)
    np.testing.assert_allclose(blended[far], plain[far], atol=1e-5)
    hard = np.abs(cut(network, image, 200) - plain)
    assert hard.max() > 0.2 * plain.std()  # otherwise there would be no seams to blend
    assert np.abs(blended - plain).max() < 0.1 * hard.max()


@pytest.mark.fast
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.7])
def test_the_blend_is_the_weighted_sum_of_all_windows(
    overlap: float, network: Callable[[Tensor], Tensor]
) -> None:
    image, tiling = draw(230, 301), Tiling(96, overlap)
    expected = np.zeros((CLASSES, 230, 301))
    windows = list(product(*tiling.spans((230, 301))))
    for index in np.random.default_rng(0).permutation(len(windows)):
        row, column = windows[index]
        place = np.s_[row.start : row.start + row.size, column.start : column.start + column.size]
        weight = row.weight[:, None].astype(float) * column.weight
        expected[:, *place] += weight * plain_logits(network, image[place])
    np.testing.assert_allclose(tiled(network, image, tiling), expected, atol=1e-6)


@pytest.mark.fast
@pytest.mark.parametrize("batch_size", [1, 3, 7, 50])
def test_the_batch_size_does_not_matter(batch_size: int, network: Callable[[Tensor], Tensor]) -> None:
    image = draw(230, 301)
    pairs = tiled(network, image, Tiling(96, 0.3, 2))
    # PyTorch's convolutions differ in the last digit between one image and several
    atol = 2e-6 if batch_size == 1 else 0
    np.testing.assert_allclose(tiled(network, image, Tiling(96, 0.3, batch_size)), pairs, rtol=0, atol=atol)


@pytest.mark.fast
def test_all_batches_have_the_full_size(network: Callable[[Tensor], Tensor]) -> None:
    sizes = []

    def forward(pixels: Tensor) -> Tensor:
        sizes.append(len(pixels))
        return network(pixels)

    assert Tiling(96, 0).count((200, 100)) == 6
    tiled(forward, draw(200, 100), Tiling(96, 0, batch_size=4))
    assert sizes == [4, 4]


@pytest.mark.fast
def test_windows_without_pixels_are_not_predicted(network: Callable[[Tensor], Tensor]) -> None:
    image = draw(200, 200)

    class Holed(Pixels):
        def read(self, top: int, left: int, height: int, width: int) -> np.ndarray | None:
            return None if top == left == 0 else super().read(top, left, height, width)

    sizes = []

    def forward(pixels: Tensor) -> Tensor:
        sizes.append(len(pixels))
        return network(pixels)

    tiling = Tiling(128, 0.25)
    blocks = list(blend(Holed(image), forward, tiling, CLASSES))
    assert sum(sizes) == tiling.count((200, 200)) - 1
    assert not blocks[0].logits[:, :60, :60].any()
    kept = tiling.spans((200, 200))[0][0].size
    full = tiled(network, image, tiling)
    np.testing.assert_array_equal(blocks[-1].logits[:, kept - 72 :, kept - 72 :], full[:, kept:, kept:])


@pytest.mark.fast
@pytest.mark.parametrize("finish", [labels, labels_and_probabilities])
def test_bands_are_finished_rows(
    finish: Callable[[Tensor], Tensor], network: Callable[[Tensor], Tensor]
) -> None:
    image, tiling = draw(230, 301), Tiling(96, 0.25)
    logits = torch.from_numpy(tiled(network, image, tiling))
    tops, rows = zip(*bands(blend(Pixels(image), network, tiling, CLASSES), finish), strict=True)
    assert list(tops) == [span.start for span in tiling.spans(image.shape[:2])[0]]
    joined = np.concatenate(rows, axis=1)
    assert joined.dtype == np.uint8
    np.testing.assert_array_equal(joined, finish(logits).numpy())
    np.testing.assert_array_equal(joined[0], logits.argmax(0))
    if finish is labels_and_probabilities:
        sums = joined[1:].astype(int).sum(0)
        assert abs(sums - 255).max() <= CLASSES // 2


@pytest.mark.fast
def test_scores_of_blocks_equal_scores_of_the_image(network: Callable[[Tensor], Tensor]) -> None:
    image, tiling = draw(230, 301), Tiling(96, 0.25)
    target = torch.from_numpy(np.random.default_rng(0).integers(0, CLASSES, (230, 301)))
    scores, expected = (SegmentationScores([str(index) for index in range(CLASSES)]) for _ in range(2))
    for top, left, logits in blend(Pixels(image), network, tiling, CLASSES):
        part = target[top : top + logits.shape[1], left : left + logits.shape[2]]
        scores.update(logits[None], part[None])
    expected.update(torch.from_numpy(tiled(network, image, tiling))[None], target[None])
    assert scores.matrix.sum() == 230 * 301
    assert torch.equal(scores.matrix, expected.matrix)


# ------------------------------------------------------------------------------------------ the seams
def step(error: np.ndarray, starts: list[int], axis: int) -> float:
    """Mean step of the error (K, H, W) at the start of these rows or columns."""
    steps = [np.abs(np.diff(error.take([at - 1, at], axis=axis), axis=axis)).mean() for at in starts]
    return float(np.mean(steps))


@pytest.mark.slow
def test_no_seams_in_a_tile_of_6000(network: Callable[[Tensor], Tensor]) -> None:
    image, tiling = draw(6000, 6000), Tiling(512, 0.25)
    plain = plain_logits(network, image)
    hard = cut(network, image, 500) - plain
    seams = [step(hard, list(range(500, 6000, 500)), axis) for axis in (1, 2)]
    assert min(seams) > 0.05 * plain.std()  # otherwise this test could not detect a seam
    del hard

    blended = np.empty_like(plain)
    for top, band in bands(blend(Pixels(image), network, tiling, CLASSES), lambda logits: logits):
        blended[:, top : top + band.shape[1]] = band
    error = blended - plain
    for axis, (spans, seam) in enumerate(zip(tiling.spans((6000, 6000)), seams, strict=True), 1):
        edges = [s.start for s in spans[1:]] + [s.start + s.size for s in spans[:-1]]
        assert step(error, edges, axis) < 0.01 * seam
    alone = np.concatenate([np.arange(s.start + s.kept, s.start + s.done) for s in spans])
    assert len(alone) > 3000
    assert np.abs(error[:, alone][:, :, alone]).max() < 1e-5 * plain.std()
    assert (blended.argmax(0) == plain.argmax(0)).mean() > 0.999
