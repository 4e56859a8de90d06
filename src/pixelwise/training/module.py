"""The LightningModule of all tasks and stages."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, cast

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor, nn
from torchmetrics import Metric

from pixelwise.errors import UserError
from pixelwise.inference import Blender, Evaluated
from pixelwise.losses import WeightedSum, blend
from pixelwise.losses.sums import Labels, counts_images, over_processes, share_of_step
from pixelwise.metrics import Sum
from pixelwise.models import Composition
from pixelwise.protocols import EvaluationProtocol
from pixelwise.schedules.param_groups import parameter_groups
from pixelwise.types import IGNORE, Batch, ignored_label

T = TypeVar("T")


class ScoredPart(NamedTuple):
    """Logits and labels that are scored together."""

    logits: Tensor
    target: Tensor
    valid: Tensor
    border: Tensor | None
    piece: bool
    """Whether this is a part of a larger image."""


class Output(NamedTuple):
    """Logits of the model or of an auxiliary head, and the loss that compares them with the labels."""

    name: str
    """Name under `train/loss`; "" for the model itself."""
    logits: Tensor
    loss: WeightedSum
    weight: float = 1.0


class Module(L.LightningModule):
    """A composition with its losses, scores and optimizer.

    Args:
        model: a model that returns logits (B, K) or (B, K, H, W).
        losses: the loss of each phase. All are kept in the module, so that all are on its device. Outside of
            training the last one is used.
        scores: the metric, which accumulates logits and targets; it is copied for each evaluation stage.
        optimizer: parameter groups → optimizer. The schedule sets the learning rate of each group before
            every step, from the group's part of the model.
        memory_format: memory format of the weights and the images.
        groups: model → parameter groups.
        auxiliary_losses: the losses of the model's auxiliary heads, by name; a head that is left out has the
            loss of the phase.
        protocol: how images are evaluated. (The loader resizes them.)
    """

    def __init__(
        self,
        model: Composition,
        losses: Sequence[WeightedSum],
        scores: Metric,
        optimizer: Callable[[list[dict[str, Any]]], torch.optim.Optimizer],
        memory_format: torch.memory_format = torch.channels_last,
        groups: Callable[[Composition], list[dict[str, Any]]] = parameter_groups,
        auxiliary_losses: Mapping[str, WeightedSum] | None = None,
        protocol: EvaluationProtocol | None = None,
    ) -> None:
        super().__init__()
        self.model = model.to(memory_format=memory_format)
        self.losses = nn.ModuleList(losses)
        self.auxiliary_losses = nn.ModuleDict(auxiliary_losses)
        self.scores = nn.ModuleDict({"val": scores, "test": scores.clone()})
        self.optimizer = optimizer
        self.groups = groups
        self.memory_format = memory_format
        self.evaluated = Evaluated(protocol)
        self.config: dict[str, Any] = {}
        """The resolved config in plain containers; saved in every checkpoint."""
        self.phase = ""
        """Name of the current phase."""
        self.index_of_loss = -1
        self.results: dict[str, float] = {}
        """Scores of the last evaluation in full precision, by flat names such as "test/miou"."""
        self._sums: dict[str, Sum] = {}
        self._blender = Blender()
        self.summary = ""
        """Summary of the last evaluation, such as the number of classes in the means."""
        self.confusion: Tensor | None = None
        """(K, K) counts of the last evaluation, rows for the truth; None if the scores have no matrix."""

    @property
    def loss(self) -> WeightedSum:
        """The loss of the current phase; outside of training that of the last phase."""
        return cast(WeightedSum, self.losses[self.index_of_loss])

    def predict_labels(self, logits: Tensor) -> Tensor:
        """Return the labels that the scores derive from logits, in the format of the target."""
        return cast(Any, self.scores["val"]).predict_labels(logits)

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits for normalised images (B, C, H, W)."""
        return self.model(image)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Batch:
        """Convert and normalise a batch on the device; the targets of padding rows are ignored."""
        image = self.model.normalize(batch["image"]).contiguous(memory_format=self.memory_format)
        valid = batch["valid"]
        target = batch["target"].long()
        rows = valid.view(-1, *[1] * (target.ndim - 1))
        classes = len(getattr(self.scores["val"], "classes", ()))
        ignored = IGNORE if target.ndim == 2 else ignored_label(classes)  # several labels, or one
        target = torch.where(rows, target, ignored)
        return cast(Batch, {**batch, "image": image, "target": target})

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a training batch, scaled so that accumulated gradients are those of one loss.

        `train/loss` is the loss of the model alone, as in validation. The loss of an auxiliary head is logged
        as `train/loss/aux_NAME`, without its weight.
        """
        outputs = self._outputs(batch["image"])
        if "second" in batch:  # mixed images
            classes = outputs[0].logits.shape[1]
            target = blend(batch["target"], batch["second"], batch["share"], classes)
            batch = cast(Batch, {**batch, "target": target})
        terms, labels = self._terms(outputs, batch)
        losses = [output.loss.total(own) for output, own in zip(outputs, terms, strict=True)]
        total = _sum(output.weight * loss for output, loss in zip(outputs, losses, strict=True))
        self._check_finite(total, batch["key"])
        named = self._named("train", losses[0].detach(), {n: term.detach() for n, term in terms[0].items()})
        for output, loss in zip(outputs[1:], losses[1:], strict=True):
            named[f"train/loss/{output.name}"] = loss.detach()
        self.log_dict(cast(dict[str, Any], named), batch_size=len(batch["key"]))
        if labels is not None:
            total = _sum(
                output.weight * self._of_step(output.loss, own, labels)
                for output, own in zip(outputs, terms, strict=True)
            )
        # the strategy averages the gradients over the processes; here they must be summed
        return total * self.trainer.world_size

    def _outputs(self, image: Tensor) -> list[Output]:
        """Return the outputs of the model and of its auxiliary heads."""
        outputs, own_losses = [Output("", self.model(image), self.loss)], dict(self.auxiliary_losses.items())
        if self.model.auxiliary is not None:
            height, width = image.shape[-2:]
            for name, head, logits in self.model.auxiliary.logits((height, width)):
                loss = cast(WeightedSum, own_losses.get(name, self.loss))
                outputs.append(Output(f"aux_{name}", logits, loss, head.weight))
        return outputs

    def _terms(
        self, outputs: Sequence[Output], batch: Batch
    ) -> tuple[list[dict[str, Tensor]], Tensor | None]:
        """Return the loss terms of each output and the label counts, see `Batch`, over all processes."""
        target, labels = batch["target"], batch.get("labels")
        if self.trainer.world_size == 1:
            return [output.loss.terms(output.logits, target) for output in outputs], labels
        sums = [output.loss.sums(output.logits, target) for output in outputs]
        own = [value for each in sums for value in each.values()]
        together = iter(over_processes([*own, *([] if labels is None else [labels])]))
        terms = [
            output.loss.finish({name: next(together) for name in each})
            for output, each in zip(outputs, sums, strict=True)
        ]
        return terms, None if labels is None else next(together)

    def _of_step(self, loss: WeightedSum, terms: Mapping[str, Tensor], labels: Tensor) -> Tensor:
        """Return the share () of a batch in the loss of an optimizer step of several batches.

        Args:
            loss: the loss.
            terms: its terms for the batch.
            labels: (2, K + 1) label counts, see `Batch`.
        """
        batch, step = (Labels(counts[:-1], counts[-1]) for counts in labels)
        parts = {name: term * share_of_step(loss.parts[name], batch, step) for name, term in terms.items()}
        return loss.total(parts) * self.trainer.accumulate_grad_batches  # Lightning divides by it

    def _named(self, stage: str, loss: T, terms: Mapping[str, T]) -> dict[str, T]:
        """Return the loss by flat name and, if it has several terms, the terms."""
        several = terms if len(terms) > 1 else {}
        return {f"{stage}/loss": loss, **{f"{stage}/loss/{name}": term for name, term in several.items()}}

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Accumulate the validation scores; return the logits for callbacks."""
        return {"logits": self._evaluate(batch, "val")}

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Accumulate the test scores; return the logits for callbacks."""
        return {"logits": self._evaluate(batch, "test")}

    def _evaluate(self, batch: Batch, stage: str) -> Tensor:
        """Add a batch to the scores and losses of its split and return its logits."""
        logits = self.evaluated(self.model, batch["image"], batch["target"].shape[-2:])
        for part in self._parts(batch, logits):
            cast(Metric, self.scores[stage]).update(part.logits, part.target, part.valid, part.border)
            sums = self.loss.sums(part.logits, part.target, each_image=True)
            for name, value in sums.items():
                if part.piece and counts_images(self.loss.parts[name]):
                    value = value * (part.target != IGNORE).sum()
                self._sums.setdefault(name, Sum(value)).update(value)
        return logits

    def _parts(self, batch: Batch, logits: Tensor) -> Iterator[ScoredPart]:
        """Yield the batch itself or, for windows of larger images, the parts that no later window covers."""
        target, valid, border = batch["target"], batch["valid"], batch.get("border")
        if "window" not in batch or not valid.any():
            yield ScoredPart(logits, target, valid, border, piece=False)
            return
        for row in valid.nonzero()[:, 0].tolist():
            finished = self._blender.add(batch["window"][row], logits[row].float())[None]
            own = np.s_[row : row + 1, : finished.shape[-2], : finished.shape[-1]]
            edge = None if border is None else border[own]
            yield ScoredPart(finished, target[own], valid[row : row + 1], edge, piece=True)

    def _check_finite(self, loss: Tensor, keys: list[str]) -> None:
        if not torch.isfinite(loss):
            raise UserError(
                f"the training loss is {loss.item()} at step {self.global_step}; checkpoints are unchanged",
                found="samples " + ", ".join(self._of_all_processes(keys)),
                fix="a lower optimizer.lr, trainer.gradient_clip_val=1 or trainer.precision=32-true; "
                "check these samples with scripts/audit.py",
            )

    def _of_all_processes(self, keys: list[str]) -> list[str]:
        """Return the keys of the samples of all processes, in which the loss is the same."""
        if self.trainer.world_size == 1:
            return keys
        gathered: list[Any] = [None] * self.trainer.world_size
        torch.distributed.all_gather_object(gathered, keys)
        return [key for own in gathered for key in own]

    def on_validation_epoch_end(self) -> None:
        """Log the scores of the validation split."""
        self._finish("val")

    def on_test_epoch_end(self) -> None:
        """Log the scores of the test split."""
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
        if all(math.isnan(score) for score in scores.values()):  # no labels, of which the loss is 0
            losses = dict.fromkeys(losses, math.nan)
        named = self.evaluated.score_name
        self.results = {named(stage, name): float(score) for name, score in scores.items()}
        self.log_dict({name: torch.tensor(value) for name, value in (losses | self.results).items()})
        self.results[f"{stage}/loss"] = losses[f"{stage}/loss"]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the config, and the averaged weights also to checkpoints that have only weights.

        Lightning does not call callbacks for checkpoints that have only weights, such as `best.ckpt`.
        """
        checkpoint["config"] = self.config
        callbacks: list[L.Callback] = self.trainer.callbacks  # type: ignore[attr-defined]
        for callback in callbacks:
            if isinstance(callback, WeightAveraging) and "current_model_state" not in checkpoint:
                callback.on_save_checkpoint(self.trainer, self, checkpoint)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Build the optimizer over the parameter groups of the schedule."""
        return self.optimizer(self.groups(self.model))


def _sum(losses: Iterator[Tensor]) -> Tensor:
    return torch.stack([*losses]).sum()
