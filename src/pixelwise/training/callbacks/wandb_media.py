"""What Weights & Biases gets besides what is logged anyway."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
from lightning.pytorch.loggers import WandbLogger

from pixelwise.reports.drawing import in_words
from pixelwise.training.callbacks.checkpoint import path
from pixelwise.training.callbacks.evaluation import EvaluationCallback, loader_of
from pixelwise.training.callbacks.samples import SamplePrediction, answers
from pixelwise.training.module import Module
from pixelwise.types import IGNORE, Split

log = logging.getLogger(__name__)

MOST_CELLS = 10_000
"""Rows that a plot of W&B may have."""

STEP = "trainer/global_step"
"""Under which Lightning's logger sends the optimizer's step with everything."""

PLAN, TRUTH, SAMPLES = "plan", "samples/truth", "samples/val"
"""Under which the pictures are sent: the plan and the truth once, predictions again and again."""

CONFUSION = "wandb/confusion_matrix/v1"
CONFUSION_FIELDS = {name: name for name in ("Actual", "Predicted", "nPredictions")}
"""W&B's chart of a confusion matrix, and the columns of its table."""


class WandbMedia(EvaluationCallback):
    """Confusion matrix and best weights at the end; on request the same few samples again and again.

    Masks of the ground truth are sent once, before the first step; predictions follow in the same order,
    under the same keys of samples, also in a resumed run.

    Args:
        classes: names of the classes.
        images: upload samples of the validation split, with ground truth and predictions.
        most: number of these samples; rare classes are among them.
        times: how often they are shown at most, spread over the training, however often it validates.
        side: longest side of their pictures in pixels.
    """

    def __init__(
        self, classes: Sequence[str], images: bool = False, most: int = 8, times: int = 10, side: int = 512
    ) -> None:
        self.classes = tuple(classes)
        self.images = images
        self.most = most
        self.times = times
        self.side = side
        self._panel: list[int] = []
        self._shown = 0

    def on_fit_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Choose the samples once; a resumed run chooses the same."""
        if not any(isinstance(logger, WandbLogger) for logger in trainer.loggers):
            log.warning("callbacks.wandb has no effect without logger=wandb")
        elif self.images:
            self._panel = panel(trainer.datamodule["val"], len(self.classes), self.most)  # type: ignore[attr-defined]

    def on_train_start(self, trainer: L.Trainer, module: Any) -> None:
        """Show the plan, as it was drawn, and masks of the truth; a resumed run did so before."""
        if trainer.global_step > 0:
            return
        plan = Path(trainer.default_root_dir) / "pictures/plan.png"
        if plan.is_file():
            self._log(trainer, {PLAN: lambda: wandb_image(plan)})
        if self._panel:
            found = answers(trainer, module, loader_of(trainer, "val"), self._panel)
            if found[0].target.ndim == 2:
                self._log(trainer, {TRUTH: lambda: [self.picture(answer, truth=True) for answer in found]})

    def on_evaluation_end(self, trainer: L.Trainer, module: Module, split: str) -> None:
        """Show the samples, if their time has come; the rest where this is the final evaluation."""
        if trainer.state.fn != "fit":
            self._finish(trainer, module, split)
            return
        turn = turn_of(trainer.global_step, trainer.max_steps, self.times)
        if self._panel and turn > self._shown:
            found = answers(trainer, module, loader_of(trainer, split), self._panel)
            self._log(trainer, {SAMPLES: lambda: [self.picture(answer) for answer in found]})
            self._shown = turn

    def state_dict(self) -> dict[str, int]:
        """What a resumed run must know so that it neither repeats nor leaves out a turn."""
        return {"shown": self._shown}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on where the saved run was."""
        self._shown = state["shown"]

    def _finish(self, trainer: L.Trainer, module: Module, split: str) -> None:
        if module.confusion is not None:
            matrix = module.confusion.numpy()
            self._log(trainer, {f"{split}/confusion": lambda: self.confusion(matrix, split)})
        for logger in self._loggers(trainer):
            self._keep_best(logger, path(trainer, "best"), module.results)

    def _loggers(self, trainer: L.Trainer) -> list[WandbLogger]:
        """Those of the first process, which alone talks to W&B."""
        found = [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)]
        return found if trainer.is_global_zero else []

    def _log(self, trainer: L.Trainer, made: dict[str, Any]) -> None:
        for logger in self._loggers(trainer):
            logger.log_metrics({name: make() for name, make in made.items()}, step=trainer.global_step)

    def picture(self, answer: SamplePrediction, truth: bool = False) -> Any:
        """A sample as W&B shows it: with a mask that can be switched on and off, or labels as its caption."""
        import wandb

        stride = math.ceil(max(answer.image.shape[:2]) / self.side)
        image = answer.image[::stride, ::stride]
        if answer.target.ndim != 2:
            said = [in_words(labels, self.classes) for labels in (answer.target, answer.prediction)]
            return wandb.Image(image, caption=f"{answer.key}: {said[0]}, taken for {said[1]}")
        labels = dict(enumerate(self.classes)) | {IGNORE: "ignored"}
        kind, mask = ("ground_truth", answer.target) if truth else ("predictions", answer.prediction)
        drawn = {kind: {"mask_data": mask[::stride, ::stride], "class_labels": labels}}
        told = "truth" if truth else f"mean IoU {answer.score:.3f}"
        return wandb.Image(image, caption=f"{answer.key}: {told}", masks=drawn)

    def confusion(self, matrix: np.ndarray, split: str) -> Any:
        """The confusion matrix as a plot of W&B."""
        import wandb

        pairs = [(t, p) for t, p in np.ndindex(*matrix.shape) if matrix[t, p]]
        pairs.sort(key=lambda pair: -matrix[pair])
        rows = [[self.classes[t], self.classes[p], int(matrix[t, p])] for t, p in pairs[:MOST_CELLS]]
        table = wandb.Table(columns=list(CONFUSION_FIELDS), data=rows)
        title = {"title": f"{split}: confusion matrix"}
        return wandb.plot_table(CONFUSION, table, CONFUSION_FIELDS, title)

    def _keep_best(self, logger: WandbLogger, file: Path, scores: dict[str, float]) -> None:
        """The best weights as an artifact of this run; uploaded from where they lie, not copied first."""
        import wandb

        known = {name: score for name, score in scores.items() if math.isfinite(score)}
        artifact = wandb.Artifact(f"model-{logger.experiment.id}", type="model", metadata=known)
        artifact.add_file(str(file), policy="immutable")
        logger.experiment.log_artifact(artifact, aliases=["best"])


def turn_of(step: int, steps: int, times: int) -> int:
    """Which of so many turns, spread evenly over a training, a step belongs to: the last one at its end.

    Args:
        step: optimizer steps done.
        steps: those of the whole training.
        times: number of turns.

    Returns:
        From 1 to `times`.
    """
    return 1 + (times - 1) * min(step, steps) // steps


def wandb_image(file: Path) -> Any:
    """A picture from disk."""
    import wandb

    return wandb.Image(str(file))


def panel(split: Split, classes: int, most: int) -> list[int]:
    """Indices of samples that show every class where possible, the rarest first; the rest evenly spread.

    Labels of at most 256 samples are read, evenly spread over the split.

    Args:
        split: with masks, or one class an image.
        classes: their number.
        most: number of samples wanted.
    """
    spread = np.unique(np.linspace(0, len(split) - 1, min(256, len(split))).round().astype(int))
    targets = (np.asarray(split[int(index)].target).ravel() for index in spread)
    shares = np.stack([np.bincount(t, minlength=IGNORE + 1)[:classes] / t.size for t in targets])
    chosen: list[int] = []
    for label in np.argsort((shares > 0).sum(0), kind="stable"):
        if len(chosen) < most and shares[:, label].any() and not shares[chosen, label].any():
            chosen.append(int(shares[:, label].argmax()))
    evenly = np.linspace(0, len(spread) - 1, min(most, len(spread))).round().astype(int).tolist()
    rest = [row for row in [*evenly, *range(len(spread))] if row not in chosen]
    chosen += list(dict.fromkeys(rest))[: most - len(chosen)]
    return [int(spread[row]) for row in chosen]
