"""Scores of several labels per image against scikit-learn and against values worked out by hand."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelwise.metrics.multilabel import TaggingScores
from pixelwise.types import IGNORE

pytestmark = pytest.mark.fast


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32), images=st.integers(1, 30), ties=st.booleans())
def test_tagging_scores_equal_those_of_scikit_learn(seed: int, images: int, ties: bool) -> None:
    random = torch.Generator().manual_seed(seed)
    target = (torch.rand(images, 4, generator=random) < 0.3).long()
    logits = torch.randn(images, 4, generator=random)
    logits = (2 * logits).round() / 2 + 0.25 if ties else logits
    names = list("abcd")
    metric = TaggingScores(names)
    for rows in torch.arange(images).split(7):
        metric.update(logits[rows], target[rows])
    scores = {name: value.item() for name, value in metric.compute().items()}

    truth, guess = target.numpy(), (logits > 0).numpy()
    expected = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for index, name in enumerate(names):
            labelled = truth[:, index].any()
            defined = labelled or guess[:, index].any()
            precision = (
                sk.average_precision_score(truth[:, index], logits[:, index].numpy()) if labelled else np.nan
            )
            f1 = sk.f1_score(truth[:, index], guess[:, index]) if defined else np.nan
            expected |= {f"average_precision/{name}": precision, f"f1/{name}": f1}
        precisions = [expected[f"average_precision/{name}"] for name in names]
        f1_scores = [expected[f"f1/{name}"] for name in names]
        expected["mean_average_precision"] = np.nanmean(precisions)
        expected["mean_f1"] = np.nanmean(f1_scores)
        expected["micro_f1"] = (
            sk.f1_score(truth, guess, average="micro") if truth.any() or guess.any() else np.nan
        )
    assert scores == pytest.approx(expected, nan_ok=True)


def test_tagging_ignores_unknown_labels_and_padding_rows() -> None:
    target = torch.tensor([[1, IGNORE], [0, 1], [1, 0], [1, 1]])
    logits = torch.tensor([[2.0, 9.0], [1.0, 3.0], [0.5, 4.0], [9.0, 9.0]])
    metric = TaggingScores(["a", "b"])
    metric.update(logits, target, torch.tensor([True, True, True, False]))
    scores = metric.compute()
    assert scores["average_precision/a"] == pytest.approx((1 + 2 / 3) / 2)
    assert scores["average_precision/b"] == pytest.approx(1 / 2)
    assert scores["f1/b"] == pytest.approx(2 / 3)  # one hit, one false alarm
    assert metric.summary() == "means over 2 of 2 classes"
    assert metric.predict_labels(logits[:1]).tolist() == [[1, 1]]
    metric.reset()
    metric.update(logits[1:2], target[1:2])
    assert metric.summary() == "means over 1 of 2 classes (in no image: a)"


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e3, 1e6])
def test_average_precision_ranks_logits_of_any_scale(scale: float) -> None:
    metric = TaggingScores(["a"])
    metric.update(scale * torch.tensor([[4.0], [3.0], [2.0], [1.0]]), torch.tensor([[0], [1], [0], [1]]))
    assert metric.compute()["average_precision/a"] == pytest.approx(1 / 2)
