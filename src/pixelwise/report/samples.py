"""Single samples of an evaluation: how well each was answered, and the answers to a chosen few."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import lightning as L
import numpy as np
import torch
from torch import Tensor

from pixelwise.data.batches import Draw, EvaluationBatches
from pixelwise.data.loader import EvaluationLoader, Samples
from pixelwise.module import Module
from pixelwise.report.pictures import rgb
from pixelwise.scores import iou
from pixelwise.types import IGNORE, Batch


@dataclass(frozen=True)
class Answer:
    """A sample with its truth and what the model says of it.

    Attributes:
        key: the sample's name.
        image: (H, W, 3) uint8.
        target: (H, W) or () class indices with `IGNORE`, or (K,) yes and no; uint8.
        prediction: likewise.
        score: as `sample_scores`.
    """

    key: str
    image: np.ndarray
    target: np.ndarray
    prediction: np.ndarray
    score: float


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


def choose(scores: Sequence[float], most: int) -> dict[int, str]:
    """Positions of the best, the middle and the worst scores, `most` of each: position → "best" and so on."""
    order = sorted((i for i, score in enumerate(scores) if score == score), key=lambda i: -scores[i])
    most = min(most, max(1, len(order) // 3))
    middle = max(0, (len(order) - most) // 2)
    chosen = dict.fromkeys(order[middle : middle + most], "median") if len(order) > 2 else {}
    best, worst = dict.fromkeys(order[:most], "best"), dict.fromkeys(order[::-1][:most], "worst")
    return best | chosen | {i: name for i, name in worst.items() if i not in best}


def answers(
    trainer: L.Trainer, module: Module, loader: EvaluationLoader, indices: Sequence[int]
) -> list[Answer]:
    """Ask the model about some samples of a split, in batches as evaluation makes them.

    Every process has to ask, and asks the same, as weights may be spread over them.
    """
    if not indices:  # no label of the split counts
        return []
    samples, batch_sampler = loader.dataset, loader.batch_sampler
    assert isinstance(samples, Samples)
    assert isinstance(batch_sampler, EvaluationBatches)
    found: dict[int, Answer] = {}
    training = module.training
    module.eval()
    for batch_of in EvaluationBatches(
        [batch_sampler.sizes[i] for i in indices], batch_sampler.batch_size
    ).batches:
        drawn = [samples[Draw(0, 0, indices[draw.sample])] for draw in batch_of]
        batch: Batch = trainer.strategy.batch_to_device(loader.collate_fn(drawn))
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            logits = module(batch["image"])
        images = module.model.normalize.undo(batch["image"]).float().cpu().permute(0, 2, 3, 1).numpy()
        targets = batch["target"]
        scores, predictions = sample_scores(logits, targets), module.decide(logits)
        for row, draw in enumerate(batch_of):
            target, prediction = (
                labels[row].cpu().numpy().astype(np.uint8) for labels in (targets, predictions)
            )
            found[draw.sample] = Answer(
                batch["key"][row], rgb(images[row]), target, prediction, float(scores[row])
            )
    module.train(training)
    return [found[position] for position in range(len(indices))]
