"""A data worker that is killed or cannot share memory ends a training or an evaluation with one error."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import time
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from tests.helpers import Compose, refused

from pixelwise import build, runs
from pixelwise.augmentation import CenterCrop
from pixelwise.data.loader import Collate, EvaluationLoader, Samples
from pixelwise.data.samplers import EvaluationBatches
from pixelwise.data.workers import explain_worker_failure, worker_settings
from pixelwise.runs import checkpoints
from pixelwise.training.evaluate import evaluate
from pixelwise.training.train import train
from pixelwise.types import Raw, Split


class Killer(L.Callback):
    """Kills a data worker at a step of the training, or before the first batch of an evaluation."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.killed_at = 0.0

    def _kill(self) -> None:
        multiprocessing.active_children()[0].kill()
        self.killed_at = time.monotonic()

    def on_train_batch_start(self, trainer: L.Trainer, *rest: Any) -> None:
        if trainer.global_step == self.step:
            self._kill()

    def on_test_batch_start(self, *rest: Any) -> None:
        self._kill()


def test_a_killed_worker_ends_training_which_resumes(
    compose: Compose, tiny: list[str], tmp_path: Path
) -> None:
    words = [*tiny, "data.num_workers=2", "data.source.counts={train:64,val:4,test:4}"]
    folder = runs.create(tmp_path / "run", compose(*words), words)
    run, killer = build.run(runs.load_config(folder), folder), Killer(step=18)
    run.trainer.callbacks.insert(0, killer)  # type: ignore[attr-defined]
    with refused(r"a data worker failed \(data.num_workers=2\)") as error:
        train(run, folder)
    assert time.monotonic() - killer.killed_at < 30
    assert f"resume={folder} data.num_workers=1" in str(error.value)
    assert (folder / "report.html").is_file()
    start = checkpoints.newest(folder)
    assert start is not None
    assert checkpoints.read(start)["global_step"] == 16
    train(build.run(compose(*words, "data.num_workers=0"), folder), folder, start)
    assert (folder / "metrics.json").is_file()


def test_a_killed_worker_ends_an_evaluation(trained: Path) -> None:
    config = runs.load_config(trained)
    config.data.num_workers, config.data.source.counts.test = 2, 200
    run = build.evaluation(config, trained)
    run.trainer.callbacks.insert(0, Killer(step=0))  # type: ignore[attr-defined]
    with refused(r"a data worker failed") as error:
        evaluate(run, trained)
    assert "resume" not in str(error.value)


class Failing(Split):
    """Images whose reading does something to the worker process."""

    def __init__(self, effect: str) -> None:
        self.effect = effect

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Raw:
        if self.effect == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.effect == "no shared memory":  # ftruncate then fails as on a full /dev/shm
            resource.setrlimit(resource.RLIMIT_FSIZE, (1024, resource.RLIM_INFINITY))
        return Raw(np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.uint8), str(index))


def loader(split: Split, timeout: float = 0) -> EvaluationLoader:
    return EvaluationLoader(
        Samples(split, [CenterCrop(None)], seed=0),
        batch_sampler=EvaluationBatches([(64, 64)] * len(split), 2),
        collate_fn=Collate(),
        timeout=timeout,
        **worker_settings(2, seed=0),
    )


def test_a_batch_that_cannot_be_shared_is_an_error() -> None:
    with refused(r"cannot share a batch of 0\.0 MB(.|\n)*--shm-size(.|\n)*data.num_workers=0"):
        list(loader(Failing("no shared memory"), timeout=20))  # instead of waiting forever


def test_only_failures_of_workers_are_explained() -> None:
    assert len(list(loader(Failing("none")))) == 2
    with pytest.raises(RuntimeError) as killed:
        list(loader(Failing("killed")))
    assert "a data worker failed" in str(explain_worker_failure(killed.value, 2))
    with pytest.raises(RuntimeError) as other:
        torch.zeros(2) @ torch.zeros(3)
    assert explain_worker_failure(other.value, 2) is None
