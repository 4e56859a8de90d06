"""A tensor that is added up over the batches of an evaluation and over the processes."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


class Sum(Metric):
    """The sum of a tensor over all batches of an evaluation, whichever process they fell to.

    Args:
        like: a tensor of its shape, on its device.
    """

    full_state_update = False
    total: Tensor

    def __init__(self, like: Tensor) -> None:
        super().__init__()
        # in double precision the order of adding does not show; Apple's GPUs have none
        dtype = torch.float32 if like.device.type == "mps" else torch.float64
        self.add_state("total", torch.zeros_like(like, dtype=dtype), dist_reduce_fx="sum")

    def update(self, value: Tensor) -> None:
        """Add a batch's."""
        self.total += value

    def compute(self) -> Tensor:
        """The sum, in double precision."""
        return self.total
