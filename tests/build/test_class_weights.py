"""`class_weights: auto`: the formula, the losses that it applies to, and the record in the run folder."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from tests.helpers import Compose, refused

from pixelwise import build, runs
from pixelwise.build.class_weights import balanced
from pixelwise.training import run
from pixelwise.training.evaluate import evaluate
from pixelwise.training.train import train


def expected_weights(run: run.Run) -> list[float]:
    """The expected weights, from all labels of the training split."""
    targets = [np.ravel(run.data["train"][i].target) for i in range(len(run.data["train"]))]
    counts = np.bincount(np.concatenate(targets), minlength=256)[: len(run.data.classes)]
    return [min(max(float(f"{np.median(counts) / count:.4g}"), 0.1), 10.0) for count in counts]


def recorded(config: dict[str, Any]) -> list[list[float] | None]:
    """Every `class_weights` of a resolved loss."""
    weights = [config["class_weights"]] if "class_weights" in config else []
    return weights + [w for part in config.values() if isinstance(part, dict) for w in recorded(part)]


# --------------------------------------------------------------------------------------- the formula
@pytest.mark.fast
@pytest.mark.parametrize(
    ("shares", "weights"),
    [
        ([0.5, 0.25, 0.25], [0.5, 1, 1]),
        ([0.25, 0.25, 0.25, 0.25], [1, 1, 1, 1]),
        ([0.6, 0.3, 0.1], [0.5, 1, 3]),
        ([0.7, 0.2, 0.06, 0.04], [0.1857, 0.65, 2.167, 3.25]),  # the median of four is 0.13
        ([0.9, 0.0999, 0.0001], [0.111, 1, 10]),  # limited: the ratio is 999
        ([0.98, 0.01, 0.01], [0.1, 1, 1]),
        ([0.75, 0.25, 0.0], [0.6667, 2, 1]),  # the median of the classes with labels
        ([0.0, 0.0], [1, 1]),
    ],
)
def test_weights_are_the_median_share_over_the_share(shares: list[float], weights: list[float]) -> None:
    assert balanced(shares) == weights


# ----------------------------------------------------------------------------------------- the losses
@pytest.mark.fast
@pytest.mark.parametrize("task", ["segmentation", "classification"])
def test_the_loss_gets_weights_of_the_training_split(
    task: str, built: Callable[..., run.Run], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        run = built(f"task={task}", "loss=cross_entropy", "loss.class_weights=auto", "data.train_samples=7")
    weights = expected_weights(run)
    assert len(set(weights)) > 1
    assert run.module.loss.parts["crossentropy"].class_weights.tolist() == pytest.approx(weights)
    assert run.config["loss"]["class_weights"] == weights
    (message,) = [line for line in caplog.messages if "class_weights" in line]
    numbers = ",".join(f"{weight:g}" for weight in weights)
    assert message.startswith(f"loss.class_weights=[{numbers}]: median share of all classes / share of")
    assert "set these overrides" in message
    pinned = built(f"task={task}", f"loss.class_weights=[{numbers}]", "data.train_samples=7")
    assert recorded(pinned.config["loss"]) == [weights]


@pytest.mark.fast
def test_parts_of_a_sum_and_losses_of_phases_get_weights(
    built: Callable[..., run.Run], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        run = built(
            "schedule=freeze_then_finetune",
            "loss=ce_dice",
            "loss.parts.dice.class_weights=auto",
            "loss@schedule.phases.finetune.loss=focal",
            "schedule.phases.finetune.loss.class_weights=auto",
            "+schedule.phases.none=null",
        )
    weights = expected_weights(run)
    assert recorded(run.config["loss"]) == [None, weights]
    assert recorded(run.config["schedule"]["phases"]["finetune"]["loss"]) == [weights]
    losses = run.module.losses
    assert losses[0].parts["cross_entropy"].class_weights is None
    assert losses[0].parts["dice"].class_weights.tolist() == pytest.approx(weights)
    assert losses[1].parts["focal"].class_weights.tolist() == pytest.approx(weights)
    (message,) = [line for line in caplog.messages if "class_weights" in line]
    assert [word.split("=")[0] for word in message.split(": ")[0].split(" ")] == [
        "loss.parts.dice.class_weights",
        "schedule.phases.finetune.loss.class_weights",
    ]


def test_labels_are_read_once_and_only_if_needed(
    built: Callable[..., run.Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pixelwise.data import survey

    reads = []
    read = survey.labels
    monkeypatch.setattr(survey, "labels", lambda data: reads.append(1) or read(data))
    assert not built("loss.class_weights=[1,2,3]").data.histograms
    assert not reads
    survey.survey(built("loss.class_weights=auto").data)
    assert len(reads) == 1


@pytest.mark.fast
def test_unknown_words_for_class_weights_are_refused(built: Callable[..., run.Run]) -> None:
    with refused(r"loss.class_weights[\s\S]*found: *'balanced'[\s\S]*auto"):
        built("loss.class_weights=balanced")
    with refused(r"loss.class_weights[\s\S]*found: *'auto'"):
        build.loss(DictConfig({"_target_": "pixelwise.losses.Dice", "class_weights": "auto"}))


# ------------------------------------------------------------------------------------- the run folder
def test_evaluation_uses_the_class_weights_of_the_run(
    compose: Compose, tiny: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    overrides = [*tiny, "loss=ce_dice", "loss.parts.cross_entropy.class_weights=auto", "epochs=1"]
    folder = runs.create(tmp_path / "run", compose(*overrides), overrides)
    trained = build.run(runs.load_config(folder), folder)
    train(trained, folder)
    checkpoint = torch.load(folder / "checkpoints/best.ckpt", weights_only=True)
    (weights, _) = recorded(checkpoint["config"]["loss"])
    assert weights == expected_weights(trained)

    config = runs.load_config(folder)
    config.data.source.counts.train = 3  # other training labels
    again = build.evaluation(config, folder)
    assert recorded(again.config["loss"]) == [weights, None]
    assert expected_weights(again) != weights
    with caplog.at_level(logging.INFO):
        scores = evaluate(again, folder)
    assert "to the last digit" in caplog.text
    assert scores["test/loss"] == json.loads((folder / "metrics.json").read_text())["test/loss"]
