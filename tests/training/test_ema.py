"""The moving average of the weights: values computed by hand, checkpoints, evaluation, resuming."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from tests.helpers import Compose, refused
from torch import Tensor

from pixelwise import build, runs
from pixelwise.build.restore import load
from pixelwise.runs import checkpoints
from pixelwise.training.callbacks.ema import EMA
from pixelwise.training.evaluate import evaluate
from pixelwise.training.module import Module
from pixelwise.training.train import train
from pixelwise.types import Batch

EVERY_STEP = "callbacks.checkpoint.every_n_steps=1"
WITH_EMA = ["callbacks=[default,ema]", "callbacks.ema.decay=0.5"]


class Watch(L.Callback):
    """Copies of the weights after every step and at every validation, and the validation scores."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Tensor]] = []
        self.validated: list[dict[str, Tensor]] = []
        self.scores: list[float] = []

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        self.steps.append(copy(module))

    def on_validation_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:
        self.validated.append(copy(module))

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.scores.append(float(trainer.callback_metrics["val/miou"]))


def copy(module: L.LightningModule) -> dict[str, Tensor]:
    assert isinstance(module, Module)
    return {name: tensor.detach().clone() for name, tensor in module.model.state_dict().items()}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def folder_of(compose: Compose, folder: Path, *overrides: str) -> Path:
    return runs.create(folder, compose(*overrides), overrides)


@pytest.fixture
def watched(compose: Compose, tiny: list[str], tmp_path: Path) -> tuple[Path, Watch]:
    """A trained run folder and its record: four steps, a validation after every second step."""
    folder, watch = folder_of(compose, tmp_path / "run", *tiny, *WITH_EMA, EVERY_STEP), Watch()
    run = build.run(runs.load_config(folder), folder)
    run.trainer.callbacks.append(watch)  # type: ignore[attr-defined]
    train(run, folder)
    return folder, watch


def averages(steps: list[dict[str, Tensor]], decay: float = 0.5) -> list[dict[str, Tensor]]:
    """Averages by hand: the first one is the first weights; the decay grows as (1 + t) / (10 + t)."""
    average = {name: tensor.double() for name, tensor in steps[0].items()}
    result = [average]
    for t, weights in enumerate(steps[1:], start=1):
        current = min(decay, (1 + t) / (10 + t))
        average = {n: current * average[n] + (1 - current) * weights[n].double() for n in average}
        result.append(average)
    return result


def test_validation_uses_the_average_computed_by_hand(watched: tuple[Path, Watch]) -> None:
    _, watch = watched
    expected = averages(watch.steps)
    for validated, average in zip(watch.validated, (expected[1], expected[3]), strict=False):
        floats = [n for n, tensor in validated.items() if tensor.is_floating_point()]
        assert any(n.endswith("running_mean") for n in floats)
        for name in floats:
            torch.testing.assert_close(validated[name].double(), average[name], rtol=1e-5, atol=1e-6)


def test_training_continues_with_the_raw_weights(
    watched: tuple[Path, Watch], compose: Compose, tiny: list[str], tmp_path: Path
) -> None:
    _, watch = watched
    plain, other = Watch(), folder_of(compose, tmp_path / "plain", *tiny)
    run = build.run(runs.load_config(other), other)
    run.trainer.callbacks.append(plain)  # type: ignore[attr-defined]
    run.trainer.fit(run.module, datamodule=run.data)
    assert all(equal(a, b) for a, b in zip(watch.steps, plain.steps, strict=True))


def test_checkpoints_hold_the_average_and_the_raw_weights(
    watched: tuple[Path, Watch],
) -> None:
    folder, watch = watched
    best = 0 if watch.scores[0] >= watch.scores[1] else 1
    state = checkpoints.read(folder / "checkpoints/best.ckpt")
    assert equal(checkpoints.model_weights(state), watch.validated[best])
    assert equal(checkpoints.model_weights(state, averaged=False), watch.steps[2 * best + 1])
    assert "optimizer_states" not in state
    last = checkpoints.read(folder / "checkpoints/last.ckpt")
    assert equal(checkpoints.model_weights(last), watch.validated[1])
    assert equal(checkpoints.model_weights(last, averaged=False), watch.steps[3])


def test_evaluate_and_load_use_the_average_by_default(watched: tuple[Path, Watch]) -> None:
    folder, watch = watched

    def again(**options: Any) -> dict[str, float]:
        run = build.evaluation(runs.load_config(folder), folder)
        return evaluate(run, folder, **options)

    recorded = runs.read_scores(folder / "metrics.json")
    assert {name: str(value) for name, value in again().items()} == {n: str(v) for n, v in recorded.items()}
    assert again(averaged=False)["test/loss"] != recorded["test/loss"]
    best = 0 if watch.scores[0] >= watch.scores[1] else 1
    assert equal(dict(load(folder).state_dict()), watch.validated[best])


def test_final_scores_on_val_are_those_of_the_best_weights(
    compose: Compose, folders: Callable[[str], list[str]], tmp_path: Path
) -> None:
    """There is no test split: Lightning's callback would replace the weights by the last average."""
    small = ["encoder=test_resnet", "epochs=3", "data.crop_size=32", "data.batch_size=2", "optimizer.lr=0.05"]
    folder = folder_of(compose, tmp_path / "run", *folders("segmentation"), *small, *WITH_EMA)
    train(build.run(runs.load_config(folder), folder), folder)
    run = build.evaluation(runs.load_config(folder), folder)
    recorded = runs.read_scores(folder / "metrics.json")
    assert {n: str(v) for n, v in evaluate(run, folder).items()} == {n: str(v) for n, v in recorded.items()}
    last = build.evaluation(runs.load_config(folder), folder)
    assert evaluate(last, folder, weights="last")["val/loss"] != recorded["val/loss"]


def test_resumed_run_restores_weights_and_average(
    watched: tuple[Path, Watch], compose: Compose, tiny: list[str], tmp_path: Path
) -> None:
    folder, watch = watched
    rest = Watch()
    again = folder_of(compose, tmp_path / "again", *tiny, *WITH_EMA)
    run = build.run(runs.load_config(again), again)
    run.trainer.callbacks.append(rest)  # type: ignore[attr-defined]
    train(run, again, start=folder / "checkpoints/previous.ckpt")  # after three of the four steps
    assert len(rest.steps) == 1
    assert equal(rest.steps[-1], watch.steps[-1])
    assert equal(rest.validated[-1], watch.validated[1])


def test_average_of_a_frozen_part_stays_exactly_equal(
    compose: Compose, tiny: list[str], tmp_path: Path
) -> None:
    watch = Watch()
    frozen = ["schedule=constant", "epochs=4", "+schedule.phases.all.freeze=[encoder]"]
    run = build.run(compose(*tiny, *frozen, "callbacks=[default,ema]"), tmp_path)
    run.trainer.callbacks.append(watch)  # type: ignore[attr-defined]
    before = copy(run.module)
    run.trainer.fit(run.module, datamodule=run.data)
    encoder = [name for name in before if name.startswith(("encoder.", "normalize."))]
    assert all(torch.equal(before[name], watch.validated[-1][name]) for name in encoder)
    assert not torch.equal(before["head.conv.weight"], watch.validated[-1]["head.conv.weight"])


def test_average_counts_optimizer_steps_under_accumulation(
    compose: Compose, tiny: list[str], tmp_path: Path
) -> None:
    watch = Watch()
    run = build.run(compose(*tiny, *WITH_EMA, "trainer.accumulate_grad_batches=2"), tmp_path)
    run.trainer.callbacks.append(watch)  # type: ignore[attr-defined]
    run.trainer.fit(run.module, datamodule=run.data)
    assert run.trainer.global_step == 2
    expected = averages([watch.steps[1], watch.steps[3]])[1]
    torch.testing.assert_close(
        watch.validated[-1]["head.conv.weight"].double(), expected["head.conv.weight"], rtol=1e-5, atol=1e-6
    )


@pytest.mark.fast
def test_raw_weights_without_an_average_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "best.ckpt"
    torch.save({"state_dict": {}}, file)
    with refused(r"averaged=false[\s\S]*callbacks=ema"):
        checkpoints.load_model(None, file, averaged=False)  # type: ignore[arg-type]


@pytest.mark.fast
@pytest.mark.parametrize("decay", [-0.1, 1.0, "much", True])
def test_ema_decay_out_of_range_is_refused(decay: Any) -> None:
    with refused(r"EMA\.decay"):
        EMA(decay)
