"""Single samples of an evaluation: how well each was answered, and the answers to a chosen few."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import lightning as L
import numpy as np
import torch

from pixelwise.data.loader import EvaluationLoader, Samples
from pixelwise.data.samplers import EvaluationBatches, SampleIndex
from pixelwise.metrics.per_sample import sample_scores
from pixelwise.reports.drawing import rgb
from pixelwise.training.module import Module
from pixelwise.types import Batch


@dataclass(frozen=True)
class SamplePrediction:
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
) -> list[SamplePrediction]:
    """Ask the model about some samples of a split, in batches as evaluation makes them.

    Every process has to ask, and asks the same, as weights may be spread over them.
    """
    if not indices:  # no label of the split counts
        return []
    samples, batch_sampler = loader.dataset, loader.batch_sampler
    assert isinstance(samples, Samples)
    assert isinstance(batch_sampler, EvaluationBatches)
    found: dict[int, SamplePrediction] = {}
    training = module.training
    module.eval()
    for batch_of in EvaluationBatches(
        [batch_sampler.sizes[i] for i in indices], batch_sampler.batch_size
    ).batches:
        drawn = [samples[SampleIndex(0, 0, indices[sample.sample])] for sample in batch_of]
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
            found[draw.sample] = SamplePrediction(
                batch["key"][row], rgb(images[row]), target, prediction, float(scores[row])
            )
    module.train(training)
    return [found[position] for position in range(len(indices))]
