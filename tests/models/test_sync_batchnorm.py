"""Batch-norm over the images of all processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.helpers import refused
from timm.layers import BatchNormAct2d
from torch import Tensor, distributed, multiprocessing, nn

from pixelwise.models.freezing import freeze_batchnorm
from pixelwise.models.sync_batchnorm import release, synchronise


def network() -> nn.Module:
    """Each kind of batch-norm: plain, with an activation, without weights, and a frozen one."""
    torch.manual_seed(0)
    still = nn.BatchNorm2d(4)
    still.running_mean.add_(1)
    freeze_batchnorm(still)
    layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, momentum=None), nn.Conv2d(8, 8, 3), BatchNormAct2d(8)]
    return nn.Sequential(*layers, nn.Conv2d(8, 4, 3), still, nn.BatchNorm2d(4, affine=False)).double()


def step(model: nn.Module, images: Tensor, processes: int = 1) -> dict[str, Any]:
    """Return output, gradients (averaged as in DDP) and running statistics after two passes."""
    for _ in range(2):
        output = model(images)
    weights = torch.arange(output.numel() // len(output)).view(output.shape[1:])
    (processes * (output**2 * weights).sum()).backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    if processes > 1:
        for gradient in gradients.values():
            distributed.all_reduce(gradient)
            gradient /= processes
    return {"output": output.detach(), **gradients, **dict(model.named_buffers())}


def images() -> Tensor:
    return 3 * torch.randn(6, 3, 12, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 1


def one_of_two(rank: int, folder: Path) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    model = network()
    synchronise(model)
    torch.save(step(model, images()[rank::2], processes=2), folder / f"{rank}.pt")
    distributed.destroy_process_group()


def test_two_processes_give_the_result_of_one(tmp_path: Path) -> None:
    multiprocessing.spawn(one_of_two, (tmp_path,), nprocs=2)
    expected = step(network(), images())
    for rank in (0, 1):
        found = torch.load(tmp_path / f"{rank}.pt")
        torch.testing.assert_close(found.pop("output"), expected["output"][rank::2])
        torch.testing.assert_close(found, {name: v for name, v in expected.items() if name != "output"})


@pytest.mark.fast
def test_evaluation_and_release_use_the_original_forward() -> None:
    model, plain = network(), network()
    keys, layers = list(model.state_dict()), list(model.modules())
    synchronise(model)
    torch.testing.assert_close(model.eval()(images()), plain.eval()(images()), rtol=0, atol=0)
    release(model)
    torch.testing.assert_close(model.train()(images()), plain.train()(images()), rtol=0, atol=0)
    assert list(model.state_dict()) == keys
    assert list(model.modules()) == layers


@pytest.mark.fast
def test_an_unsupported_batchnorm_is_refused() -> None:
    class Scaled(nn.BatchNorm2d):
        def forward(self, input: Tensor) -> Tensor:
            return 2 * super().forward(input)

    with refused(r"sync_batchnorm(.|\n)*Scaled at 1"):
        synchronise(nn.Sequential(nn.Conv2d(3, 8, 3), Scaled(8)))
