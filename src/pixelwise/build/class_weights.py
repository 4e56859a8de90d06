"""`class_weights: auto`: how much a class counts in a loss, from its share of the training labels."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from pixelwise.data.datamodule import DataModule
from pixelwise.data.survey import histograms
from pixelwise.files import read_json

log = logging.getLogger(__name__)

BOUND = 10.0
"""No weight is larger, and none is smaller than its inverse."""


def balanced(shares: Sequence[float]) -> list[float]:
    """Median frequency balancing: the median of the classes' shares over each class's own.

    After Eigen & Fergus, Predicting Depth, Surface Normals and Semantic Labels, ICCV 2015
    (arXiv:1411.4734). Their share of a class is taken over the images that hold it, which with one label
    an image is 1 whatever the class; here it is over the whole split. Weights end at `BOUND` and its
    inverse, as the few pixels of a class ten times rarer than the median would otherwise steer the steps.

    Args:
        shares: (K,) of the labelled pixels or images; those of classes without any are 0.

    Returns:
        One weight for each class in four digits, so that what is printed is what is used; 1 for a class
        that is never labelled, which has nothing to weigh.
    """
    present = [share for share in shares if share > 0]
    median = float(np.median(present)) if present else 1.0
    weights = [median / share if share > 0 else 1.0 for share in shares]
    return [float(f"{min(max(weight, 1 / BOUND), BOUND):.4g}") for weight in weights]


def resolve(config: DictConfig, data: DataModule, folder: Path) -> None:
    """Replace each `class_weights: auto` of the losses by numbers, in place, and say so.

    Args:
        config: of a run, its interpolations resolved.
        data: whose training split is counted …
        folder: … unless this run folder says what it held when the run was started.
    """
    losses = _losses(config)
    followed = OmegaConf.to_container(config.loss)
    told = {key for key, loss in losses.items() if key == "loss" or OmegaConf.to_container(loss) != followed}
    automatic = {key: list(_automatic(loss, key)) for key, loss in losses.items()}
    if not any(automatic.values()):
        return
    shares, counted = _shares(data, folder)
    weights = balanced(shares)
    numbers = "[" + ",".join(f"{weight:g}" for weight in weights) + "]"
    words = []
    for key, places in automatic.items():
        for node, place in places:
            node.class_weights = weights
            words += [f"{place}={numbers}"] if key in told else []
    log.info(
        "%s: median share of a class over its own, %s; pin it with these words", " ".join(words), counted
    )


def drop_auto(config: DictConfig) -> None:
    """Take each `class_weights: auto` out of the losses, in place: their parts need no label counted."""
    for key, loss in _losses(config).items():
        for node, _ in _automatic(loss, key):
            node.class_weights = None


def _losses(config: DictConfig) -> dict[str, Any]:
    """The global loss and those of phases that have their own, by their places in the config."""
    phases = {name: phase for name, phase in config.schedule.phases.items() if phase and phase.get("loss")}
    return {"loss": config.loss} | {f"schedule.phases.{name}.loss": p.loss for name, p in phases.items()}


def _automatic(node: Any, key: str) -> Iterator[tuple[DictConfig, str]]:
    """Every node of a loss that leaves its class weights to the data, with the place of these."""
    if not OmegaConf.is_dict(node):
        return
    for name, value in node.items():
        if name == "class_weights" and value == "auto":
            yield node, f"{key}.{name}"
        else:
            yield from _automatic(value, f"{key}.{name}")


def _shares(data: DataModule, folder: Path) -> tuple[list[float], str]:
    """Share of each class in the training labels, and where the shares come from."""
    shares = read_json(folder / "data.json").get("train", {}).get("shares", {})
    if list(shares) == list(data.classes):
        return list(shares.values()), "as counted when the run was started"
    return histograms(data)["train"].shares.tolist(), "counted in the training split"
