"""Media for Weights & Biases: plan, samples, confusion matrix and best weights."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
from lightning.pytorch.loggers import WandbLogger

from pixelwise.kinds import Count
from pixelwise.reports.drawing import in_words
from pixelwise.training.callbacks.checkpoint import path
from pixelwise.training.callbacks.evaluation import EvaluationCallback, loader_of
from pixelwise.training.callbacks.samples import SamplePrediction, predict_samples
from pixelwise.training.module import Module
from pixelwise.types import IGNORE, Split

log = logging.getLogger(__name__)

MOST_CELLS = 10_000
"""Largest number of rows in a plot of W&B."""

STEP = "trainer/global_step"
"""Name under which Lightning's logger sends the optimizer step."""

PLAN, TRUTH, SAMPLES = "plan", "samples/truth", "samples/val"
"""Names of the pictures: plan and ground truth are sent once, predictions repeatedly."""

CONFUSION = "wandb/confusion_matrix/v1"
CONFUSION_FIELDS = {name: name for name in ("Actual", "Predicted", "nPredictions")}
"""W&B's chart of a confusion matrix, and the columns of its table."""


class WandbMedia(EvaluationCallback):
    """Log the plan, the final confusion matrix, the best weights and, on request, sample predictions.

    Masks of the ground truth are sent once, before the first step. Predictions follow for the same samples in
    the same order, also in a resumed run.

    Args:
        classes: names of the classes.
        images: whether to upload samples of the validation split, with ground truth and predictions.
        most: largest number of samples; they include rare classes.
        times: largest number of uploads, spread evenly over the training.
        side: longest side of a picture in pixels.
    """

    def __init__(
        self,
        classes: Sequence[str],
        images: bool = False,
        most: Count = 8,
        times: Count = 10,
        side: Count = 512,
    ) -> None:
        self.classes = tuple(classes)
        self.images = images
        self.most = most
        self.times = times
        self.side = side
        self._panel: list[int] = []
        self._shown = 0

    def on_fit_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Select the samples; a resumed run selects the same ones."""
        if not any(isinstance(logger, WandbLogger) for logger in trainer.loggers):
            log.warning("callbacks.wandb has no effect without logger=wandb")
        elif self.images:
            self._panel = panel(trainer.datamodule["val"], len(self.classes), self.most)  # type: ignore[attr-defined]

    def on_train_start(self, trainer: L.Trainer, module: Any) -> None:
        """Send the picture of the plan and the masks of the ground truth, except in a resumed run."""
        if trainer.global_step > 0:
            return
        plan = Path(trainer.default_root_dir) / "pictures/plan.png"
        if plan.is_file():
            self._log(trainer, {PLAN: lambda: wandb_image(plan)})
        if self._panel:
            samples = predict_samples(trainer, module, loader_of(trainer, "val"), self._panel)
            if samples[0].target.ndim == 2:
                self._log(trainer, {TRUTH: lambda: [self.picture(sample, truth=True) for sample in samples]})

    def on_evaluation_end(self, trainer: L.Trainer, module: Module, split: str) -> None:
        """Send the samples if an upload is due; after the final evaluation, confusion matrix and weights."""
        if trainer.state.fn != "fit":
            self._finish(trainer, module, split)
            return
        turn = turn_of(trainer.global_step, trainer.max_steps, self.times)
        if self._panel and turn > self._shown:
            samples = predict_samples(trainer, module, loader_of(trainer, split), self._panel)
            self._log(trainer, {SAMPLES: lambda: [self.picture(sample) for sample in samples]})
            self._shown = turn

    def state_dict(self) -> dict[str, int]:
        """Return the number of uploads, so that a resumed run neither repeats nor omits one."""
        return {"shown": self._shown}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Restore the number of uploads."""
        self._shown = state["shown"]

    def _finish(self, trainer: L.Trainer, module: Module, split: str) -> None:
        if module.confusion is not None:
            matrix = module.confusion.numpy()
            self._log(trainer, {f"{split}/confusion": lambda: self.confusion(matrix, split)})
        for logger in self._loggers(trainer):
            self._keep_best(logger, path(trainer, "best"), module.results)

    def _loggers(self, trainer: L.Trainer) -> list[WandbLogger]:
        """Return the W&B loggers in the first process, and none in the others."""
        loggers = [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)]
        return loggers if trainer.is_global_zero else []

    def _log(self, trainer: L.Trainer, media: dict[str, Callable[[], Any]]) -> None:
        for logger in self._loggers(trainer):
            logger.log_metrics({name: make() for name, make in media.items()}, step=trainer.global_step)

    def picture(self, sample: SamplePrediction, truth: bool = False) -> Any:
        """Return a sample as an image of W&B, with a mask as overlay or with its labels in the caption."""
        import wandb

        stride = math.ceil(max(sample.image.shape[:2]) / self.side)
        image = sample.image[::stride, ::stride]
        if sample.target.ndim != 2:
            target = in_words(sample.target, self.classes)
            prediction = in_words(sample.prediction, self.classes)
            return wandb.Image(image, caption=f"{sample.key}: {target}, predicted as {prediction}")
        labels = dict(enumerate(self.classes)) | {IGNORE: "ignored"}
        kind, mask = ("ground_truth", sample.target) if truth else ("predictions", sample.prediction)
        masks = {kind: {"mask_data": mask[::stride, ::stride], "class_labels": labels}}
        note = "truth" if truth else f"mean IoU {sample.score:.3f}"
        return wandb.Image(image, caption=f"{sample.key}: {note}", masks=masks)

    def confusion(self, matrix: np.ndarray, split: str) -> Any:
        """Return the confusion matrix as a plot of W&B."""
        import wandb

        pairs = [(t, p) for t, p in np.ndindex(*matrix.shape) if matrix[t, p]]
        pairs.sort(key=lambda pair: -matrix[pair])
        rows = [[self.classes[t], self.classes[p], int(matrix[t, p])] for t, p in pairs[:MOST_CELLS]]
        table = wandb.Table(columns=list(CONFUSION_FIELDS), data=rows)
        title = {"title": f"{split}: confusion matrix"}
        return wandb.plot_table(CONFUSION, table, CONFUSION_FIELDS, title)

    def _keep_best(self, logger: WandbLogger, file: Path, scores: dict[str, float]) -> None:
        """Log the best weights as an artifact of this run, uploaded without a copy."""
        import wandb

        finite = {name: score for name, score in scores.items() if math.isfinite(score)}
        artifact = wandb.Artifact(f"model-{logger.experiment.id}", type="model", metadata=finite)
        artifact.add_file(str(file), policy="immutable")
        logger.experiment.log_artifact(artifact, aliases=["best"])


def turn_of(step: int, steps: int, times: int) -> int:
    """Return the turn of a step if turns are spread evenly over the training; the last turn is at its end.

    Args:
        step: number of optimizer steps done.
        steps: number of optimizer steps of the training.
        times: number of turns.

    Returns:
        The turn, from 1 to `times`.
    """
    return 1 + (times - 1) * min(step, steps) // steps


def wandb_image(file: Path) -> Any:
    """Return a picture file as an image of W&B."""
    import wandb

    return wandb.Image(str(file))


def panel(split: Split, classes: int, most: int) -> list[int]:
    """Select samples that show every class if possible, rare classes first; the others are evenly spread.

    Labels of at most 256 samples are read, evenly spread over the split.

    Args:
        split: a split with masks, classes or labels.
        classes: the number of classes.
        most: largest number of samples.

    Returns:
        Indices of samples in the split.
    """
    spread = np.unique(np.linspace(0, len(split) - 1, min(256, len(split))).round().astype(int))
    targets = (np.asarray(split[int(index)].target).ravel() for index in spread)
    shares = np.stack([np.bincount(t, minlength=classes)[:classes] / t.size for t in targets])
    chosen: list[int] = []
    for label in np.argsort((shares > 0).sum(0), kind="stable"):
        if len(chosen) < most and shares[:, label].any() and not shares[chosen, label].any():
            chosen.append(int(shares[:, label].argmax()))
    evenly = np.linspace(0, len(spread) - 1, min(most, len(spread))).round().astype(int).tolist()
    rest = [row for row in [*evenly, *range(len(spread))] if row not in chosen]
    chosen += list(dict.fromkeys(rest))[: most - len(chosen)]
    return [int(spread[row]) for row in chosen]
