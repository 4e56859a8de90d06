"""Exclude parameters from training: those of unused feature maps, and those of batch-norms."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_leaves

from pixelwise.models.timm_spec import TIMM_ERRORS


@torch.inference_mode(False)
@torch.enable_grad()
def unused_parameters(encoder: nn.Module, used: Collection[int], size: tuple[int, ...]) -> list[str]:
    """Return the names of the parameters that do not influence the feature maps in use.

    One backward pass on the meta device finds them, without memory and without random numbers.

    Args:
        encoder: a model that turns an image into a list of feature maps.
        used: indices of the maps that are read.
        size: (C, H, W) of an image that the encoder accepts.

    Returns:
        The names; an empty list if the model does not run on the meta device.
    """
    weights = {n: torch.empty_like(p, device="meta").requires_grad_() for n, p in encoder.named_parameters()}
    buffers = {n: torch.empty_like(b, device="meta") for n, b in encoder.named_buffers()}
    try:
        image = torch.zeros(2, *size, device="meta")
        maps: list[Any] = torch.func.functional_call(encoder, {**weights, **buffers}, image)
    except TIMM_ERRORS:
        return []
    outputs = [x.sum() for x in tree_leaves([maps[i] for i in used])]
    grads = torch.autograd.grad(outputs, [*weights.values()], allow_unused=True)
    return [name for name, grad in zip(weights, grads, strict=True) if grad is None]


def parameters_to_buffers(module: nn.Module, parameters: Collection[str]) -> None:
    """Turn parameters into buffers of the same names.

    Optimizers do not update them, schedules do not unfreeze them, and distributed training does not wait for
    their gradients. Checkpoints keep the same keys.
    """
    for name in parameters:
        owner_name, _, leaf = name.rpartition(".")
        owner = module.get_submodule(owner_name)
        tensor: Tensor = getattr(owner, leaf).detach()
        delattr(owner, leaf)
        owner.register_buffer(leaf, tensor)


class FrozenNorms(nn.Module):
    """A module that keeps the norms in `frozen` in evaluation mode."""

    frozen: list[nn.Module]

    def train(self, mode: bool = True) -> Self:
        """Set the training mode of all other modules."""
        super().train(mode)
        for norm in self.frozen:
            norm.training = False
        return self


def freeze_batchnorm(module: nn.Module) -> list[nn.Module]:
    """Fix the statistics, scale and shift of all batch-norms, and return these modules.

    Their parameters become buffers (see `parameters_to_buffers`). The caller has to keep the returned modules
    in evaluation mode, as `FrozenNorms` does.
    """
    norms: list[nn.Module] = [m for m in module.modules() if isinstance(m, _BatchNorm)]
    for norm in norms:
        norm.eval()
        parameters_to_buffers(norm, [name for name, _ in norm.named_parameters(recurse=False)])
    return norms
