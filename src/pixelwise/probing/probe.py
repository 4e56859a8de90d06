"""One probe of an encoder: of images or of pixels, by the task of its config."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
from omegaconf import DictConfig, OmegaConf

from pixelwise import build
from pixelwise.data import DataModule
from pixelwise.errors import UserError
from pixelwise.models import Composition, PixelHead
from pixelwise.models.decoders import Linear
from pixelwise.probing import cache
from pixelwise.probing.cache import Features
from pixelwise.probing.features import Extraction, digest
from pixelwise.probing.heads import Setting, fit
from pixelwise.probing.scoring import head_scores, neighbour_scores
from pixelwise.runtime.device import precision

log = logging.getLogger(__name__)


@dataclass
class Trial:
    """One head, or one number of neighbours.

    Attributes:
        settings: learning rate and weight decay, or the number of neighbours.
        val: scores on the validation split by name.
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
        mode: "max" or "min".
        images: number of images in each split.
        shape: number of features of an image, or of a position with its stride.
        encoder_seconds: duration of one pass of the encoder over the training split, without reading images.
        epoch_seconds: duration of an epoch of all heads over the same images.
        linear: all heads.
        neighbours: all numbers of neighbours; only with one class per image.
    """

    task: str
    score: str
    mode: str
    images: dict[str, int]
    shape: str
    encoder_seconds: float
    epoch_seconds: float
    linear: list[Trial]
    neighbours: list[Trial] = field(default_factory=list)

    def best(self, trials: Sequence[Trial]) -> Trial:
        """The trial with the best score on val; the first of equal ones."""
        sign = 1 if self.mode == "max" else -1
        values = [sign * trial.val[self.score] for trial in trials]
        return trials[int(np.argmax(np.nan_to_num(values, nan=-np.inf)))]

    def to_json(self) -> dict[str, Any]:
        """All numbers in plain containers."""
        kinds = ("linear", "neighbours")
        return asdict(self) | {f"best_{k}": asdict(self.best(t)) for k in kinds if (t := getattr(self, k))}


def probe(config: DictConfig, data: DataModule) -> Result:
    """Probe the encoder of a config on its task.

    Args:
        config: the resolved config of `conf/probe.yaml` for one task.
        data: its data.

    Raises:
        UserError: the config does not describe a probe, or files of the cache cannot be used.
    """
    L.seed_everything(config.seed, workers=True, verbose=False)
    model = build.model(config)
    check(model)
    if not (config.encoder.get("pretrained") or config.encoder.get("weights")):
        log.warning("the encoder has random weights: encoder.pretrained=true or encoder.weights=… loads some")
    build.resolve_statistics(model, config, data)
    data.follow((), lambda epoch, batch: 0, mean=lambda: model.normalize.mean.tolist())
    bf16 = precision(config.trainer.precision, config.trainer.accelerator).startswith("bf16")
    stored = {
        name: extracted(config, model, data, name, bf16) for name, split in data.splits.items() if split
    }
    settings, classes = config.probe, len(data.classes)
    grid = [Setting(rate, decay) for decay in settings.weight_decays for rate in settings.learning_rates]
    of_pixels = isinstance(model.head, PixelHead)
    batch = settings.pixel_batch if of_pixels else settings.image_batch
    heads, seconds = fit(grid, stored["train"], classes, settings.epochs, batch, config.seed)
    scores = build.make(config.task.scores, "task.scores", classes=data.classes)
    val = head_scores(heads, range(len(grid)), stored["val"], scores)
    channels, stride = stored["train"].features.shape[1], model.encoder.strides[-1]  # type: ignore[index]
    result = Result(
        task=config.task.name,
        score=config.task.monitor.removeprefix("val/"),
        mode=config.task.mode,
        images={name: len(features) for name, features in stored.items()},
        shape=f"{channels} at stride {stride}" if of_pixels else f"{channels}",
        encoder_seconds=stored["train"].seconds,
        epoch_seconds=seconds,
        linear=[Trial(setting._asdict(), found) for setting, found in zip(grid, val, strict=True)],
    )
    best = result.best(result.linear)
    if best.settings["learning_rate"] in (min(settings.learning_rates), max(settings.learning_rates)):
        log.info(
            "the best rate on val is the first or last of probe.learning_rates: a wider range may be better"
        )
    if "test" in stored:
        (best.test,) = head_scores(heads, [result.linear.index(best)], stored["test"], scores)
    if stored["val"].labels.dtype == np.int64:
        counts = sorted({min(k, len(stored["train"])) for k in settings.neighbours})
        found = neighbour_scores(stored, "val", counts, scores, settings.temperature)
        result.neighbours = [Trial({"neighbours": k}, found[k]) for k in counts]
        if "test" in stored:
            best = result.best(result.neighbours)
            k = int(best.settings["neighbours"])
            best.test = neighbour_scores(stored, "test", [k], scores, settings.temperature)[k]
    return result


def check(model: Composition) -> None:
    """Refuse a model in which more than a linear layer would have to be trained."""
    if not isinstance(model.decoder, Linear):
        raise UserError("decoder: a probe has none", found=type(model.decoder).__name__, fix="decoder=linear")
    pool: Any = getattr(model.head, "pool", None)
    if pool is not None and [*pool.parameters()]:
        raise UserError(
            "pool: a probe trains a linear layer only, and this pool has weights of its own",
            found=type(pool).__name__,
            expected="avg, token or token_avg",
            fix="python train.py task=classification schedule=linear_probe trains the pool, too",
        )


def extracted(config: DictConfig, model: Composition, data: DataModule, split: str, bf16: bool) -> Features:
    """The features of a split from the cache."""
    plain: Any = OmegaConf.to_container(config)
    key = {
        "split": split,
        "data": {name: data.fingerprint[name] for name in ("classes", split)},
        "view": {name: plain["data"].get(name) for name in ("source", "target", "eval_size")},
        "model": {name: plain[name] for name in ("encoder", "decoder")} | {"head": plain["task"]["head"]},
        "weights": digest(model),
        "bf16": bf16,
    }
    name = f"{plain['task']['name']}_{split}"
    return cache.cached(
        Path(config.probe.cache).expanduser(), name, key, lambda: Extraction(model, data, split, bf16)
    )
