"""Scores of single samples."""

from __future__ import annotations

import torch
from torch import Tensor

from pixelwise.metrics.confusion import iou
from pixelwise.types import IGNORE


def sample_scores(logits: Tensor, target: Tensor) -> Tensor:
    """How well each sample is answered (B,), 1 at best; NaN where nothing is labelled.

    Args:
        logits: (B, K) or (B, K, H, W).
        target: masks (B, H, W) give the IoU averaged over the classes of the image; classes (B,) and labels
            (B, K) give the probability of the truth, averaged over the labels.
    """
    if target.ndim == 3:
        return torch.stack([iou(matrix).nanmean() for matrix in confusion_by_sample(logits, target)])
    if target.ndim == 2:
        yes = logits.float().sigmoid()
        return torch.where(target > 0, yes, 1 - yes).mean(1)
    known = target < logits.shape[1]
    truth = logits.float().softmax(1).gather(1, target.where(known, 0)[:, None])[:, 0]
    return truth.where(known, torch.nan)


def confusion_by_sample(logits: Tensor, target: Tensor) -> Tensor:
    """(B, K, K) counts for logits (B, K, H, W) and masks (B, H, W) that were checked: one count for all."""
    count, classes = logits.shape[:2]
    pairs = torch.add(logits.max(1).indices, target, alpha=classes).flatten(1)
    pairs = pairs.where(target.flatten(1) != IGNORE, classes * classes)
    pairs += torch.arange(count, device=pairs.device)[:, None] * (classes * classes + 1)
    counts = torch.bincount(pairs.flatten(), minlength=count * (classes * classes + 1))
    return counts.view(count, -1)[:, :-1].view(count, classes, classes)
