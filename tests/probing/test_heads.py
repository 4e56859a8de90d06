"""Heads trained together, their targets and nearest neighbours, against independent implementations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn

from pixelwise.models import PixelHead
from pixelwise.probing.features import targets
from pixelwise.probing.heads import FINER, Heads, Setting, losses, statistics
from pixelwise.probing.scoring import votes

pytestmark = pytest.mark.fast

GRID = [Setting(rate, decay) for decay in (0.0, 0.1, 1.0) for rate in (1e-3, 1e-2, 1e-1)]
ROWS, CHANNELS, CLASSES, STEPS = 24, 7, 3, 9


def pixels_of_cells(rng: torch.Generator) -> Tensor:
    return torch.randint(0, 5, (ROWS, CLASSES), generator=rng)


def tags(rng: torch.Generator) -> Tensor:
    return torch.tensor([0.0, 1.0, 255.0])[torch.randint(0, 3, (ROWS, CLASSES), generator=rng)]


def usual_loss(logits: Tensor, target: Tensor) -> Tensor:
    """The loss with one row for each pixel, or over the known labels only."""
    if target.is_floating_point():
        known = target != 255
        return F.binary_cross_entropy_with_logits(logits[known], target[known])
    row, label = target.nonzero(as_tuple=True)
    repeats = target[row, label]
    return F.cross_entropy(logits[row.repeat_interleave(repeats)], label.repeat_interleave(repeats))


@pytest.mark.parametrize("draw", [pixels_of_cells, tags])
def test_heads_together_equal_heads_trained_one_by_one(draw: object) -> None:
    rng = torch.Generator().manual_seed(0)
    batches = [
        (torch.randn(ROWS, CHANNELS, generator=rng) * 3 + 1, draw(rng))  # type: ignore[operator]
        for _ in range(STEPS)
    ]
    mean, std = map(torch.from_numpy, statistics(torch.cat([x for x, _ in batches]).numpy()))
    heads = Heads(GRID, mean, std, CLASSES, STEPS)
    together = [heads.step(*batch) for batch in batches]
    for number, setting in enumerate(GRID):
        alone = nn.Linear(CHANNELS, CLASSES)
        nn.init.zeros_(alone.weight)
        nn.init.zeros_(alone.bias)
        groups = [
            {"params": [alone.weight], "weight_decay": setting.weight_decay},
            {"params": [alone.bias], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=setting.learning_rate)
        curve = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
        for (x, target), expected in zip(batches, together, strict=True):
            loss = usual_loss(alone((x - mean) / std), target)
            torch.testing.assert_close(expected[number], loss.detach(), atol=1e-6, rtol=1e-5)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            curve.step()
        whole = torch.cat([alone.weight.T, alone.bias[None]])
        torch.testing.assert_close(heads.matrix[..., number], whole, atol=1e-5, rtol=1e-4)


def test_a_batch_without_labels_moves_nothing() -> None:
    heads = Heads(GRID[:3], torch.zeros(CHANNELS), torch.ones(CHANNELS), CLASSES, STEPS)
    for nothing in (torch.zeros(ROWS, CLASSES, dtype=torch.int64), torch.full((ROWS, CLASSES), 255.0)):
        assert not heads.step(torch.randn(ROWS, CHANNELS), nothing).any()
    assert not heads.matrix.any()


def test_statistics_are_those_of_numpy() -> None:
    features = np.random.default_rng(0).normal(5, 3, (70000, 4)).astype(np.float32)
    features[:, 2] = 7
    mean, std = statistics(features)
    np.testing.assert_allclose(mean, features.astype(np.float64).mean(0), rtol=1e-6)
    np.testing.assert_allclose(std[[0, 1, 3]], features.astype(np.float64).std(0)[[0, 1, 3]], rtol=1e-5)
    assert std[2] == 1


@pytest.mark.parametrize(
    ("image", "map_size"), [((64, 64), (4, 4)), ((37, 50), (3, 4)), ((5, 6), (1, 1)), ((3, 4), (6, 5))]
)
def test_targets_give_the_loss_of_each_pixel(image: tuple[int, int], map_size: tuple[int, int]) -> None:
    mask = torch.from_numpy(np.random.default_rng(0).choice([0, 1, 2, 255], image))
    logits = torch.randn(2, CLASSES, *(FINER * side for side in map_size))
    wide = F.interpolate(logits, size=image, mode="nearest")
    expected = torch.stack([F.cross_entropy(own[None], mask[None], ignore_index=255) for own in wide])
    counts = targets(mask.numpy().astype(np.uint8), map_size, CLASSES)
    assert counts.sum() == (mask != 255).sum()
    rows = logits.flatten(2).permute(2, 1, 0)
    torch.testing.assert_close(losses(rows, torch.from_numpy(counts.astype(np.int64))), expected)


def test_maps_are_trained_on_the_pixels_of_resized_logits() -> None:
    """With masks of twice the size of the maps, the loss is exactly that of `PixelHead` in training."""
    rng = np.random.default_rng(0)
    sizes = [(2, 3), (2, 3), (1, 1), (4, 2), (2, 3)]
    masks = [rng.choice([0, 1, 2, 255], (FINER * h, FINER * w)).astype(np.uint8) for h, w in sizes]
    maps = [torch.randn(1, CHANNELS, *size) for size in sizes]
    heads = Heads(GRID[:2], torch.zeros(CHANNELS), torch.ones(CHANNELS), CLASSES, STEPS)
    heads.matrix.data.normal_()
    head = PixelHead(CHANNELS, CLASSES)
    head.conv.weight.data = heads.matrix[:-1, :, 1].detach().T[:, :, None, None].contiguous()
    head.conv.bias = nn.Parameter(heads.matrix[-1, :, 1].detach().clone())
    pixels, labels = [], []
    for x, mask in zip(maps, masks, strict=True):
        pixels.append(head(x, mask.shape)[0].flatten(1).T)
        labels.append(torch.from_numpy(mask).flatten().long())
    expected = F.cross_entropy(torch.cat(pixels), torch.cat(labels), ignore_index=255)
    counts = [targets(mask, size, CLASSES) for mask, size in zip(masks, sizes, strict=True)]
    rows = torch.cat([x[0].flatten(1).T for x in maps])
    found = heads.step(rows, torch.from_numpy(np.concatenate(counts).astype(np.int64)), sizes)
    torch.testing.assert_close(found[1], expected.detach())


def test_targets_of_images_are_their_labels() -> None:
    assert targets(np.array(2), (1, 1), 3).tolist() == [[0, 0, 1]]
    assert targets(np.array([0, 1, 255], np.float32), (1, 1), 3).tolist() == [[0, 1, 255]]


@pytest.mark.parametrize("label", [0, 255, 256, 999])
def test_images_may_have_more_than_255_classes(label: int) -> None:
    (found,) = targets(np.array(label), (1, 1), 1000)
    assert found.shape == (1000,)
    assert found.nonzero()[0].tolist() == [label]


def test_neighbours_vote_as_in_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    train, queries = (rng.normal(size=(n, 8)).astype(np.float32) for n in (150, 1500))
    labels = rng.integers(0, 4, 150)
    counts = [1, 10, 150]
    found = votes(*map(torch.from_numpy, (train, labels, queries)), counts, 4, temperature=0.07)
    for k, voted in zip(counts, found, strict=True):
        theirs = KNeighborsClassifier(
            k, metric="cosine", algorithm="brute", weights=lambda d: np.exp((1 - d) / 0.07)
        ).fit(train, labels)
        shares = (voted / voted.sum(1, keepdim=True)).numpy()
        np.testing.assert_allclose(shares, theirs.predict_proba(queries), atol=1e-4)
        assert (voted.argmax(1).numpy() == theirs.predict(queries)).all()
