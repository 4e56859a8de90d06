"""Scores of linear heads and of nearest neighbours, with the metrics of the task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pixelwise.probing.cache import Features
from pixelwise.probing.heads import Heads, device


@torch.inference_mode()
def head_scores(
    heads: Heads, metric: Any, features: Features, chosen: Sequence[int]
) -> list[dict[str, float]]:
    """Return the scores of some heads on a split; logits of a map are resized as `PixelHead` does.

    Args:
        heads: the trained heads.
        metric: the scores of the task; it is copied.
        features: the split.
        chosen: indices of the heads to score.
    """
    metrics = [metric.clone().to(device()) for _ in chosen]
    for rows, map_size, target in _batches(features):
        logits = heads(rows)
        for each, head in zip(metrics, chosen, strict=True):
            own = logits[:, :, head]
            if target.ndim == 3:
                own = own.T.reshape(1, -1, *map_size)
                own = F.interpolate(own, size=target.shape[1:], mode="bilinear", align_corners=False)
            each.update(own, target)
    return [_numbers(each) for each in metrics]


def _batches(features: Features) -> Iterator[tuple[Tensor, Sequence[int], Tensor]]:
    """Features (R, D), (h, w) and labels: of 1,024 images, or of the map of one image."""
    of_pixels, of_tags = features.labels.dtype == np.uint8, features.labels.dtype == np.float32
    count = 1 if of_pixels else 1024
    for start in range(0, len(features), count):
        rows, labels = features.of(range(start, min(start + count, len(features))))
        size = features.label_sizes[start].tolist()
        shape = size if of_pixels else size[:1] if of_tags else []
        target = torch.from_numpy(labels).reshape(-1, *shape).to(device()).long()
        yield torch.from_numpy(rows).to(device()), features.map_sizes[start].tolist(), target


@torch.inference_mode()
def neighbour_scores(
    train: Features,
    counts: Sequence[int],
    temperature: float,
    metric: Any,
    features: Features,
    chosen: Sequence[int],
) -> list[dict[str, float]]:
    """Return the scores of nearest neighbours on a split; for images with one class.

    Args:
        train: the training split.
        counts: numbers of neighbours.
        temperature: see `votes`.
        metric: the scores of the task; it is copied.
        features: the split to score.
        chosen: indices of the numbers to use.
    """
    classes, found = len(metric.classes), []
    labels = torch.from_numpy(train.labels.reshape(-1, classes).argmax(1)).to(device())
    known, queries = (torch.from_numpy(np.array(f.features)).to(device()) for f in (train, features))
    target = torch.from_numpy(np.array(features.labels)).to(device())
    for voted in votes(known, labels, queries, [counts[i] for i in chosen], classes, temperature):
        own = metric.clone().to(device())
        own.update(voted, target)
        found.append(_numbers(own))
    return found


def votes(
    train: Tensor, labels: Tensor, queries: Tensor, counts: Sequence[int], classes: int, temperature: float
) -> list[Tensor]:
    """Return the votes of nearest neighbours, weighted by exp(cosine similarity / temperature).

    Source: Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination, CVPR 2018
    (arXiv:1805.01978), as in DINO (Caron et al., ICCV 2021; arXiv:2104.14294).

    Args:
        train: (N, D) features of the training images.
        labels: (N,) their class indices.
        queries: (M, D) features of the images to classify.
        counts: numbers k of neighbours, each at most N.
        classes: K.
        temperature: above 0.

    Returns:
        (M, K) for each k.
    """
    train, queries = F.normalize(train), F.normalize(queries)
    found: list[list[Tensor]] = [[] for _ in counts]
    for chunk in queries.split(1024):
        similarity, indices = (chunk @ train.T).topk(max(counts))
        weights, voted = ((similarity - 1) / temperature).exp(), labels[indices]  # at most 1
        for k, parts in zip(counts, found, strict=True):
            empty = torch.zeros(len(chunk), classes, device=chunk.device)
            parts.append(empty.scatter_add(1, voted[:, :k], weights[:, :k]))
    return [torch.cat(parts) for parts in found]


def _numbers(metric: Any) -> dict[str, float]:
    return {name: float(value) for name, value in metric.compute().items()}
