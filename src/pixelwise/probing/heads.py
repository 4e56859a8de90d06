"""Linear heads with different learning rates and weight decays, trained together on stored features."""

from __future__ import annotations

import math
from collections.abc import Sequence
from time import perf_counter
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pixelwise.probing.cache import Features
from pixelwise.types import IGNORE


class Setting(NamedTuple):
    """The settings of one head."""

    learning_rate: float
    weight_decay: float


class Heads:
    """H linear layers on standardised features, as one matrix.

    The features of the training split have mean 0 and deviation 1 in each channel, so that one learning rate
    suits every encoder. This is batch-norm without scale and shift in front of the linear layer, as in MAE
    (He et al., CVPR 2022; arXiv:2111.06377) and, for pixels, in DINOv3 (Siméoni et al., 2025;
    arXiv:2508.10104), with the statistics of the split instead of a batch.

    AdamW trains each head as if it were alone: at its own learning rate, which falls as half a cosine, and
    with its own weight decay, which the bias does not have. All weights start at 0.

    Args:
        settings: of the H heads.
        mean: (D,) mean of the features.
        std: (D,) deviation of the features.
        classes: K.
        steps: number of optimizer steps.
    """

    def __init__(
        self, settings: Sequence[Setting], mean: Tensor, std: Tensor, classes: int, steps: int
    ) -> None:
        self.mean, self.std, self.classes = mean, std, classes
        shapes = [(len(mean), classes), (classes,)]
        self.weights, self.biases = (
            [torch.zeros(shape, device=mean.device, requires_grad=True) for _ in settings] for shape in shapes
        )
        groups = [
            {"params": [parameter], "lr": setting.learning_rate, "weight_decay": decay}
            for setting, weight, bias in zip(settings, self.weights, self.biases, strict=True)
            for parameter, decay in ((weight, setting.weight_decay), (bias, 0.0))
        ]
        self.optimizer = torch.optim.AdamW(groups, fused=True)
        self.curve = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, steps)

    def __call__(self, features: Tensor) -> Tensor:
        """Features (R, D) → logits (R, H, K)."""
        matrix, bias = torch.cat(self.weights, dim=1), torch.cat(self.biases)
        logits = torch.addmm(bias, (features - self.mean) / self.std, matrix)
        return logits.view(len(features), len(self.weights), self.classes)

    def step(self, features: Tensor, targets: Tensor) -> Tensor:
        """Train all heads on one batch and return their losses (H,); the arguments are those of `losses`."""
        each = losses(self(features), targets)
        self.optimizer.zero_grad()
        each.sum().backward()
        self.optimizer.step()
        self.curve.step()
        return each.detach()


def losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the loss of each head (H,).

    Args:
        logits: (R, H, K).
        targets: (R, K) pixels of each class, for the cross-entropy per pixel; or floats 0 and 1 with
            `IGNORE`, for the binary cross-entropy per label.
    """
    if targets.is_floating_point():
        known = (targets != IGNORE).float()
        each = F.binary_cross_entropy_with_logits(
            logits, targets[:, None].expand_as(logits), known[:, None], reduction="none"
        )
        return each.sum((0, 2)) / known.sum().clamp(min=1)
    counts = targets.to(logits.dtype)
    return -(logits.log_softmax(-1) * counts[:, None]).sum((0, 2)) / counts.sum().clamp(min=1)


def fit(
    settings: Sequence[Setting], features: Features, classes: int, epochs: int, batch: int, seed: int
) -> tuple[Heads, float]:
    """Train heads on the features of a split.

    Args:
        settings: of the H heads.
        features: the features of the training split.
        classes: K.
        epochs: passes over the features.
        batch: images per step.
        seed: of the order of the images.

    Returns:
        The heads, and the mean duration of an epoch in seconds.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    mean, std = (torch.from_numpy(array).to(device) for array in statistics(features.features))
    heads = Heads(settings, mean, std, classes, epochs * math.ceil(len(features) / batch))
    order = torch.Generator().manual_seed(seed)
    start = perf_counter()
    for _ in range(epochs):
        for samples in torch.randperm(len(features), generator=order).split(batch):
            rows, labels = features.of(sorted(samples.tolist()))
            targets = torch.from_numpy(labels.reshape(-1, classes))
            if labels.dtype == np.uint32:
                targets = targets.to(torch.int64)
            heads.step(torch.from_numpy(rows).to(device), targets.to(device))
    return heads, (perf_counter() - start) / epochs


def statistics(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and deviation of each channel (D,) as float32; 1 for a constant channel."""
    total, squares = np.zeros((2, features.shape[1]))
    for start in range(0, len(features), 65536):
        block = features[start : start + 65536].astype(np.float64)
        total += block.sum(0)
        squares += (block**2).sum(0)
    mean = total / len(features)
    std = np.sqrt(np.maximum(squares / len(features) - mean**2, 0))
    return mean.astype(np.float32), np.where(std > 1e-6, std, 1).astype(np.float32)
