"""Scores of several labels per image. They need all logits: average precision ranks the images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import binary_average_precision
from torchmetrics.utilities import dim_zero_cat

from pixelwise.types import IGNORE


class TaggingScores(Metric):
    """Scores of several labels per image: mean average precision and F1, also of each class.

    A class is predicted where its probability exceeds one half. `micro_f1` is the F1 of the
    predictions of all classes together, `mean_f1` is the mean over the classes.

    Args:
        classes: the class names, in the order of the indices.
    """

    full_state_update = False
    higher_is_better = True
    logits: list[Tensor]
    target: list[Tensor]

    def __init__(self, classes: Sequence[str]) -> None:
        super().__init__()
        self.classes = tuple(str(name) for name in classes)
        self.add_state("logits", [], dist_reduce_fx="cat")
        self.add_state("target", [], dist_reduce_fx="cat")

    @staticmethod
    def predict_labels(logits: Tensor) -> Tensor:
        """Return 1 for each class whose probability exceeds one half, else 0."""
        return (logits > 0).long()

    def update(
        self, logits: Tensor, target: Tensor, valid: Tensor | None = None, border: Tensor | None = None
    ) -> None:
        """Store the logits and targets of one batch.

        Args:
            logits: (B, K).
            target: (B, K), 1 and 0, `IGNORE` where the label is unknown.
            valid: (B,) bool, False for padding rows.
            border: not used.
        """
        rows = slice(None) if valid is None else valid
        self.logits.append(logits[rows].float())
        self.target.append(target[rows])

    def compute(self) -> dict[str, Tensor]:
        """Return all scores by flat name, as float64 scalars on the CPU.

        The average precision of a class that is in no image is NaN, and so is its F1 if the class is never
        predicted; means leave NaN out.
        """
        logits, target = (dim_zero_cat(state).cpu() for state in (self.logits, self.target))
        predicted, labelled, true = self.predict_labels(logits) == 1, target != IGNORE, target == 1
        hits = (predicted & true).sum(0).double()
        claims = (predicted & labelled).sum(0) + true.sum(0)
        # torchmetrics would apply the sigmoid to values outside of 0 to 1, which rounds large logits to 1
        ranks = F.softsign(logits.double()) / 2 + 0.5
        precisions = torch.full_like(hits, torch.nan)
        for k in true.any(0).nonzero().flatten().tolist():
            precisions[k] = binary_average_precision(ranks[:, k], target[:, k], ignore_index=IGNORE)
        f1 = 2 * hits / claims
        means = [precisions.nanmean(), f1.nanmean(), 2 * hits.sum() / claims.sum()]
        return dict(zip(self.names(), [*means, *precisions, *f1], strict=True))

    def names(self) -> list[str]:
        """Return the flat names of the scores."""
        means = ["mean_average_precision", "mean_f1", "micro_f1"]
        return means + [f"{name}/{label}" for name in ("average_precision", "f1") for label in self.classes]

    def summary(self) -> str:
        """Return one line: the number of classes in the mean average precision."""
        values = self.compute()
        absent = [name for name in self.classes if values[f"average_precision/{name}"].isnan()]
        without = f" (in no image: {', '.join(absent)})" if absent else ""
        return f"means over {len(self.classes) - len(absent)} of {len(self.classes)} classes{without}"
