"""Linear heads with different learning rates and weight decays, trained together on stored features."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from time import perf_counter
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pixelwise.probing.cache import Features
from pixelwise.types import IGNORE

FINER = 2
"""The loss of pixels is computed on logits of twice the height and width of the map."""


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

    AdamW (Loshchilov & Hutter, ICLR 2019; arXiv:1711.05101) trains each head as if it were alone: at its own
    learning rate, which falls as half a cosine, and with its own weight decay, which the bias does not have.
    `torch.optim.AdamW` would need a parameter group for each head, and then more time than all the rest.

    Attributes:
        matrix: (D + 1, K, H) weights of all heads, at first 0; the last row holds the biases.

    Args:
        settings: of the H heads.
        mean: (D,) mean of the features.
        std: (D,) deviation of the features.
        classes: K.
        steps: number of optimizer steps.
    """

    BETAS, EPS = (0.9, 0.999), 1e-8

    def __init__(
        self, settings: Sequence[Setting], mean: Tensor, std: Tensor, classes: int, steps: int
    ) -> None:
        self.mean, self.std, self.steps, self.done = mean, std, steps, 0
        shape = (len(mean) + 1, classes, len(settings))
        self.matrix, self.first, self.second = (torch.zeros(shape, device=mean.device) for _ in range(3))
        self.matrix.requires_grad_()
        self.rates, self.decays = torch.tensor(settings, device=mean.device).T

    def __call__(self, features: Tensor) -> Tensor:
        """Features (R, D) → logits (R, K, H)."""
        *weights, bias = self.matrix.flatten(1).split([len(self.mean), 1])
        logits = torch.addmm(bias, (features - self.mean) / self.std, *weights)
        return logits.view(len(features), *self.matrix.shape[1:])

    def step(
        self, features: Tensor, targets: Tensor, map_sizes: Sequence[Sequence[int]] | None = None
    ) -> Tensor:
        """Train all heads on one batch and return their losses (H,).

        Args:
            features: (R, D).
            targets: see `losses`; for positions of maps, see `features.targets`.
            map_sizes: (h, w) of the maps one after the other, if the features are positions of maps.
        """
        with torch.enable_grad():
            logits = self(features) if map_sizes is None else finer(self(features), map_sizes)
            each = losses(logits, targets)
            (grad,) = torch.autograd.grad(each.sum(), self.matrix)
        rates = self.rates * (1 + math.cos(math.pi * self.done / self.steps)) / 2
        self.done += 1
        corrections = [1 - beta**self.done for beta in self.BETAS]
        with torch.no_grad():
            self.first.lerp_(grad, 1 - self.BETAS[0])
            self.second.lerp_(grad * grad, 1 - self.BETAS[1])
            self.matrix[:-1] *= 1 - rates * self.decays
            scale = (self.second / corrections[1]).sqrt() + self.EPS
            self.matrix -= rates / corrections[0] * self.first / scale
        return each.detach()


def finer(logits: Tensor, map_sizes: Sequence[Sequence[int]]) -> Tensor:
    """Resize the logits of maps by `FINER`, bilinearly as `PixelHead` does: (R, K, H) → (FINER² R, K, H).

    With the targets of `features.targets` this comes close to the loss of each pixel under resized logits, as
    in training, at a fraction of its cost. Without it, heads on coarse maps learn to miss small objects.
    """
    runs = [(size, len([*same])) for size, same in groupby(map(tuple, map_sizes))]
    parts = logits.flatten(1).split([height * width * count for (height, width), count in runs])
    resized = []
    for ((height, width), count), part in zip(runs, parts, strict=True):
        maps = part.view(count, height, width, -1).permute(0, 3, 1, 2)
        maps = F.interpolate(maps, scale_factor=FINER, mode="bilinear", align_corners=False)
        resized.append(maps.permute(0, 2, 3, 1).reshape(-1, *logits.shape[1:]))
    return torch.cat(resized)


def losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the loss of each head (H,).

    Args:
        logits: (R, K, H).
        targets: (R, K) pixels of each class, for the cross-entropy per pixel; or floats 0 and 1 with
            `IGNORE`, for the binary cross-entropy per label.
    """
    targets = targets[:, :, None]
    if targets.is_floating_point():
        known = (targets != IGNORE).float()
        entropy = F.binary_cross_entropy_with_logits(
            logits, targets.expand_as(logits), known, reduction="none"
        )
        return entropy.sum((0, 1)) / known.sum().clamp(min=1)
    counts = targets.to(logits.dtype)
    return -(logits.log_softmax(1) * counts).sum((0, 1)) / counts.sum().clamp(min=1)


def fit(
    settings: Sequence[Setting],
    features: Features,
    classes: int,
    epochs: int,
    batch: int,
    seed: int,
    of_pixels: bool,
) -> tuple[Heads, float]:
    """Train heads on the features of a split.

    Args:
        settings: of the H heads.
        features: the features of the training split.
        classes: K.
        epochs: passes over the features.
        batch: images per step.
        seed: of the order of the images.
        of_pixels: whether the features are positions of maps.

    Returns:
        The heads, and the mean duration of an epoch in seconds.
    """
    mean, std = (torch.from_numpy(array).to(device()) for array in statistics(features.features))
    heads = Heads(settings, mean, std, classes, epochs * math.ceil(len(features) / batch))
    order = torch.Generator().manual_seed(seed)
    start = perf_counter()
    for _ in range(epochs):
        for samples in torch.randperm(len(features), generator=order).split(batch):
            chosen = sorted(samples.tolist())  # maps of one size follow each other
            rows, labels = features.of(chosen)
            targets = torch.from_numpy(labels.reshape(-1, classes))
            if labels.dtype == np.uint32:
                targets = targets.to(torch.int64)
            sizes = features.map_sizes[chosen].tolist() if of_pixels else None
            heads.step(torch.from_numpy(rows).to(device()), targets.to(device()), sizes)
    return heads, (perf_counter() - start) / epochs


def device() -> torch.device:
    """Return the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


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
