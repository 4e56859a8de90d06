"""Scores of classes, computed from one confusion matrix that is summed over the data set and all processes.

(Scores of several labels per image are in `multilabel.py`.)

The matrix is (K, K) with rows for the truth and columns for the prediction: `matrix[t, p]` counts the pixels
of class t that are predicted as class p. Each score is a function of the matrix; none is an average over
images.

A score whose denominator is 0 is NaN, and means leave it out: IoU and F1 of a class that is in neither the
labels nor the predictions, recall of a class without labels, precision of a class that is never predicted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from pixelwise.errors import UserError
from pixelwise.protocols import ERODED
from pixelwise.protocols.evaluation import EVALUATION
from pixelwise.types import IGNORE, ignored_label

MEANS = ("miou", "mean_f1")
"""The means over classes from which a protocol may exclude classes."""


def confusion_matrix(prediction: Tensor, target: Tensor, classes: int) -> Tensor:
    """Count the pairs of true and predicted class where the target is not the ignored label.

    Args:
        prediction: int64 class indices below `classes`.
        target: class indices or `ignored_label(classes)`, of the same shape; uint8 or int64.
        classes: the number of classes K.

    Returns:
        (K, K) int64: rows are the truth, columns the prediction.

    Raises:
        UserError: a label is neither a class index nor the ignored label.
    """
    # Every label has a row: ignored pixels are counted in the last row, so no costly selection is needed.
    pairs = torch.add(prediction, target, alpha=classes).flatten()
    ignored = ignored_label(classes)
    size = (ignored + 1) * classes
    counts = torch.bincount(pairs, minlength=size)
    if len(counts) > size or counts[classes * classes : ignored * classes].any():
        raise UserError(
            "the labels contain values that are not class indices",
            found=sorted(set(target.unique().tolist()) - {*range(classes), ignored}),
            expected=f"0 to {classes - 1}, or {ignored} for ignored pixels",
        )
    return counts[: classes * classes].view(classes, classes)


def iou(matrix: Tensor) -> Tensor:
    """Intersection over union of each class (K,), the Jaccard index."""
    hits = matrix.diagonal()
    return hits / (matrix.sum(0) + matrix.sum(1) - hits)


def f1(matrix: Tensor) -> Tensor:
    """F1 of each class (K,): the harmonic mean of precision and recall, the same as Dice."""
    return 2 * matrix.diagonal() / (matrix.sum(0) + matrix.sum(1))


def precision(matrix: Tensor) -> Tensor:
    """Share of the predictions of each class that are right (K,): user's accuracy of remote sensing."""
    return matrix.diagonal() / matrix.sum(0)


def recall(matrix: Tensor) -> Tensor:
    """Share of the labels of each class that are predicted (K,): producer's accuracy of remote sensing."""
    return matrix.diagonal() / matrix.sum(1)


def accuracy(matrix: Tensor) -> Tensor:
    """Share of all labels that are predicted right (): overall accuracy, which large classes dominate."""
    return matrix.trace() / matrix.sum()


def kappa(matrix: Tensor) -> Tensor:
    """Agreement beyond chance (), 1 at best (Cohen 1960, "A Coefficient of Agreement for Nominal Scales")."""
    chance = (matrix.sum(0) * matrix.sum(1)).sum() / matrix.sum() ** 2
    return (accuracy(matrix) - chance) / (1 - chance)


class ConfusionMetric(Metric):
    """Accumulates the confusion matrix; a subclass defines the scores that are computed from it.

    Args:
        classes: the class names, in the order of the indices.
    """

    full_state_update = False
    higher_is_better = True
    matrix: Tensor
    border: Tensor
    """The counts of pixels near another class; all 0 if the data have no border masks."""
    counts: Tensor
    """The matrix summed over all processes at the last `compute`; `matrix` counts those of this process."""

    def __init__(self, classes: Sequence[str]) -> None:
        super().__init__()
        self.classes = tuple(str(name) for name in classes)
        count = len(self.classes)
        for name in ("matrix", "border"):
            self.add_state(name, torch.zeros(count, count, dtype=torch.int64), dist_reduce_fx="sum")

    @staticmethod
    def predict_labels(logits: Tensor) -> Tensor:
        """Return the class indices; the first of equal logits, like `argmax`, but much faster on a CPU."""
        return logits.max(1).indices

    def update(
        self, logits: Tensor, target: Tensor, valid: Tensor | None = None, border: Tensor | None = None
    ) -> None:
        """Count one batch.

        Args:
            logits: (B, K) or (B, K, H, W).
            target: (B,) or (B, H, W), int64 or uint8, with the ignored label.
            valid: (B,) bool, False for padding rows, which are ignored.
            border: (B, H, W) bool, True for pixels that the scores of eroded labels ignore.
        """
        if valid is not None:
            rows = valid.view(-1, *[1] * (target.ndim - 1))
            target = target.where(rows, ignored_label(len(self.classes)))
        prediction = self.predict_labels(logits)
        self.matrix = self.matrix + confusion_matrix(prediction, target, len(self.classes))
        if border is not None:
            near = confusion_matrix(prediction[border], target[border], len(self.classes))
            self.border = self.border + near

    def compute(self) -> dict[str, Tensor]:
        """Return all scores by flat name, as float64 scalars on the CPU (some devices have no float64).

        If borders were given, the scores of eroded labels follow under names like `eroded/miou`.
        """
        self.counts = self.matrix.cpu()
        scores = self.scores(self.counts.double())
        if self.border.any():
            eroded = self.scores((self.matrix - self.border).cpu().double())
            scores |= {f"{ERODED}/{name}": score for name, score in eroded.items()}
        return scores

    def scores(self, matrix: Tensor) -> dict[str, Tensor]:
        """Return the scores of a float64 (K, K) confusion matrix."""
        raise NotImplementedError

    def by_class(self, name: str, values: Tensor) -> dict[str, Tensor]:
        """Return the values (K,) of one score under names like `iou/cat`."""
        return {f"{name}/{label}": value for label, value in zip(self.classes, values, strict=True)}

    def names(self) -> list[str]:
        """Return the flat names of the scores, without those of eroded labels."""
        return list(self.scores(self.matrix.double()))

    def summary(self) -> str:
        """Return one line: number of classes in the means, excluded classes, ignored label."""
        values = self.compute()
        absent = [name for name in self.classes if values[f"f1/{name}"].isnan()]
        counted = f"{len(self.classes) - len(absent)} of {len(self.classes)} classes"
        if absent:
            counted += f" (neither labelled nor predicted: {', '.join(absent)})"
        eroded = any(name.startswith(f"{ERODED}/") for name in values)
        note = "; eroded: without pixels near another class" if eroded else ""
        return f"means over {counted}; label {IGNORE} is ignored{note}"

    def extra_repr(self) -> str:
        """Return the class names, for `print(metric)`."""
        return ", ".join(self.classes)


class SegmentationScores(ConfusionMetric):
    """Scores of pixels: mIoU, overall and mean accuracy, mean F1, kappa; IoU, F1 and recall of each class.

    The mean accuracy is the mean of the recalls, as in Long et al. 2015, "Fully Convolutional Networks".

    Args:
        classes: the class names, in the order of the indices.
        protocols: name of a protocol → classes that it excludes from the means, as some papers do. mIoU and
            mean F1 then have names such as `five_class/miou`, and there is no plain `miou`. Pixels of an
            excluded class still count in the accuracies and as errors of other classes.

    Raises:
        UserError: there are more than 255 classes, a protocol excludes an unknown class or all classes, or a
            name is already used.
    """

    def __init__(self, classes: Sequence[str], protocols: Mapping[str, Sequence[str]] | None = None) -> None:
        super().__init__(classes)
        if len(self.classes) > IGNORE:
            raise UserError(
                f"too many classes: label {IGNORE} of a mask means ignored",
                found=len(self.classes),
                expected=f"at most {IGNORE}",
            )
        self.protocols = {name: tuple(left_out) for name, left_out in (protocols or {}).items()}
        for name, left_out in self.protocols.items():
            if name in (ERODED, "loss") or EVALUATION.fullmatch(name):
                raise UserError(f"data.protocols.{name}", expected="a name that no other score uses")
            if not {*left_out} < {*self.classes}:
                raise UserError(
                    f"data.protocols.{name}",
                    found=list(left_out),
                    expected=f"some of {', '.join(self.classes)}",
                )
        if self.protocols and (same := {*MEANS} & {*self.classes}):
            raise UserError(
                "data.classes: a class has the name of a mean score that data.protocols defines",
                found=", ".join(same),
                fix="another name for the class",
            )

    def scores(self, matrix: Tensor) -> dict[str, Tensor]:
        """Return the scores of a float64 (K, K) confusion matrix."""
        means = {}
        for protocol, left_out in (self.protocols or {"": ()}).items():
            prefix = f"{protocol}/" if protocol else ""
            counts = torch.tensor([name not in left_out for name in self.classes])
            for name, by_class in zip(MEANS, (iou(matrix), f1(matrix)), strict=True):
                means[prefix + name] = by_class[counts].nanmean()
        return {
            **means,
            "overall_accuracy": accuracy(matrix),
            "mean_accuracy": recall(matrix).nanmean(),
            "kappa": kappa(matrix),
            **self.by_class("iou", iou(matrix)),
            **self.by_class("f1", f1(matrix)),
            **self.by_class("recall", recall(matrix)),
        }

    def summary(self) -> str:
        """Return one line: the classes that each protocol excludes, and which pixels are ignored."""
        protocols = (f"{name} without {', '.join(out) or 'none'}" for name, out in self.protocols.items())
        return "; ".join([*protocols, super().summary()])


class ClassificationScores(ConfusionMetric):
    """Scores of images: accuracy, balanced accuracy (mean recall), macro F1, kappa; scores of each class."""

    def scores(self, matrix: Tensor) -> dict[str, Tensor]:
        """Return the scores of a float64 (K, K) confusion matrix."""
        return {
            "accuracy": accuracy(matrix),
            "balanced_accuracy": recall(matrix).nanmean(),
            "macro_f1": f1(matrix).nanmean(),
            "kappa": kappa(matrix),
            **self.by_class("f1", f1(matrix)),
            **self.by_class("precision", precision(matrix)),
            **self.by_class("recall", recall(matrix)),
        }
