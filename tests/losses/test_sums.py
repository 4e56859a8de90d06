"""Losses of several batches together: from sums, from shares of a step, and over processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, multiprocessing, nn

from pixelwise.data.loader import count_labels
from pixelwise.losses import (
    MCC,
    BinaryCrossEntropy,
    CrossEntropy,
    Dice,
    Focal,
    FocalTversky,
    FusedSum,
    GeneralizedDice,
    Jaccard,
    Lovasz,
    OHEMCrossEntropy,
    SummedLoss,
    Tversky,
    WeightedSum,
)
from pixelwise.losses.sums import Labels, finish, over_processes, share_of_step, sums_of
from pixelwise.types import IGNORE

WEIGHTS = [0.5, 1.0, 4.0, 0.0, 2.0]
OF_PIXELS = {
    "cross_entropy": CrossEntropy(),
    "weighted": CrossEntropy(class_weights=WEIGHTS),
    "smoothed": CrossEntropy(label_smoothing=0.1, class_weights=WEIGHTS),
    "focal": Focal(class_weights=WEIGHTS),
}
OF_REGIONS = {
    "dice": Dice(),
    "jaccard": Jaccard(smooth=1.0, class_weights=WEIGHTS),
    "tversky": Tversky(present_only=True),
    "focal_tversky": FocalTversky(),
    "generalized": GeneralizedDice(),
    "mcc": MCC(),
}
OF_IMAGES = {"dice_per_image": Dice(per_image=True), "lovasz_per_image": Lovasz(per_image=True)}
OTHERS = {"lovasz": Lovasz(), "ohem": OHEMCrossEntropy()}
ALL = OF_PIXELS | OF_REGIONS | OF_IMAGES | OTHERS
SPLITS = [[6], [1] * 6, [4, 2], [1, 3, 2]]


@pytest.fixture(params=[(8, 7), ()], ids=["pixels", "labels"])
def data(request: pytest.FixtureRequest) -> tuple[Tensor, Tensor]:
    return uneven(*request.param)


def uneven(*shape: int) -> tuple[Tensor, Tensor]:
    """Six images whose ignored shares differ: none, much, and everything."""
    random = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(6, 5, *shape, generator=random, dtype=torch.float64)
    target = torch.randint(5, (6, *shape), generator=random)
    share = torch.tensor([0.0, 0.9, 0.3, 1.0, 0.0, 0.6]).view(6, *[1] * len(shape))
    return logits, target.where(torch.rand(target.shape, generator=random) >= share, IGNORE)


def batches(data: tuple[Tensor, Tensor], split: list[int]) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(*(tensor.split(split) for tensor in data), strict=True)


@pytest.mark.fast
@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("split", SPLITS, ids=str)
def test_sums_do_not_depend_on_batches(name: str, split: list[int], data: tuple[Tensor, Tensor]) -> None:
    loss = ALL[name]
    together = sum(sums_of(loss, *batch, each_image=True) for batch in batches(data, split))
    if name in OTHERS:
        images = [loss(*image) for image in batches(data, [1] * 6) if image[1].ne(IGNORE).any()]
        expected = torch.stack(images).mean()
    else:
        expected = loss(*data)
    torch.testing.assert_close(finish(loss, together), expected)


@pytest.mark.fast
@pytest.mark.parametrize("split", SPLITS, ids=str)
def test_fused_sums_are_the_plain_ones(split: list[int], data: tuple[Tensor, Tensor]) -> None:
    parts = {"cross_entropy": OF_PIXELS["weighted"], **OF_REGIONS, "per_image": OF_IMAGES["dice_per_image"]}
    for total in (FusedSum(parts), WeightedSum(parts)):
        added: dict[str, Tensor] = {}
        for batch in batches(data, split):
            added = {name: value + added.get(name, 0) for name, value in total.sums(*batch).items()}
        torch.testing.assert_close(total.total(total.finish(added)), WeightedSum(parts)(*data))


def shares(loss: nn.Module, data: tuple[Tensor, Tensor], split: list[int]) -> list[Tensor]:
    counts = [count_labels(target, 5) for _, target in batches(data, split)]
    whole = torch.stack(counts).sum(0)
    return [share_of_step(loss, Labels(c[:-1], c[-1]), Labels(whole[:-1], whole[-1])) for c in counts]


@pytest.mark.fast
@pytest.mark.parametrize("name", OF_PIXELS | OF_IMAGES)
@pytest.mark.parametrize("split", SPLITS, ids=str)
def test_shares_of_a_step_give_its_gradient(name: str, split: list[int], data: tuple[Tensor, Tensor]) -> None:
    loss, (logits, target) = ALL[name], data
    logits.requires_grad_()
    found = sum(
        share * loss(*batch)
        for share, batch in zip(shares(loss, data, split), batches(data, split), strict=True)
    )
    expected = loss(logits, target)
    torch.testing.assert_close(found, expected, check_dtype=False)
    torch.testing.assert_close(*(torch.autograd.grad(value, logits)[0] for value in (found, expected)))


@pytest.mark.fast
@pytest.mark.parametrize("name", ALL)
def test_shares_of_a_step_add_up_to_one(name: str, data: tuple[Tensor, Tensor]) -> None:
    assert float(sum(shares(ALL[name], data, [1, 3, 2]))) == pytest.approx(1)
    nothing = data[0], torch.full_like(data[1], IGNORE)
    assert sum(shares(ALL[name], nothing, [4, 2])) == 0


@pytest.mark.fast
def test_shares_of_several_labels_at_once() -> None:
    loss, random = BinaryCrossEntropy(class_weights=WEIGHTS), torch.Generator().manual_seed(0)
    target = torch.randint(2, (6, 5), generator=random)
    target[torch.rand(6, 5, generator=random) < 0.4] = IGNORE
    data = torch.randn(6, 5, generator=random), target
    found = sum(s * loss(*b) for s, b in zip(shares(loss, data, [1, 5]), batches(data, [1, 5]), strict=True))
    torch.testing.assert_close(found, loss(*data))


def one_of_two(rank: int, folder: Path) -> None:
    """Losses and gradients of one process's three images, as its trainer would use them."""
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    found = {}
    for name, loss in ALL.items():
        logits, target = (tensor[rank::2] for tensor in uneven(8, 7))
        logits = logits.clone().requires_grad_()
        (sums,) = over_processes([sums_of(loss, logits, target)])
        value = finish(loss, sums)
        found[name] = value.detach(), torch.autograd.grad(value, logits)[0]
    torch.save(found, folder / f"{rank}.pt")
    distributed.destroy_process_group()


def test_two_processes_have_the_gradient_of_one(tmp_path: Path) -> None:
    multiprocessing.spawn(one_of_two, (tmp_path,), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    for name, loss in ALL.items():
        assert torch.equal(first[name][0], second[name][0]), name
        if name in OTHERS:  # each process computes its own
            continue
        logits, target = uneven(8, 7)
        value = loss(logits.requires_grad_(), target)
        torch.testing.assert_close(first[name][0], value.detach())
        expected = torch.autograd.grad(value, logits)[0]
        for rank, found in enumerate((first, second)):
            torch.testing.assert_close(found[name][1], expected[rank::2])


@pytest.mark.fast
def test_every_offered_loss_says_how_it_adds_up(loss: nn.Module) -> None:
    """Only the losses that the documentation names are left to a mean over images."""
    parts = loss.parts.values() if isinstance(loss, WeightedSum) else [getattr(loss, "loss", loss)]
    for part in parts:
        assert isinstance(part, SummedLoss | Lovasz | OHEMCrossEntropy)
