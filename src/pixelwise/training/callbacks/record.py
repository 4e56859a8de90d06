"""The callback that writes the confusion matrix and selected samples for the report of a run."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pixelwise.data.samplers import EvaluationBatches
from pixelwise.files import write_json
from pixelwise.kinds import Colour, Count, Whole
from pixelwise.metrics.per_sample import sample_scores
from pixelwise.reports.drawing import colours, in_words, save_picture
from pixelwise.training.callbacks.evaluation import EvaluationCallback, batches_of, loader_of
from pixelwise.training.callbacks.samples import SamplePrediction, choose, predict_samples
from pixelwise.training.module import Module
from pixelwise.types import IGNORE, Batch

log = logging.getLogger(__name__)

SAMPLED_BATCHES = 8
"""Number of validation batches during training whose samples an interrupted run can show."""
WRONG = (230, 0, 60)
"""Colour of wrong pixels on the grey image."""


class EvaluationRecorder(EvaluationCallback):
    """Write `confusion.json` after each evaluation, and the best, median and worst samples after the last.

    `samples.json` lists the samples; their pictures are in `pictures/samples/`. They are also written when a
    run is interrupted, with the weights at that time.

    Args:
        classes: names of the classes.
        palette: colours of the classes; None for the default colours.
        most: number of samples of each kind.
        side: longest side of a picture in pixels.
    """

    def __init__(
        self,
        classes: Sequence[str],
        palette: Sequence[Colour] | None = None,
        most: Whole = 3,
        side: Count = 320,
    ) -> None:
        self.classes = tuple(classes)
        self.table = colours(len(classes), palette)
        self.most = most
        self.side = side
        self._scores: list[Tensor] = []
        self._chosen: dict[int, str] = {}
        self._counted = ""

    def on_evaluation_batch(
        self, trainer: L.Trainer, module: Module, split: str, logits: Tensor, batch: Batch, index: int
    ) -> None:
        """Store the score of each sample; during training of some batches only.

        Each sample is a pair (index, score), with the same number on each process; padding rows score NaN.
        """
        if trainer.state.fn == "fit" and index % math.ceil(batches_of(trainer, split) / SAMPLED_BATCHES):
            return
        if index == 0:
            self._scores = []
        self._counted = "pixels" if batch["target"].ndim == 3 else "images"
        scores = sample_scores(logits, batch["target"]).float()
        indices = torch.zeros_like(scores)
        sampler = loader_of(trainer, split).batch_sampler
        assert isinstance(sampler, EvaluationBatches)
        draws = [draw.sample for draw in sampler.batches[index]]
        indices[: len(draws)] = torch.tensor(draws, dtype=scores.dtype)
        self._scores.append(torch.stack([indices, scores.where(batch["valid"], torch.nan)]))

    def on_exception(self, trainer: L.Trainer, module: Any, exception: BaseException) -> None:
        """Write the samples if a signal ended the training; all processes stop at the same step."""
        if isinstance(exception, SystemExit) and self._chosen and trainer.state.fn == "fit":
            self._draw(trainer, module, "val")

    def on_evaluation_end(self, trainer: L.Trainer, module: Module, split: str) -> None:
        """Write the confusion matrix and, in the final evaluation, the samples."""
        gathered = trainer.strategy.all_gather(torch.cat(self._scores, dim=1))
        indices, scores = gathered.transpose(-1, -2).reshape(-1, 2).T.tolist()
        self._chosen = {int(indices[i]): kind for i, kind in choose(scores, self.most).items()}
        if not self._chosen:  # nothing in the split is labelled
            self._chosen = dict.fromkeys(sorted({int(i) for i in indices})[: self.most], "unscored")
        if module.confusion is not None and trainer.is_global_zero:
            facts = {"split": split, "step": trainer.global_step, "counted": self._counted}
            write_json(
                Path(trainer.default_root_dir) / "confusion.json",
                {**facts, "classes": self.classes, "matrix": module.confusion.tolist()},
            )
        if trainer.state.fn != "fit":
            self._draw(trainer, module, split)

    def _draw(self, trainer: L.Trainer, module: Module, split: str) -> None:
        predictions = predict_samples(trainer, module, loader_of(trainer, split), list(self._chosen))
        if not trainer.is_global_zero:
            return
        folder = Path(trainer.default_root_dir)
        pictures = folder / "pictures/samples"
        pictures.mkdir(parents=True, exist_ok=True)
        for old in pictures.iterdir():
            old.unlink()
        chosen = zip(predictions, self._chosen.values(), strict=True)
        facts = {"split": split, "step": trainer.global_step, "classes": self.classes}
        content = {
            **facts,
            "colours": self.table[: len(self.classes)].tolist(),
            "samples": [
                self._save(folder, f"{i}_{kind}", sample) | {"kind": kind}
                for i, (sample, kind) in enumerate(chosen)
            ],
        }
        write_json(folder / "samples.json", content)

    def _save(self, folder: Path, name: str, sample: SamplePrediction) -> dict[str, Any]:
        """Write the pictures of a sample; return its entry in `samples.json`."""
        files = {}
        for view, picture in self.pictures(sample).items():
            suffix = "png" if picture.mode == "P" else "jpg"  # sharp masks, small photographs
            files[view] = f"pictures/samples/{name}_{view}.{suffix}"
            save_picture(picture, folder / files[view])
        score = sample.score if math.isfinite(sample.score) else None
        return {"key": sample.key, "score": score, **self.labels_in_words(sample), "pictures": files}

    def pictures(self, sample: SamplePrediction) -> dict[str, Image.Image]:
        """Return the image and, for masks, truth, prediction and an error map; no side exceeds `side`."""
        drawn = {"image": Image.fromarray(sample.image)}
        if sample.target.ndim == 2:
            for name, mask in (("truth", sample.target), ("prediction", sample.prediction)):
                drawn[name] = Image.fromarray(mask)
                drawn[name].putpalette(self.table.tobytes())
            drawn["error"] = Image.fromarray(error_map(sample))
        for name, picture in drawn.items():
            scale = self.side / max(picture.size)
            if scale < 1:
                size = [max(1, round(length * scale)) for length in picture.size]
                smooth = Image.Resampling.NEAREST if picture.mode == "P" else Image.Resampling.LANCZOS
                drawn[name] = picture.resize((size[0], size[1]), smooth)
        return drawn

    def labels_in_words(self, sample: SamplePrediction) -> dict[str, str]:
        """Return truth and prediction as class names; nothing for masks."""
        if sample.target.ndim == 2:
            return {}
        return {
            "truth": in_words(sample.target, self.classes),
            "prediction": in_words(sample.prediction, self.classes),
        }


def error_map(sample: SamplePrediction) -> np.ndarray:
    """Return (H, W, 3) uint8: the image in light grey, wrong pixels in red, ignored pixels in white."""
    grey = 100 + sample.image.mean(axis=2, keepdims=True) * 0.5
    picture = np.repeat(grey, 3, axis=2)
    picture[sample.prediction != sample.target] = WRONG
    picture[sample.target == IGNORE] = 255
    return picture.astype(np.uint8)
