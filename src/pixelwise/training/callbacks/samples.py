"""Single samples of an evaluation: selection by score, and predictions for selected samples."""

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
from pixelwise.training.callbacks.evaluation import pixels_of
from pixelwise.training.module import Module
from pixelwise.types import Batch


@dataclass(frozen=True)
class SamplePrediction:
    """A sample with its ground truth and prediction.

    Attributes:
        key: the sample's name.
        image: (H, W, 3) uint8.
        target: (H, W) or () class indices with `IGNORE`, or (K,) labels 0 and 1; uint8.
        prediction: like `target`.
        score: the score that `sample_scores` gives.
    """

    key: str
    image: np.ndarray
    target: np.ndarray
    prediction: np.ndarray
    score: float


def choose(scores: Sequence[float], most: int) -> dict[int, str]:
    """Select up to `most` positions each with best, median and worst scores: position → "best" and so on."""
    order = sorted((i for i, score in enumerate(scores) if score == score), key=lambda i: -scores[i])
    most = min(most, max(1, len(order) // 3))
    middle = max(0, (len(order) - most) // 2)
    chosen = dict.fromkeys(order[middle : middle + most], "median") if len(order) > 2 else {}
    best, worst = dict.fromkeys(order[:most], "best"), dict.fromkeys(order[::-1][:most], "worst")
    return best | chosen | {i: name for i, name in worst.items() if i not in best}


def predict_samples(
    trainer: L.Trainer, module: Module, loader: EvaluationLoader, indices: Sequence[int]
) -> list[SamplePrediction]:
    """Predict some samples of a split, in batches like those of an evaluation.

    All processes must call this with the same samples, because the weights can be sharded over processes.

    Args:
        trainer: the trainer of the run.
        module: the module; its mode (training or evaluation) is restored.
        loader: the evaluation loader of the split.
        indices: the samples in the split.

    Returns:
        The predictions, in the order of the indices.
    """
    if not indices:  # all labels of the split are ignored
        return []
    samples, batch_sampler = loader.dataset, loader.batch_sampler
    assert isinstance(samples, Samples)
    assert isinstance(batch_sampler, EvaluationBatches)
    predicted: dict[int, SamplePrediction] = {}
    training = module.training
    module.eval()
    for draws in EvaluationBatches(
        [batch_sampler.sizes[i] for i in indices], batch_sampler.batch_size
    ).batches:
        drawn = [samples[SampleIndex(0, 0, indices[draw.sample])] for draw in draws]
        batch: Batch = trainer.strategy.batch_to_device(loader.collate_fn(drawn))
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            logits = module.evaluated(module.model, batch["image"], batch["target"].shape[-2:])
        targets = batch["target"]
        images = pixels_of(module, batch["image"], targets)
        scores, predictions = sample_scores(logits, targets), module.predict_labels(logits)
        for row, draw in enumerate(draws):
            target, prediction = (
                labels[row].cpu().numpy().astype(np.uint8) for labels in (targets, predictions)
            )
            predicted[draw.sample] = SamplePrediction(
                batch["key"][row], rgb(images[row]), target, prediction, float(scores[row])
            )
    module.train(training)
    return [predicted[position] for position in range(len(indices))]
