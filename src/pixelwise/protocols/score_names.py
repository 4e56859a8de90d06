"""The names of scores, with the protocols that they were computed by."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pixelwise.protocols.evaluation import EVALUATION

ERODED = "eroded"
"""The protocol that ignores pixels near another class; see `Raw.border`."""


class ScoreName(NamedTuple):
    """The parts of a score's name: `split[/evaluation][/protocol]/score[/class]`.

    "test/iou/car" is the IoU of cars, "test/eroded/iou/car" the same without pixels near another class,
    "val/five_class/miou" a mean over some of the classes, "val/loss/dice" a term of the loss, and
    "test/short512/iou/car" the IoU of cars in images whose shorter side is resized to 512 pixels.
    """

    split: str
    protocol: str
    """`ERODED`, the name of a convention, both joined ("eroded/five_class"), or ""."""
    score: str
    """Name of the score itself; "loss" for the loss, and "loss/dice" for one of its terms."""
    class_name: str | None = None
    """None if the score does not belong to a single class."""
    evaluation: str = ""
    """Name of the evaluation protocol, see `pixelwise.protocols.evaluation`; "" for unchanged images."""

    @classmethod
    def parse(cls, name: str, classes: Iterable[str]) -> ScoreName:
        """Split a name into its parts.

        Args:
            name: name of a score, as in `metrics.json`.
            classes: names of the classes; they may contain slashes, or be equal to names of scores.
        """
        split, _, rest = name.partition("/")
        if rest == "loss" or rest.startswith("loss/"):
            return cls(split, "", rest)
        first, _, after = rest.partition("/")
        evaluation, rest = (first, after) if EVALUATION.fullmatch(first) else ("", rest)
        eroded = rest.startswith(f"{ERODED}/")
        rest = rest.removeprefix(f"{ERODED}/")
        label = max((label for label in classes if rest.endswith(f"/{label}")), key=len, default=None)
        convention, _, score = rest.removesuffix(f"/{label}" if label is not None else "").rpartition("/")
        return cls(split, "/".join(filter(None, (ERODED * eroded, convention))), score, label, evaluation)

    @property
    def kind(self) -> str:
        """Protocol and score, without split, evaluation protocol and class: "eroded/iou"."""
        return "/".join(filter(None, (self.protocol, self.score)))

    @property
    def is_loss(self) -> bool:
        """Whether it is the loss, or a term of the loss."""
        return self.score.partition("/")[0] == "loss"

    def __str__(self) -> str:
        parts = (self.split, self.evaluation, self.protocol, self.score, self.class_name)
        return "/".join(part for part in parts if part)
