"""Scores, selection and error maps of single samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pixelwise.metrics.per_sample import sample_scores
from pixelwise.training.callbacks.record import WRONG, error_map
from pixelwise.training.callbacks.samples import SamplePrediction, choose
from pixelwise.types import IGNORE

pytestmark = pytest.mark.fast


def test_mask_score_is_the_mean_iou_of_the_image() -> None:
    target = torch.tensor([[[0, 0], [1, 1]], [[0, 0], [0, IGNORE]], [[IGNORE] * 2] * 2])
    prediction = torch.tensor([[[0, 1], [1, 1]], [[0, 0], [0, 2]], [[0, 1], [2, 0]]])
    logits = torch.nn.functional.one_hot(prediction, 3).permute(0, 3, 1, 2).float()
    first, second, third = sample_scores(logits, target).tolist()
    assert first == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert second == 1
    assert math.isnan(third)


def test_class_score_is_the_probability_of_the_truth() -> None:
    logits = torch.log(torch.tensor([[0.7, 0.2, 0.1], [0.7, 0.2, 0.1], [0.7, 0.2, 0.1]]))
    scores = sample_scores(logits, torch.tensor([0, 2, IGNORE]))
    assert scores[:2].tolist() == pytest.approx([0.7, 0.1])
    assert scores[2].isnan()
    logits = torch.logit(torch.tensor([[0.9, 0.2]]))
    assert sample_scores(logits, torch.tensor([[1.0, 0.0]])).tolist() == pytest.approx([0.85])


def test_best_median_and_worst_samples_are_selected_once() -> None:
    scores = [0.5, math.nan, 0.9, 0.1, 0.7, 0.3, 0.8, 0.2, 0.6, 0.4]
    assert choose(scores, 2) == {
        **{2: "best", 6: "best"},
        **{8: "median", 0: "median"},
        **{3: "worst", 7: "worst"},
    }
    assert choose([0.1, 0.2], 3) == {1: "best", 0: "worst"}
    assert choose([0.1], 3) == {0: "best"}
    assert choose([math.nan], 3) == {}


def test_error_map_marks_wrong_and_ignored_pixels() -> None:
    sample = SamplePrediction(
        "key",
        image=np.zeros((1, 3, 3), np.uint8),
        target=np.array([[0, 1, IGNORE]], np.uint8),
        prediction=np.array([[0, 0, 0]], np.uint8),
        score=0.5,
    )
    assert error_map(sample).tolist() == [[[100] * 3, list(WRONG), [255] * 3]]
