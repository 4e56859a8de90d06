"""Scores of several labels for each image, from its logits: a confusion matrix does not rank classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from pixelwise.types import IGNORE


def average_precision(scores: Tensor, target: Tensor) -> Tensor:
    """Area under the steps of precision over recall (), NaN without a positive; equal scores are one step.

    Args:
        scores: (N,), larger where the class is more likely.
        target: (N,) 1 where the class is there, 0 where not, `IGNORE` where nobody knows.
    """
    known = target != IGNORE
    order = scores[known].argsort(descending=True)
    ranked, hits = scores[known][order], (target[known][order] == 1).double().cumsum(0)
    if not len(hits) or hits[-1] == 0:
        return torch.tensor(torch.nan, dtype=torch.float64)
    last = torch.cat([ranked[1:] != ranked[:-1], torch.ones(1, dtype=torch.bool)])  # of its equals
    hits, count = hits[last], torch.arange(1, len(last) + 1)[last]
    gained = torch.diff(hits, prepend=hits.new_zeros(1))
    return (gained * hits / count).sum() / hits[-1]


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
        """Every score by its flat name, as float64 scalars on the CPU."""
        return self.scores(*(dim_zero_cat(state).cpu() for state in (self.logits, self.target)))

    def scores(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The scores of (N, K) logits and targets."""
        decided, known = self.decide(logits), target != IGNORE
        hits = ((decided == 1) & (target == 1)).sum(0).double()
        claims = ((decided == 1) & known).sum(0).double() + (target == 1).sum(0)
        precisions = torch.stack(
            [average_precision(logits[:, k], target[:, k]) for k in range(target.shape[1])]
        )
        f1_scores = 2 * hits / claims
        return {
            "mean_average_precision": precisions.nanmean(),
            "mean_f1": f1_scores.nanmean(),
            "micro_f1": 2 * hits.sum() / claims.sum(),
            **{f"average_precision/{n}": p for n, p in zip(self.classes, precisions, strict=True)},
            **{f"f1/{n}": v for n, v in zip(self.classes, f1_scores, strict=True)},
        }

    def names(self) -> list[str]:
        """The flat names of the scores."""
        nothing = torch.zeros(0, len(self.classes))
        return list(self.scores(nothing, nothing))

    def summary(self) -> str:
        """One line: over how many classes the mean average precision runs."""
        values = self.compute()
        absent = [name for name in self.classes if values[f"average_precision/{name}"].isnan()]
        without = f" (in no image: {', '.join(absent)})" if absent else ""
        return f"means over {len(self.classes) - len(absent)} of {len(self.classes)} classes{without}"
