"""The one LightningModule: every task, every stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, cast

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor, nn
from torchmetrics import Metric

from pixelwise.errors import UserError
from pixelwise.inference import TTA, Blender, with_tta
from pixelwise.losses import WeightedSum
from pixelwise.losses.sums import Labels, counts_images, over_processes, share_of_step
from pixelwise.metrics import Sum
from pixelwise.models import Composition
from pixelwise.schedules.param_groups import parameter_groups
from pixelwise.types import IGNORE, Batch

T = TypeVar("T")


class Part(NamedTuple):
    """What is scored at once."""

    logits: Tensor
    target: Tensor
    valid: Tensor
    border: Tensor | None
    piece: bool
    """Whether it is a piece of a larger image."""


class Module(L.LightningModule):
    """A composition with its losses, its scores and its optimizer.

    Args:
        model: gives logits (B, K) or (B, K, H, W).
        losses: one a phase. All are held from the start, so that all are on the device. Outside of training
            the last one is used.
        scores: accumulates logits and targets; copied for each evaluation stage.
        optimizer: parameter groups → optimizer. Each group says its part of the model, by which the
            schedule sets its learning rate before every step.
        memory_format: of the weights and the images.
        groups: model → parameter groups.
    """

    def __init__(
        self,
        model: Composition,
        losses: Sequence[WeightedSum],
        scores: Metric,
        optimizer: Callable[[list[dict[str, Any]]], torch.optim.Optimizer],
        memory_format: torch.memory_format = torch.channels_last,
        groups: Callable[[Composition], list[dict[str, Any]]] = parameter_groups,
    ) -> None:
        super().__init__()
        self.model = model.to(memory_format=memory_format)
        self.losses = nn.ModuleList(losses)
        self.scores = nn.ModuleDict({"val": scores, "test": scores.clone()})
        self.optimizer = optimizer
        self.groups = groups
        self.memory_format = memory_format
        self.config: dict[str, Any] = {}
        """The resolved config in plain containers; saved in every checkpoint."""
        self.phase = ""
        """Name of the phase that is being trained."""
        self.index_of_loss = -1
        self.results: dict[str, float] = {}
        """Scores of the last evaluation in full precision, by flat name such as "test/miou"."""
        self.views: Sequence[TTA] = ()
        """Test-time augmentation of evaluations."""
        self._sums: dict[str, Sum] = {}
        self._blender = Blender()
        self.summary = ""
        """Over how many classes the means of the last evaluation run."""
        self.confusion: Tensor | None = None
        """(K, K) counts of the last evaluation, rows for the truth; None where scores come from elsewhere."""

    @property
    def loss(self) -> WeightedSum:
        """The loss of the phase that is being trained, or else of the last one."""
        return cast(WeightedSum, self.losses[self.index_of_loss])

    def decide(self, logits: Tensor) -> Tensor:
        """What logits say, in the form of the target, as the scores read them."""
        return cast(Any, self.scores["val"]).decide(logits)

    def forward(self, image: Tensor) -> Tensor:
        """Logits for a normalised (B, C, H, W) image."""
        return self.model(image)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Batch:
        """Convert and normalise on the device; what fills up a batch is ignored like any unlabelled pixel."""
        image = self.model.normalize(batch["image"]).contiguous(memory_format=self.memory_format)
        valid = batch["valid"]
        target = batch["target"].long()
        rows = valid.view(-1, *[1] * (target.ndim - 1))
        target = torch.where(rows, target, IGNORE)
        return cast(Batch, {**batch, "image": image, "target": target})

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one training batch, scaled so that the gradient of a whole step is that of its loss."""
        logits = self.model(batch["image"])
        processes, labels = self.trainer.world_size, batch.get("labels")
        if processes == 1:
            terms = self.loss.terms(logits, batch["target"])
        else:
            sums = self.loss.sums(logits, batch["target"])
            together = over_processes([*sums.values(), *([] if labels is None else [labels])])
            labels = None if labels is None else together.pop()
            terms = self.loss.finish(dict(zip(sums, together, strict=True)))
        loss = self.loss.total(terms)
        self._check_finite(loss, batch["key"])
        named = self._named("train", loss.detach(), {name: term.detach() for name, term in terms.items()})
        self.log_dict(cast(dict[str, Any], named), batch_size=len(batch["key"]))
        if labels is not None:
            loss = self._of_step(terms, labels)
        # the strategy divides the sum of the processes' gradients by their number
        return loss if processes == 1 else loss * processes

    def _of_step(self, terms: Mapping[str, Tensor], labels: Tensor) -> Tensor:
        """This batch's part () in the loss of a step of several batches.

        Args:
            terms: this batch's.
            labels: (2, K + 1), as in `Batch`.
        """
        batch, step = (Labels(counts[:-1], counts[-1]) for counts in labels)
        parts = {
            name: term * share_of_step(self.loss.parts[name], batch, step) for name, term in terms.items()
        }
        return self.loss.total(parts) * self.trainer.accumulate_grad_batches  # by which Lightning divides

    def _named(self, stage: str, loss: T, terms: Mapping[str, T]) -> dict[str, T]:
        """The loss by its flat name and, where there are several, its terms."""
        several = terms if len(terms) > 1 else {}
        return {f"{stage}/loss": loss, **{f"{stage}/loss/{name}": term for name, term in several.items()}}

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Accumulate the validation scores."""
        return {"logits": self._evaluate(batch, "val")}

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Accumulate the test scores."""
        return {"logits": self._evaluate(batch, "test")}

    def _evaluate(self, batch: Batch, stage: str) -> Tensor:
        """Add a batch to the scores and the losses of its split; gives its logits."""
        logits = with_tta(self.model, self.views)(batch["image"])
        for part in self._parts(batch, logits):
            cast(Metric, self.scores[stage]).update(part.logits, part.target, part.valid, part.border)
            sums = self.loss.sums(part.logits, part.target, each_image=True)
            for name, value in sums.items():
                if part.piece and counts_images(self.loss.parts[name]):
                    value = value * (part.target != IGNORE).sum()
                self._sums.setdefault(name, Sum(value)).update(value)
        return logits

    def _parts(self, batch: Batch, logits: Tensor) -> Iterator[Part]:
        """At least one: the batch itself; of windows of larger images, what no later window reaches."""
        target, valid, border = batch["target"], batch["valid"], batch.get("border")
        if "window" not in batch or not valid.any():
            yield Part(logits, target, valid, border, piece=False)
            return
        for row in valid.nonzero()[:, 0].tolist():
            finished = self._blender.add(batch["window"][row], logits[row].float())[None]
            own = np.s_[row : row + 1, : finished.shape[-2], : finished.shape[-1]]
            edge = None if border is None else border[own]
            yield Part(finished, target[own], valid[row : row + 1], edge, piece=True)

    def _check_finite(self, loss: Tensor, keys: list[str]) -> None:
        if not torch.isfinite(loss):
            raise UserError(
                f"the training loss is {loss.item()} at step {self.global_step}; nothing was overwritten",
                found="samples " + ", ".join(keys),
                fix="a lower optimizer.lr, trainer.gradient_clip_val=1 or trainer.precision=32-true; "
                "look at these samples with scripts/audit.py",
            )

    def on_validation_epoch_end(self) -> None:
        """Scores of the validation split."""
        self._finish("val")

    def on_test_epoch_end(self) -> None:
        """Scores of the test split."""
        self._finish("test")

    def _finish(self, stage: str) -> None:
        metric = cast(Metric, self.scores[stage])
        scores: Mapping[str, Tensor] = metric.compute()
        self.summary = cast(Any, metric).summary()
        self.confusion = getattr(metric, "counts", None)
        metric.reset()
        terms = self.loss.finish({name: total.compute() for name, total in self._sums.items()})
        self._sums.clear()
        by_name = {name: float(term) for name, term in terms.items()}
        losses = self._named(stage, float(self.loss.total(terms)), by_name)
        self.results = {f"{stage}/{name}": float(score) for name, score in scores.items()}
        self.log_dict({name: torch.tensor(value) for name, value in (losses | self.results).items()})
        self.results[f"{stage}/loss"] = losses[f"{stage}/loss"]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """A checkpoint alone says what it is.

        Lightning tells callbacks of whole states only; the best weights are to be the averaged ones, too.
        """
        checkpoint["config"] = self.config
        callbacks: list[L.Callback] = self.trainer.callbacks  # type: ignore[attr-defined]
        for callback in callbacks:
            if isinstance(callback, WeightAveraging) and "current_model_state" not in checkpoint:
                callback.on_save_checkpoint(self.trainer, self, checkpoint)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Parameters in the groups that the schedule sets rates for."""
        return self.optimizer(self.groups(self.model))
