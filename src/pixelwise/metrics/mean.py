"""A weighted mean over the batches of an evaluation."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


class Mean(Metric):
    """The mean of a value over all images of an evaluation, whichever process they fell to."""

    full_state_update = False
    total: Tensor
    weight: Tensor

    def __init__(self, device: torch.device | None = None) -> None:
        super().__init__()
        # in double precision the order of adding does not show; Apple's GPUs have none
        dtype = torch.float32 if device is not None and device.type == "mps" else torch.float64
        for name in ("total", "weight"):
            self.add_state(name, torch.zeros((), dtype=dtype, device=device), dist_reduce_fx="sum")

    def update(self, value: Tensor, weight: Tensor) -> None:
        """Count a scalar so many times."""
        self.total += value * weight
        self.weight += weight

    def compute(self) -> Tensor:
        """The mean; NaN of nothing."""
        return self.total / self.weight
