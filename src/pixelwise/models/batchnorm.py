"""Batch-norm that stands still, as is usual with small batches of a pretrained encoder."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pixelwise.models.idle import make_buffers


def freeze_batchnorm(module: nn.Module) -> list[nn.Module]:
    """Make all batch-norms a fixed scale and shift; gives those, which have to be kept in eval mode.

    Their parameters become buffers of the same names, so that no schedule can let them go and
    checkpoints stay exchangeable.
    """
    norms: list[nn.Module] = [m for m in module.modules() if isinstance(m, _BatchNorm)]
    for norm in norms:
        norm.eval()
        make_buffers(norm, [name for name, _ in norm.named_parameters(recurse=False)])
    return norms
