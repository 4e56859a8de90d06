"""Scores of single samples."""

from __future__ import annotations

import torch
from torch import Tensor

from pixelwise.metrics.confusion import iou
from pixelwise.types import IGNORE


def sample_scores(logits: Tensor, target: Tensor) -> Tensor:
    """Return the score of each sample (B,): 1 at best, NaN if nothing is labelled.

    Args:
        logits: (B, K) or (B, K, H, W).
        target: for masks (B, H, W), the score is the mean IoU over the classes of the image; for classes
            (B,) and labels (B, K), it is the predicted probability of the truth, averaged over the labels.
    """
    if target.ndim == 3:
        return torch.stack([iou(matrix).nanmean() for matrix in confusion_by_sample(logits, target)])
    if target.ndim == 2:
        present = logits.float().sigmoid()
        return torch.where(target > 0, present, 1 - present).mean(1)
    labelled = target < logits.shape[1]
    truth = logits.float().softmax(1).gather(1, target.where(labelled, 0)[:, None])[:, 0]
    return truth.where(labelled, torch.nan)


def confusion_by_sample(logits: Tensor, target: Tensor) -> Tensor:
    """Return the confusion matrices (B, K, K) of logits (B, K, H, W) and valid masks (B, H, W)."""
    count, classes = logits.shape[:2]
    pairs = torch.add(logits.max(1).indices, target, alpha=classes).flatten(1)
    pairs = pairs.where(target.flatten(1) != IGNORE, classes * classes)
    pairs += torch.arange(count, device=pairs.device)[:, None] * (classes * classes + 1)
    counts = torch.bincount(pairs.flatten(), minlength=count * (classes * classes + 1))
    return counts.view(count, -1)[:, :-1].view(count, classes, classes)
