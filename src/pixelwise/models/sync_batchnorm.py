"""Batch-norm over the images of all processes, so that training does not depend on their number."""

from __future__ import annotations

from types import MethodType
from typing import Any, cast

import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, distributed, nn
from torch.nn.modules._functions import SyncBatchNorm
from torch.nn.modules.batchnorm import _BatchNorm

from pixelwise.errors import UserError


def synchronise(module: nn.Module) -> None:
    """Let all batch-norms in training mode use mean and variance over all processes (of equal batch size).

    The layers stay the same objects, unlike with `SyncBatchNorm.convert_sync_batchnorm`, which loses the
    activation in timm's `BatchNormAct2d` and fails for layers with fixed weights.

    Raises:
        UserError: a layer does more than batch-norm and activation, which would be lost.
    """
    for name, norm in module.named_modules():
        if not isinstance(norm, _BatchNorm) or isinstance(norm, nn.SyncBatchNorm):
            continue
        if type(norm).forward not in (_BatchNorm.forward, BatchNormAct2d.forward):
            raise UserError(
                "trainer.sync_batchnorm: cannot synchronise this kind of batch-norm",
                found=f"{type(norm).__name__} at {name}",
                fix="another encoder, or trainer.sync_batchnorm=false",
            )
        norm.forward = MethodType(_forward, norm)  # type: ignore[method-assign]


def release(module: nn.Module) -> None:
    """Undo `synchronise`."""
    for norm in module.modules():
        if isinstance(norm, _BatchNorm):
            norm.__dict__.pop("forward", None)


def _forward(norm: _BatchNorm, features: Tensor) -> Tensor:
    """Replace a layer's `forward`: in training mode, use the images of all processes."""
    if not norm.training:
        return type(norm).forward(norm, features)
    momentum, tracked = norm.momentum, norm.num_batches_tracked
    if norm.track_running_stats:
        cast(Tensor, tracked).add_(1)
        momentum = 1 / float(cast(Tensor, tracked)) if momentum is None else momentum
    group, processes = distributed.group.WORLD, distributed.get_world_size()
    buffers = (norm.running_mean, norm.running_var) if norm.track_running_stats else (None, None)
    settings = (norm.weight, norm.bias, *buffers, norm.eps, momentum or 0.0)
    if features.device.type == "cpu":
        features = _on_cpu(features, *settings, processes)
    else:
        features = SyncBatchNorm.apply(features, *settings, group, processes)
    return norm.act(norm.drop(features)) if isinstance(norm, BatchNormAct2d) else features


def _on_cpu(
    features: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    eps: float,
    momentum: float,
    processes: int,
) -> Tensor:
    """Compute PyTorch's `SyncBatchNorm`, which exists for GPUs only, on the CPU for features (B, C, …)."""
    values = features.to(torch.promote_types(features.dtype, torch.float32))
    others = [axis for axis in range(values.ndim) if axis != 1]
    shape = (1, -1, *[1] * (values.ndim - 2))
    mean = _SumOverProcesses.apply(values.mean(others)) / processes
    centred = values - mean.view(shape)
    var = _SumOverProcesses.apply(centred.square().mean(others)) / processes
    if running_mean is not None and running_var is not None:
        count = processes * values.numel() // values.shape[1]
        running_mean.lerp_(mean.detach(), momentum)
        running_var.lerp_(var.detach() * count / max(count - 1, 1), momentum)
    scaled = centred * (var + eps).rsqrt().view(shape)
    if weight is not None:
        scaled = scaled * weight.view(shape)
    if bias is not None:
        scaled = scaled + bias.view(shape)
    return scaled.to(features.dtype)


class _SumOverProcesses(torch.autograd.Function):
    """Sum over all processes; the backward pass sums the gradients of all processes."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        """Return the sum over all processes."""
        total = own.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """Return the sum of the gradients of all processes."""
        total = grad.clone()
        distributed.all_reduce(total)
        return total
