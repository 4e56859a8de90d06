"""Sum of a tensor over the batches of an evaluation and over the processes."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


class Sum(Metric):
    """The sum of a tensor over all batches of an evaluation, on all processes.

    Args:
        like: a tensor of the same shape on the same device.
    """

    full_state_update = False
    total: Tensor

    def __init__(self, like: Tensor) -> None:
        super().__init__()
        # double precision, so that the order of addition has no visible effect; Apple's GPUs lack it
        dtype = torch.float32 if like.device.type == "mps" else torch.float64
        self.add_state("total", torch.zeros_like(like, dtype=dtype), dist_reduce_fx="sum")

    def update(self, value: Tensor) -> None:
        """Add the value of one batch."""
        self.total += value

    def compute(self) -> Tensor:
        """Return the sum, in double precision (single precision on Apple's GPUs)."""
        return self.total
