"""`class_weights: auto`: weights of the classes in a loss, from their shares of the training labels."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from pixelwise.data.datamodule import DataModule
from pixelwise.data.survey import histograms
from pixelwise.runs import records

log = logging.getLogger(__name__)

BOUND = 10.0
"""The largest weight; the smallest weight is its inverse."""


def balanced(shares: Sequence[float]) -> list[float]:
    """Median frequency balancing: the weight of a class is the median of all shares divided by its share.

    After Eigen & Fergus, Predicting Depth, Surface Normals and Semantic Labels, ICCV 2015
    (arXiv:1411.4734). They compute the share of a class over the images that contain it; with one label per
    image, this share is 1 for every class. Here it is computed over the whole split. Weights are limited to
    [1 / `BOUND`, `BOUND`]; otherwise the few pixels of a very rare class would dominate the gradient.

    Args:
        shares: (K,) shares of the labelled pixels or images; 0 for classes without labels.

    Returns:
        One weight per class, rounded to four digits as in the log; 1 for a class without labels.
    """
    present = [share for share in shares if share > 0]
    median = float(np.median(present)) if present else 1.0
    weights = [median / share if share > 0 else 1.0 for share in shares]
    return [float(f"{min(max(weight, 1 / BOUND), BOUND):.4g}") for weight in weights]


def resolve_auto(config: DictConfig, data: DataModule, folder: Path) -> None:
    """Replace each `class_weights: auto` of the losses by numbers, in place, and log them.

    Args:
        config: the config of a run, with resolved interpolations.
        data: the data whose training labels are counted if the run folder has no shares of the classes.
        folder: the run folder, whose data.json records the shares of the classes when the run was started.
    """
    losses = _losses(config)
    common = OmegaConf.to_container(config.loss)
    logged = {key for key, loss in losses.items() if key == "loss" or OmegaConf.to_container(loss) != common}
    automatic = {key: list(_automatic(loss, key)) for key, loss in losses.items()}
    if not any(automatic.values()):
        return
    shares, origin = _shares(data, folder)
    weights = balanced(shares)
    numbers = "[" + ",".join(f"{weight:g}" for weight in weights) + "]"
    overrides = []
    for key, places in automatic.items():
        for node, place in places:
            node.class_weights = weights
            overrides += [f"{place}={numbers}"] if key in logged else []
    log.info(
        "%s: median share of all classes / share of the class, %s; set these overrides to fix the weights",
        " ".join(overrides),
        origin,
    )


def drop_auto(config: DictConfig) -> None:
    """Replace each `class_weights: auto` of the losses by null, in place, without reading any label."""
    for key, loss in _losses(config).items():
        for node, _ in _automatic(loss, key):
            node.class_weights = None


def _losses(config: DictConfig) -> dict[str, Any]:
    """The global loss and the losses of phases and of auxiliary heads, by their config keys."""
    found = {"loss": config.loss}
    for key, nodes in (("schedule.phases", config.schedule.phases), ("auxiliary", config.get("auxiliary"))):
        found |= {
            f"{key}.{n}.loss": node.loss for n, node in (nodes or {}).items() if node and node.get("loss")
        }
    return found


def _automatic(node: Any, key: str) -> Iterator[tuple[DictConfig, str]]:
    """All nodes of a loss with `class_weights: auto`, with the config key of the weights."""
    if not OmegaConf.is_dict(node):
        return
    for name, value in node.items():
        if name == "class_weights" and value == "auto":
            yield node, f"{key}.{name}"
        else:
            yield from _automatic(value, f"{key}.{name}")


def _shares(data: DataModule, folder: Path) -> tuple[list[float], str]:
    """The share of each class in the training labels, and where the shares come from."""
    shares = records.read(folder / "data.json", records.Data).get("train", {}).get("shares", {})
    if list(shares) == list(data.classes):
        return list(shares.values()), "shares recorded when the run was started"
    return histograms(data)["train"].shares.tolist(), "shares of the training split"
