"""Trainings that fail: error messages and unchanged files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from tests.helpers import Compose, Script, refused

from pixelwise import build, runs
from pixelwise.runs import checkpoints
from pixelwise.runs.sweep import validations
from pixelwise.training.train import train


def test_nan_loss_ends_training_and_keeps_checkpoints(
    script: Script, tiny: list[str], tmp_path: Path
) -> None:
    schedule = ["schedule=freeze_then_finetune", "schedule.phases.warmup.epochs=1"]
    schedule += ["schedule.phases.finetune.lr=1e30", "schedule.phases.finetune.epochs=2"]
    overrides = [o for o in tiny if not o.startswith("epochs")]
    done = script("train.py", *overrides, *schedule, "optimizer=sgd", "hydra.run.dir=run")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "error: the training loss is nan at step 3; checkpoints are unchanged" in done.stderr
    samples = next(line for line in done.stderr.splitlines() if "samples" in line)
    assert samples.count("train/") == 4
    assert "a lower optimizer.lr" in done.stderr
    for name in ("last", "best"):  # both from the end of the first epoch
        state = torch.load(tmp_path / f"run/checkpoints/{name}.ckpt", weights_only=True)
        assert state["global_step"] == 2
        assert all(tensor.isfinite().all() for tensor in state["state_dict"].values())
    assert not (tmp_path / "run/metrics.json").exists()
    assert (tmp_path / "run/report.html").exists()


@pytest.mark.parametrize(
    "callbacks", ["callbacks=ema", "callbacks=[progress,early_stopping]", "~callbacks.checkpoint"]
)
def test_a_run_keeps_checkpoints_whatever_callbacks_say(
    callbacks: str, compose: Compose, tiny: list[str], tmp_path: Path
) -> None:
    words = [*tiny, callbacks]
    folder = runs.create(tmp_path / "run", compose(*words), words)
    best = train(build.run(runs.load_config(folder), folder), folder)
    assert best == max(validations(folder, "val/miou"))
    assert {file.name for file in (folder / "checkpoints").iterdir()} >= {"best.ckpt", "last.ckpt"}
    again = build.run(runs.load_config(folder), folder)
    assert train(again, folder, folder / "checkpoints/last.ckpt") == best


@pytest.mark.parametrize(
    ("monitor", "expected"), [("val/mio", "val/miou"), ("val_loss", "val/loss"), ("train/los", "train/loss")]
)
def test_a_wrong_score_of_early_stopping_is_refused(
    monitor: str, expected: str, compose: Compose, tiny: list[str], tmp_path: Path
) -> None:
    words = ["callbacks=[default,early_stopping]", f"callbacks.early_stopping.monitor={monitor}"]
    with refused(rf"callbacks\.early_stopping\.monitor[\s\S]*expected: .*{expected}"):
        build.run(compose(*tiny, *words), tmp_path)
    build.run(compose(*tiny, words[0], f"callbacks.early_stopping.monitor={expected}"), tmp_path)


class Late(L.Callback):
    """Logs a score that is NaN in the first epoch, like the precision of a class that is never predicted."""

    def on_validation_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        module.log("val/late", torch.nan if trainer.current_epoch == 0 else -trainer.current_epoch)


def test_epoch_with_a_score_is_better_than_one_with_nan(
    compose: Compose, tiny: list[str], tmp_path: Path
) -> None:
    overrides = [*tiny, "epochs=3", "task.monitor=val/late"]
    folder = runs.create(tmp_path / "run", compose(*overrides), overrides)
    run = build.run(runs.load_config(folder), folder)
    run.trainer.callbacks.append(Late())  # type: ignore[attr-defined]
    assert train(run, folder) == -1
    assert checkpoints.read(folder / "checkpoints/best.ckpt")["epoch"] == 1


class Greedy(L.Callback):
    """Allocates more memory than there is."""

    def on_train_batch_start(self, *_: Any) -> None:
        torch.empty(1 << 50)


@pytest.mark.parametrize(
    ("size", "accumulate", "fix"),
    [
        (4, 1, "data.batch_size=2 trainer.accumulate_grad_batches=2"),
        (2, 3, "data.batch_size=1 trainer.accumulate_grad_batches=6"),
        (1, 1, "fix:      a smaller data.crop_size or encoder"),
    ],
)
def test_out_of_memory_suggests_an_equal_effective_batch(
    size: int, accumulate: int, fix: str, compose: Compose, tiny: list[str], tmp_path: Path
) -> None:
    overrides = [*tiny, f"data.batch_size={size}", f"trainer.accumulate_grad_batches={accumulate}"]
    folder = runs.create(tmp_path / "run", compose(*overrides), overrides)
    run = build.run(runs.load_config(folder), folder)
    run.trainer.callbacks.append(Greedy())  # type: ignore[attr-defined]
    with refused(f"out of memory with data.batch_size={size}") as caught:
        train(run, folder)
    assert fix in str(caught.value)
    assert json.loads((folder / "data.json").read_text())["train"]["images"] == 8


def test_other_errors_are_not_changed(compose: Compose, tiny: list[str], tmp_path: Path) -> None:
    class Faulty(L.Callback):
        def on_train_batch_start(self, *_: Any) -> None:
            raise RuntimeError("a bug")

    folder = runs.create(tmp_path / "run", compose(*tiny), tiny)
    run = build.run(runs.load_config(folder), folder)
    run.trainer.callbacks.append(Faulty())  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match="a bug"):
        train(run, folder)


@pytest.mark.parametrize(
    ("monitor", "mode"),
    [("val/loss", "min"), ("val/loss/dice", "min"), ("val/loss/cross_entropy", "min"), ("val/miou", "max")],
)
def test_the_best_epoch_is_that_of_the_smallest_loss_or_largest_score(
    monitor: str, mode: str, compose: Compose, tiny: list[str], tmp_path: Path
) -> None:
    overrides = [*tiny, "epochs=3", "loss=ce_dice", "optimizer.lr=0.2", f"task.monitor={monitor}"]
    overrides.append("callbacks=[default,early_stopping]")
    config = compose(*overrides)
    assert {config.task.mode, config.callbacks.checkpoint.mode, config.callbacks.early_stopping.mode} == {
        mode
    }
    folder = runs.create(tmp_path / "run", config, overrides)
    best = train(build.run(runs.load_config(folder), folder), folder)
    values = validations(folder, monitor)
    assert len(values) == 3
    assert best == pytest.approx({"min": min, "max": max}[mode](values))


@pytest.mark.fast
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["task.monitor=val/loss", "task.mode=max"], r"task\.mode=max contradicts task\.monitor=val/loss"),
        (
            [
                "callbacks=[default,early_stopping]",
                "task.monitor=val/loss",
                "callbacks.early_stopping.mode=max",
            ],
            r"callbacks\.early_stopping\.mode=max contradicts",
        ),
        (["callbacks.checkpoint.monitor=val/loss"], r"callbacks\.checkpoint\.mode=max contradicts"),
        (["task.mode=best"], "max or min"),
    ],
)
def test_a_maximised_loss_is_refused(overrides: list[str], message: str, compose: Compose) -> None:
    with refused(message):
        compose(*overrides)


def test_a_minimised_score_is_refused_before_training(
    compose: Compose, tiny: list[str], tmp_path: Path
) -> None:
    overrides = [*tiny, "task.mode=min"]
    folder = runs.create(tmp_path / "run", compose(*overrides), overrides)
    with refused(r"task\.mode=min contradicts task\.monitor=val/miou"):
        train(build.run(runs.load_config(folder), folder), folder)
    assert not (folder / "checkpoints/last.ckpt").exists()


@pytest.mark.fast
def test_early_stopping_follows_its_own_score(compose: Compose) -> None:
    stop = ["callbacks=[default,early_stopping]"]
    assert compose(*stop, "callbacks.early_stopping.monitor=val/loss").callbacks.early_stopping.mode == "min"
    own_error = [*stop, "task.monitor=val/hausdorff", "task.mode=min"]
    assert compose(*own_error).callbacks.early_stopping.mode == "min"
    assert (
        compose(*own_error, "callbacks.early_stopping.monitor=val/miou").callbacks.early_stopping.mode
        == "max"
    )
