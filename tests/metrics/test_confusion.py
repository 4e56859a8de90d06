"""Scores against scikit-learn and against values worked out by hand."""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers import refused
from torch import Tensor

from pixelwise.metrics.confusion import (
    ClassificationScores,
    ConfusionMetric,
    SegmentationScores,
    confusion_matrix,
)
from pixelwise.types import IGNORE

pytestmark = pytest.mark.fast
CLASSES = ["road", "tree", "car"]
METRICS = [SegmentationScores, ClassificationScores]


def logits_of(prediction: Tensor, classes: int) -> Tensor:
    """Logits that are largest at the predicted class."""
    return torch.nn.functional.one_hot(prediction, classes).movedim(-1, 1).float()


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    """Logits (6, 3, 5, 4) and a target (6, 5, 4) of which a fifth is ignored."""
    random = torch.Generator().manual_seed(0)
    target = torch.randint(3, (6, 5, 4), generator=random)
    target[:, 0] = IGNORE
    return torch.randn(6, 3, 5, 4, generator=random), target


def test_hand_computed() -> None:
    target = torch.tensor([[[0, 0, 0, 0], [1, 1, 1, IGNORE]]])
    prediction = torch.tensor([[[0, 0, 1, 1], [1, 1, 0, 0]]])
    metric = SegmentationScores(CLASSES)
    metric.update(logits_of(prediction, 3), target)
    assert metric.matrix.tolist() == [[2, 2, 0], [1, 2, 0], [0, 0, 0]]
    expected = {
        "miou": (2 / 5 + 2 / 5) / 2,
        "overall_accuracy": 4 / 7,
        "mean_accuracy": (2 / 4 + 2 / 3) / 2,
        "mean_f1": 4 / 7,
        "kappa": (4 / 7 - 24 / 49) / (1 - 24 / 49),
        "iou/road": 2 / 5,
        "iou/tree": 2 / 5,
        "iou/car": np.nan,
        "f1/road": 4 / 7,
        "f1/tree": 4 / 7,
        "f1/car": np.nan,
        "recall/road": 2 / 4,
        "recall/tree": 2 / 3,
        "recall/car": np.nan,
    }
    scores = metric.compute()
    assert {name: value.item() for name, value in scores.items()} == pytest.approx(expected, nan_ok=True)
    assert {value.dtype for value in scores.values()} == {torch.float64}
    assert metric.summary() == (
        "means over 2 of 3 classes (neither labelled nor predicted: car); label 255 is ignored"
    )


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32), classes=st.integers(2, 7), pixels=st.integers(2, 40))
def test_scores_equal_those_of_scikit_learn(seed: int, classes: int, pixels: int) -> None:
    random = torch.Generator().manual_seed(seed)
    target = torch.randint(classes, (1, pixels, 1), generator=random)
    prediction = torch.randint(classes, (1, pixels, 1), generator=random)
    prediction = prediction.where(torch.rand(prediction.shape, generator=random) < 0.4, target)
    names = [str(label) for label in range(classes)]
    scores = {}
    for metric in (SegmentationScores(names), ClassificationScores(names)):
        metric.update(logits_of(prediction, classes), target)
        scores |= {name: value.item() for name, value in metric.compute().items()}
    truth, guess = target.flatten().numpy(), prediction.flatten().numpy()

    assert np.array_equal(metric.matrix, sk.confusion_matrix(truth, guess, labels=range(classes)))
    present = [label for label in range(classes) if label in truth or label in guess]
    options = {"labels": present, "average": None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's remarks on classes without labels
        expected = {
            "miou": sk.jaccard_score(truth, guess, labels=present, average="macro"),
            "mean_f1": sk.f1_score(truth, guess, labels=present, average="macro"),
            "macro_f1": sk.f1_score(truth, guess, labels=present, average="macro"),
            "overall_accuracy": sk.accuracy_score(truth, guess),
            "accuracy": sk.accuracy_score(truth, guess),
            "mean_accuracy": sk.balanced_accuracy_score(truth, guess),
            "balanced_accuracy": sk.balanced_accuracy_score(truth, guess),
            "kappa": sk.cohen_kappa_score(truth, guess),
        }
        by_class = {
            "iou": sk.jaccard_score(truth, guess, **options),
            "f1": sk.f1_score(truth, guess, **options),
            "precision": sk.precision_score(truth, guess, zero_division=np.nan, **options),
            "recall": sk.recall_score(truth, guess, zero_division=np.nan, **options),
        }
    for name, values in by_class.items():
        expected |= {f"{name}/{label}": np.nan for label in range(classes)}
        expected |= {f"{name}/{label}": value for label, value in zip(present, values, strict=True)}
    assert scores == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("metric_class", METRICS)
def test_batches_add_up(metric_class: type[ConfusionMetric], batch: tuple[Tensor, Tensor]) -> None:
    logits, target = batch
    at_once, in_parts = metric_class(CLASSES), metric_class(CLASSES)
    at_once.update(logits, target)
    for part in (slice(0, 1), slice(1, 4), slice(4, 6)):
        in_parts.update(logits[part], target[part].to(torch.uint8))
    assert torch.equal(at_once.matrix, in_parts.matrix)
    assert at_once.compute() == in_parts.compute()
    at_once.reset()
    assert not at_once.matrix.any()


@pytest.mark.parametrize("spatial", [True, False])
def test_padding_rows_are_ignored(batch: tuple[Tensor, Tensor], spatial: bool) -> None:
    logits, target = batch if spatial else (batch[0][..., 1, 1], batch[1][..., 1, 1])
    valid = torch.tensor([True, True, False, True, False, False])
    padded, plain = SegmentationScores(CLASSES), SegmentationScores(CLASSES)
    padded.update(logits, target, valid)
    plain.update(logits[valid], target[valid])
    assert torch.equal(padded.matrix, plain.matrix)
    assert padded.matrix.any()


@pytest.mark.parametrize("metric_class", METRICS)
def test_all_scores_are_nan_without_samples(
    metric_class: type[ConfusionMetric], batch: tuple[Tensor, Tensor]
) -> None:
    metric = metric_class(CLASSES)
    metric.update(*batch, torch.zeros(6, dtype=torch.bool))
    assert all(value.isnan() for value in metric.compute().values())
    assert "means over 0 of 3 classes" in metric.summary()


def test_class_without_labels_scores_zero_when_predicted() -> None:
    metric = SegmentationScores(CLASSES)
    metric.update(logits_of(torch.tensor([0, 0, 2]), 3), torch.tensor([0, 0, 0]))
    scores = metric.compute()
    assert scores["iou/car"] == 0
    assert scores["iou/tree"].isnan()
    assert scores["miou"] == pytest.approx((2 / 3 + 0) / 2)


def test_first_of_equal_logits_is_predicted() -> None:
    logits = torch.randint(3, (4, 6, 16, 16), generator=torch.Generator().manual_seed(0)).float()
    for memory_format in (torch.contiguous_format, torch.channels_last):
        arranged = logits.contiguous(memory_format=memory_format)
        assert torch.equal(arranged.max(1).indices, logits.argmax(1))


def test_labels_outside_the_classes_are_named() -> None:
    with refused(r"not class indices\n  found:    \[3, 7\]\n  expected: 0 to 2"):
        confusion_matrix(torch.zeros(4, dtype=torch.int64), torch.tensor([7, 0, 255, 3]), 3)
    with refused(r"\[300\]"):
        confusion_matrix(torch.zeros(2, dtype=torch.int64), torch.tensor([300, 0]), 3)


def test_more_than_255_classes_are_refused() -> None:
    SegmentationScores([str(label) for label in range(255)])
    with refused("too many classes"):
        SegmentationScores([str(label) for label in range(256)])


@pytest.mark.parametrize("metric_class", METRICS)
def test_copies_keep_their_counts(metric_class: type[ConfusionMetric], batch: tuple[Tensor, Tensor]) -> None:
    metric = metric_class(CLASSES)
    metric.update(*batch)
    for twin in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):
        assert twin.compute() == metric.compute()
        twin.update(*batch)
        assert twin.matrix.sum() == 2 * metric.matrix.sum()


# ------------------------------------------------------------------------------ protocols and eroded labels
PROTOCOLS = {"two_class": ["car"], "three_class": []}


def test_protocols_exclude_classes_from_means_only(batch: tuple[Tensor, Tensor]) -> None:
    plain, metric = SegmentationScores(CLASSES), SegmentationScores(CLASSES, PROTOCOLS)
    plain.update(*batch)
    metric.update(*batch)
    usual, scores = plain.compute(), metric.compute()
    assert "miou" not in scores
    assert scores["three_class/miou"] == usual["miou"]
    assert scores["two_class/miou"] == pytest.approx((usual["iou/road"] + usual["iou/tree"]) / 2)
    assert scores["two_class/mean_f1"] == pytest.approx((usual["f1/road"] + usual["f1/tree"]) / 2)
    same = ("overall_accuracy", "kappa", "iou/car", "f1/car")
    assert {name: scores[name] for name in same} == {name: usual[name] for name in same}
    assert "two_class without car; three_class without none" in metric.summary()


def test_border_pixels_are_ignored_in_eroded_scores_only(batch: tuple[Tensor, Tensor]) -> None:
    logits, target = batch
    border = torch.rand(target.shape, generator=torch.Generator().manual_seed(1)) < 0.4
    both, full, eroded = (SegmentationScores(CLASSES, PROTOCOLS) for _ in range(3))
    for rows in (slice(0, 2), slice(2, 6)):
        both.update(logits[rows], target[rows], border=border[rows])
    full.update(logits, target)
    eroded.update(logits, target.where(~border, IGNORE))
    expected = full.compute() | {f"eroded/{name}": value for name, value in eroded.compute().items()}
    assert both.compute() == expected
    assert "eroded: without pixels near another class" in both.summary()


@pytest.mark.parametrize("left_out", [["bus"], CLASSES])
def test_protocol_excluding_unknown_or_all_classes_is_refused(left_out: list[str]) -> None:
    with refused(r"data\.protocols\.odd"):
        SegmentationScores(CLASSES, {"odd": left_out})
