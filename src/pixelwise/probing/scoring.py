"""Scores of linear heads and of nearest neighbours, with the metrics of the task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pixelwise.probing.cache import Features
from pixelwise.probing.heads import Heads


@torch.inference_mode()
def head_scores(
    heads: Heads, chosen: Sequence[int], features: Features, metric: Any
) -> list[dict[str, float]]:
    """Return the scores of some heads on a split; logits of a map are resized as `PixelHead` does.

    Args:
        heads: the trained heads.
        chosen: indices of the heads to score.
        features: the split.
        metric: the scores of the task; it is copied.
    """
    metrics = [metric.clone().to(heads.mean.device) for _ in chosen]
    for rows, map_size, labels in _batches(features):
        logits, target = heads(rows.to(heads.mean.device)), labels.to(heads.mean.device).long()
        for each, head in zip(metrics, chosen, strict=True):
            own = logits[:, head]
            if target.ndim == 3:
                own = own.T.reshape(1, -1, *map_size)
                own = F.interpolate(own, size=target.shape[1:], mode="bilinear", align_corners=False)
            each.update(own, target)
    return [_numbers(each) for each in metrics]


@torch.inference_mode()
def neighbour_scores(
    features: Mapping[str, Features], split: str, counts: Sequence[int], metric: Any, temperature: float
) -> dict[int, dict[str, float]]:
    """Return the scores on a split by number of neighbours; for images with one class.

    Args:
        features: of the training split, and of the split to score.
        split: its name.
        counts: numbers of neighbours.
        metric: the scores of the task; it is copied.
        temperature: see `votes`.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train, scored = features["train"], features[split]
    classes = len(metric.classes)
    labels = torch.from_numpy(train.labels.reshape(-1, classes).argmax(1)).to(device)
    known, queries = (torch.from_numpy(np.array(f.features)).to(device) for f in (train, scored))
    target, found = torch.from_numpy(np.array(scored.labels)).to(device), {}
    for k, voted in votes(known, labels, queries, counts, classes, temperature).items():
        own = metric.clone().to(device)
        own.update(voted, target)
        found[k] = _numbers(own)
    return found


def votes(
    train: Tensor, labels: Tensor, queries: Tensor, counts: Sequence[int], classes: int, temperature: float
) -> dict[int, Tensor]:
    """Return the votes for each class, weighted by exp(cosine similarity / temperature).

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
        (M, K) by k.
    """
    train, queries = F.normalize(train), F.normalize(queries)
    found: dict[int, list[Tensor]] = {k: [] for k in counts}
    for chunk in queries.split(1024):
        similarity, indices = (chunk @ train.T).topk(max(counts))
        weights, voted = ((similarity - 1) / temperature).exp(), labels[indices]  # at most 1
        for k in counts:
            empty = torch.zeros(len(chunk), classes, device=chunk.device)
            found[k].append(empty.scatter_add(1, voted[:, :k], weights[:, :k]))
    return {k: torch.cat(parts) for k, parts in found.items()}


def _batches(features: Features) -> Iterator[tuple[Tensor, Sequence[int], Tensor]]:
    """Features (R, D), (h, w) and labels: of 1,024 images, or of the map of one image."""
    of_pixels, of_tags = features.labels.dtype == np.uint8, features.labels.dtype == np.float32
    count = 1 if of_pixels else 1024
    for start in range(0, len(features), count):
        rows, labels = features.of(range(start, min(start + count, len(features))))
        size = features.label_sizes[start].tolist()
        shape = size if of_pixels else size[:1] if of_tags else []
        yield (
            torch.from_numpy(rows),
            features.map_sizes[start].tolist(),
            torch.from_numpy(labels).reshape(-1, *shape),
        )


def _numbers(metric: Any) -> dict[str, float]:
    return {name: float(value) for name, value in metric.compute().items()}
