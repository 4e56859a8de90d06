"""Two losses side by side."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]


def assert_same(ours: Loss, theirs: Loss, logits: Tensor, target: Tensor) -> None:
    """The same value and the same gradient."""
    logits = logits.requires_grad_()
    torch.testing.assert_close(ours(logits, target), theirs(logits, target))
    grad = [torch.autograd.grad(loss(logits, target), logits)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*grad)
