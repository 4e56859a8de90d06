"""The callback that leaves in the run folder what its report shows and nothing else tells."""

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
from pixelwise.metrics.per_sample import sample_scores
from pixelwise.reports.drawing import colours, in_words, save_picture
from pixelwise.training.callbacks.evaluation import EvaluationCallback, batches_of, loader_of
from pixelwise.training.callbacks.samples import SamplePrediction, answers, choose
from pixelwise.training.module import Module
from pixelwise.types import IGNORE, Batch

log = logging.getLogger(__name__)

SAMPLED_BATCHES = 8
"""Batches of a validation within training whose samples may be shown where the run is interrupted."""
WRONG = (230, 0, 60)
"""Colour of wrong pixels, on the image in grey."""


class Record(EvaluationCallback):
    """Write `confusion.json` after each evaluation, and the best, median and worst samples after the last.

    `samples.json` lists them; the pictures lie in `pictures/samples/`. A run that is interrupted gets them,
    too, with the weights of that moment.

    Args:
        classes: names of the classes.
        palette: their colours, or None for a default.
        most: number of samples of each kind.
        side: longest side of their pictures in pixels.
    """

    def __init__(
        self,
        classes: Sequence[str],
        palette: Sequence[Sequence[int]] | None = None,
        most: int = 3,
        side: int = 320,
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
        """Note how well each sample was answered; while training, of some batches only.

        Rows of (index, score), as many on each process, with NaN for what only fills up a batch.
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
        """Where a signal ended training (all processes leave at the same step), show where it stood."""
        if isinstance(exception, SystemExit) and self._chosen and trainer.state.fn == "fit":
            self._draw(trainer, module, "val")

    def on_evaluation_end(self, trainer: L.Trainer, module: Module, split: str) -> None:
        """What was confused with what; the samples only where this is the final evaluation."""
        gathered = trainer.strategy.all_gather(torch.cat(self._scores, dim=1))
        indices, scores = gathered.transpose(-1, -2).reshape(-1, 2).T.tolist()
        self._chosen = {int(indices[i]): kind for i, kind in choose(scores, self.most).items()}
        if module.confusion is not None and trainer.is_global_zero:
            facts = {"split": split, "step": trainer.global_step, "counted": self._counted}
            write_json(
                Path(trainer.default_root_dir) / "confusion.json",
                {**facts, "classes": self.classes, "matrix": module.confusion.tolist()},
            )
        if trainer.state.fn != "fit":
            self._draw(trainer, module, split)

    def _draw(self, trainer: L.Trainer, module: Module, split: str) -> None:
        found = answers(trainer, module, loader_of(trainer, split), list(self._chosen))
        if not trainer.is_global_zero:
            return
        folder = Path(trainer.default_root_dir)
        pictures = folder / "pictures/samples"
        pictures.mkdir(parents=True, exist_ok=True)
        for old in pictures.iterdir():
            old.unlink()
        chosen = zip(found, self._chosen.values(), strict=True)
        facts = {"split": split, "step": trainer.global_step, "classes": self.classes}
        content = {
            **facts,
            "colours": self.table[: len(self.classes)].tolist(),
            "samples": [
                self._save(folder, f"{i}_{kind}", a) | {"kind": kind} for i, (a, kind) in enumerate(chosen)
            ],
        }
        write_json(folder / "samples.json", content)

    def _save(self, folder: Path, name: str, answer: SamplePrediction) -> dict[str, Any]:
        """Write a sample's pictures; return what there is to say of it."""
        files = {}
        for view, picture in self.pictures(answer).items():
            suffix = "png" if picture.mode == "P" else "jpg"  # sharp masks, small photographs
            files[view] = f"pictures/samples/{name}_{view}.{suffix}"
            save_picture(picture, folder / files[view])
        return {"key": answer.key, "score": answer.score, **self.said(answer), "pictures": files}

    def pictures(self, answer: SamplePrediction) -> dict[str, Image.Image]:
        """The image and, for masks, truth, prediction and where they differ; none larger than `side`."""
        drawn = {"image": Image.fromarray(answer.image)}
        if answer.target.ndim == 2:
            for name, mask in (("truth", answer.target), ("prediction", answer.prediction)):
                drawn[name] = Image.fromarray(mask)
                drawn[name].putpalette(self.table.tobytes())
            drawn["error"] = Image.fromarray(error_map(answer))
        for name, picture in drawn.items():
            scale = self.side / max(picture.size)
            if scale < 1:
                size = [max(1, round(length * scale)) for length in picture.size]
                smooth = Image.Resampling.NEAREST if picture.mode == "P" else Image.Resampling.LANCZOS
                drawn[name] = picture.resize((size[0], size[1]), smooth)
        return drawn

    def said(self, answer: SamplePrediction) -> dict[str, str]:
        """Truth and prediction in words, where they are no masks."""
        if answer.target.ndim == 2:
            return {}
        return {
            "truth": in_words(answer.target, self.classes),
            "prediction": in_words(answer.prediction, self.classes),
        }


def error_map(answer: SamplePrediction) -> np.ndarray:
    """(H, W, 3) uint8: the image in pale grey, wrong pixels in red, pixels that do not count in white."""
    grey = 100 + answer.image.mean(axis=2, keepdims=True) * 0.5
    picture = np.repeat(grey, 3, axis=2)
    picture[answer.prediction != answer.target] = WRONG
    picture[answer.target == IGNORE] = 255
    return picture.astype(np.uint8)
