"""Weights of an encoder that only serve maps which nobody reads."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pixelwise.models.timm_spec import TIMM_ERRORS


def unused_parameters(encoder: nn.Module, used: Collection[int], size: tuple[int, ...]) -> list[str]:
    """Names of the parameters on which none of an encoder's maps with these indices depends.

    They come from one backward on the meta device, which needs no memory and no numbers and draws none.

    Args:
        encoder: from an image to a list of maps.
        used: indices of the maps that are read.
        size: (C, H, W) of an image that it takes.

    Returns:
        none where it cannot be told, as some shapes depend on numbers.
    """
    weights = {n: torch.empty_like(p, device="meta").requires_grad_() for n, p in encoder.named_parameters()}
    buffers = {n: torch.empty_like(b, device="meta") for n, b in encoder.named_buffers()}
    try:
        image = torch.zeros(2, *size, device="meta")
        maps: list[Any] = torch.func.functional_call(encoder, {**weights, **buffers}, image)
    except TIMM_ERRORS:
        return []
    slopes = torch.autograd.grad([maps[i].sum() for i in used], [*weights.values()], allow_unused=True)
    return [name for name, slope in zip(weights, slopes, strict=True) if slope is None]


def parameters_to_buffers(module: nn.Module, parameters: Collection[str]) -> None:
    """Turn parameters into buffers of the same names.

    No optimizer steps them, no schedule lets them go, and no process of several waits for their gradients;
    checkpoints stay exchangeable.
    """
    for name in parameters:
        owner, _, leaf = name.rpartition(".")
        holder = module.get_submodule(owner)
        tensor: Tensor = getattr(holder, leaf).detach()
        delattr(holder, leaf)
        holder.register_buffer(leaf, tensor)


pass


def freeze_batchnorm(module: nn.Module) -> list[nn.Module]:
    """Make all batch-norms a fixed scale and shift; gives those, which have to be kept in eval mode.

    Their parameters become buffers of the same names, so that no schedule can let them go and
    checkpoints stay exchangeable.
    """
    norms: list[nn.Module] = [m for m in module.modules() if isinstance(m, _BatchNorm)]
    for norm in norms:
        norm.eval()
        parameters_to_buffers(norm, [name for name, _ in norm.named_parameters(recurse=False)])
    return norms
