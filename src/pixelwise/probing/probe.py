"""One probe of an encoder: of images or of pixels, by the task of its config."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
from omegaconf import DictConfig, OmegaConf

from pixelwise import build
from pixelwise.data import DataModule
from pixelwise.errors import UserError
from pixelwise.models import Composition, PixelHead
from pixelwise.probing.cache import Features, cached
from pixelwise.probing.features import Extraction, digest
from pixelwise.probing.heads import Setting, fit
from pixelwise.probing.scoring import head_scores, neighbour_scores
from pixelwise.protocols import EvaluationProtocol
from pixelwise.runtime.device import precision

HEADS, NEIGHBOURS = "linear head", "nearest neighbours"
"""Names of the trials."""


@dataclass
class Trial:
    """One head, or one number of neighbours, with its scores by name.

    Attributes:
        settings: learning rate and weight decay, or the number of neighbours.
        val: scores on the validation split.
        test: scores on the test split; only of the best trial, and None without a test split.
    """

    settings: dict[str, float]
    val: dict[str, float]
    test: dict[str, float] | None = None


@dataclass
class Result:
    """What a probe found.

    Attributes:
        task: "classification", "tagging" or "segmentation".
        score: name of the score that chooses the best trial.
        features: number of features of an image, or of a position with its stride.
        images: number of images in each split.
        encoder_seconds: duration of one pass of the encoder over the training split, without reading images.
        epoch_seconds: duration of an epoch of all heads over the same images.
        trials: those of `HEADS` and, with one class per image, of `NEIGHBOURS`.
        best: the index of the best trial of each, by the score on val.
    """

    task: str
    score: str
    features: str
    images: dict[str, int]
    encoder_seconds: float
    epoch_seconds: float
    trials: dict[str, list[Trial]]
    best: dict[str, int]


def probe(config: DictConfig, data: DataModule) -> Result:
    """Probe the encoder of a config on its task.

    Args:
        config: the resolved config of `conf/probe.yaml` for one task.
        data: its data.

    Raises:
        UserError: the model has more to train than a linear layer, `data.eval` is set, or the cache cannot be
            used.
    """
    if data.protocol != EvaluationProtocol():
        raise UserError(
            "data.eval: a probe sees each image once, at its own size",
            found=", ".join(f"{key}={value}" for key, value in vars(data.protocol).items()),
            fix="data.eval.resize=null data.eval.window=null data.eval.stride=null",
        )
    L.seed_everything(config.seed, workers=True, verbose=False)
    model = build.model(config)
    check(model)
    build.resolve_statistics(model, config, data)
    data.follow((), lambda epoch, batch: 0, mean=lambda: model.normalize.mean.tolist())
    bf16 = precision(config.trainer.precision, "auto").startswith("bf16")
    stored = {
        name: extracted(config, model, data, name, bf16) for name, split in data.splits.items() if split
    }
    of_pixels, options = isinstance(model.head, PixelHead), config.probe
    grid = [Setting(rate, decay) for decay in options.weight_decays for rate in options.learning_rates]
    batch = options.pixel_batch if of_pixels else options.image_batch
    heads, seconds = fit(
        grid, stored["train"], len(data.classes), options.epochs, batch, config.seed, of_pixels
    )
    metric = build.make(config.task.scores, "task.scores", classes=data.classes)
    size, stride = stored["train"].features.shape[1], model.encoder.strides[-1]  # type: ignore[index]
    result = Result(
        task=config.task.name,
        score=config.task.monitor.removeprefix("val/"),
        features=f"{size} at stride {stride}" if of_pixels else f"{size}",
        images={name: len(features) for name, features in stored.items()},
        encoder_seconds=stored["train"].seconds,
        epoch_seconds=seconds,
        trials={},
        best={},
    )
    add = partial(add_trials, result, stored, config.task.mode)
    add(HEADS, [s._asdict() for s in grid], partial(head_scores, heads, metric))
    if stored["val"].labels.dtype == np.int64:
        counts = sorted({min(k, len(stored["train"])) for k in options.neighbours})
        score = partial(neighbour_scores, stored["train"], counts, options.temperature, metric)
        add(NEIGHBOURS, [{"neighbours": k} for k in counts], score)
    return result


def add_trials(
    result: Result,
    stored: Mapping[str, Features],
    mode: str,
    name: str,
    settings: Sequence[dict[str, float]],
    score: Callable[[Features, Sequence[int]], list[dict[str, float]]],
) -> None:
    """Score all trials on val, choose the best (the first of equal ones) and score it on test."""
    found = score(stored["val"], range(len(settings)))
    trials = [Trial(*each) for each in zip(settings, found, strict=True)]
    values = [(1 if mode == "max" else -1) * scores[result.score] for scores in found]
    best = int(np.argmax(np.nan_to_num(values, nan=-np.inf)))
    if "test" in stored:
        (trials[best].test,) = score(stored["test"], [best])
    result.trials[name], result.best[name] = trials, best


def check(model: Composition) -> None:
    """Refuse a model in which more than a linear layer would have to be trained."""
    neck, pool = getattr(model.encoder, "neck", None), getattr(model.head, "pool", None)
    if neck is not None:
        raise UserError(
            "encoder.neck: the pyramid has no pretrained weights", fix="decoder.encoder_neck=false"
        )
    if pool is not None and [*pool.parameters()]:
        raise UserError(
            "pool: a probe trains a linear layer only, and this pool has weights of its own",
            found=type(pool).__name__,
            expected="avg, token or token_avg",
            fix="python train.py task=classification schedule=linear_probe trains the pool, too",
        )


def extracted(config: DictConfig, model: Composition, data: DataModule, split: str, bf16: bool) -> Features:
    """The features of a split from the cache; its key names everything that they depend on."""
    plain: Any = OmegaConf.to_container(config)
    key = {
        "data": {name: data.fingerprint[name] for name in ("classes", split)},
        "view": {name: plain["data"].get(name) for name in ("source", "target", "eval_size")},
        "model": {name: plain[name] for name in ("encoder", "decoder")} | {"head": plain["task"]["head"]},
        "weights": digest(model),
        "bf16": bf16,
    }
    cache, name = Path(config.probe.cache).expanduser(), f"{plain['task']['name']}_{split}"
    return cached(cache, name, key, lambda: Extraction(model, data, split, bf16))
