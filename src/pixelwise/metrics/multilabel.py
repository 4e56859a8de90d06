"""Scores of several labels for each image, from its logits: a confusion matrix does not rank classes."""

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
    """Scores of several labels for each image: mean average precision and F1, also by class.

    A class is predicted where its probability exceeds one half. `micro_f1` counts all decisions together,
    `mean_f1` is the mean over the classes.

    Args:
        classes: the class names, in the order of the indices.
    """

    full_state_update = False
    logits: list[Tensor]
    target: list[Tensor]

    def __init__(self, classes: Sequence[str]) -> None:
        super().__init__()
        self.classes = tuple(str(name) for name in classes)
        self.add_state("logits", [], dist_reduce_fx="cat")
        self.add_state("target", [], dist_reduce_fx="cat")

    @staticmethod
    def decide(logits: Tensor) -> Tensor:
        """1 for each class whose probability exceeds one half, else 0."""
        return (logits > 0).long()

    def update(
        self, logits: Tensor, target: Tensor, valid: Tensor | None = None, border: Tensor | None = None
    ) -> None:
        """Keep one batch.

        Args:
            logits: (B, K).
            target: (B, K), 1 and 0, `IGNORE` where nobody knows.
            valid: (B,) bool, False for rows that only fill up the batch.
            border: has no meaning for whole images.
        """
        rows = slice(None) if valid is None else valid
        self.logits.append(logits[rows].float())
        self.target.append(target[rows])

    def compute(self) -> dict[str, Tensor]:
        """Every score by its flat name, as float64 scalars on the CPU.

        NaN for the average precision of a class in no image, and for the F1 of one that is not predicted
        either; means leave them out.
        """
        logits, target = (dim_zero_cat(state).cpu() for state in (self.logits, self.target))
        decided, known, true = self.decide(logits) == 1, target != IGNORE, target == 1
        hits = (decided & true).sum(0).double()
        claims = (decided & known).sum(0) + true.sum(0)
        ranks = F.softsign(logits.double()) / 2 + 0.5  # torchmetrics takes the sigmoid, of which many are 1
        precisions = torch.full_like(hits, torch.nan)
        for k in true.any(0).nonzero().flatten().tolist():
            precisions[k] = binary_average_precision(ranks[:, k], target[:, k], ignore_index=IGNORE)
        f1 = 2 * hits / claims
        means = [precisions.nanmean(), f1.nanmean(), 2 * hits.sum() / claims.sum()]
        return dict(zip(self.names(), [*means, *precisions, *f1], strict=True))

    def names(self) -> list[str]:
        """The flat names of the scores."""
        means = ["mean_average_precision", "mean_f1", "micro_f1"]
        return means + [f"{name}/{label}" for name in ("average_precision", "f1") for label in self.classes]

    def summary(self) -> str:
        """One line: over how many classes the mean average precision runs."""
        values = self.compute()
        absent = [name for name in self.classes if values[f"average_precision/{name}"].isnan()]
        without = f" (in no image: {', '.join(absent)})" if absent else ""
        return f"means over {len(self.classes) - len(absent)} of {len(self.classes)} classes{without}"
