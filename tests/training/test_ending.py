"""Runs that end early: the reason is recorded, and a resumed run equals one that never stopped."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import pytest
import torch
from tests.drills import RUN, differing, result
from tests.helpers import Compose, Script, refused

from pixelwise import build, runs
from pixelwise.cli.run_arguments import resume_from_run
from pixelwise.overrides import key_of
from pixelwise.reports.run_page import reached
from pixelwise.runs import checkpoints
from pixelwise.runs.reader import RunReader
from pixelwise.runs.resume import reopen
from pixelwise.training.callbacks.ending import MaxTime
from pixelwise.training.train import train

SHORT = [word for word in RUN if word not in ("callbacks.checkpoint.every_n_steps=3", "augmentation=medium")]
"""12 steps in three epochs of four batches; the encoder is frozen in the first epoch."""

STOPPING = ["callbacks=[checkpoint,early_stopping]", "+callbacks.early_stopping.min_delta=1"]
"""Early stopping whose score never improves by enough."""

Start = Callable[..., Path]
Resume = Callable[..., bool]


@pytest.fixture
def start(compose: Compose, tmp_path: Path) -> Start:
    """`start(*overrides)` trains into the folder `run`, as train.py does."""
    return lambda *overrides: _start(compose, tmp_path / "run", overrides)


@pytest.fixture(scope="session")
def unbroken(compose: Compose, tmp_path_factory: pytest.TempPathFactory) -> Start:
    """`unbroken(*overrides)` returns a run that never stopped; each is trained once."""
    folder = tmp_path_factory.mktemp("unbroken")
    return cache(lambda *overrides: _start(compose, folder / str(len(list(folder.iterdir()))), overrides))


def _start(compose: Compose, folder: Path, overrides: Sequence[str]) -> Path:
    callbacks = [] if any(key_of(word) == "callbacks" for word in overrides) else ["callbacks=checkpoint"]
    words = [*SHORT, *callbacks, *overrides]
    runs.create(folder, compose(*words), words)
    train(build.run(runs.load_config(folder), folder), folder)
    return folder


@pytest.fixture
def go_on(compose: Compose) -> Resume:
    """`go_on(folder, *overrides)` is `train.py resume=FOLDER OVERRIDES`; returns whether it trained."""

    def go_on(folder: Path, *typed: str) -> bool:
        words = resume_from_run([f"resume={folder}", *typed])
        words = [word for word in words if key_of(word) != "hydra.run.dir"]
        resumed = reopen(folder, compose(*words), words)
        if resumed is None:
            return False
        newest = checkpoints.newest(folder)
        train(build.run(resumed.config, folder), folder, newest, resumed.accept)
        return True

    return go_on


def early_end(folder: Path) -> dict[str, str] | None:
    end: dict[str, str] | None = json.loads((folder / "environment.json").read_text()).get("early_end")
    return end


def step_of(folder: Path) -> int:
    return int(torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["global_step"])


# ----------------------------------------------------------------------------- equal to unbroken run
CASES: dict[str, tuple[Sequence[str], Sequence[str], Sequence[str], int]] = {
    # settings of both runs, those that end the first run early, those that lift it, step of the end
    "steps within an epoch": ([], ["trainer.max_steps=6"], ["trainer.max_steps=null"], 6),
    "steps before a row of the log": (
        ["trainer.log_every_n_steps=4"],
        ["trainer.max_steps=6"],
        ["trainer.max_steps=null"],
        6,
    ),
    "steps at the end of an epoch": ([], ["trainer.max_steps=8"], ["trainer.max_steps=100"], 8),
    "epochs": (["trainer.log_every_n_steps=3"], ["trainer.max_epochs=1"], ["trainer.max_epochs=3"], 4),
    "an epoch without validation": (
        ["trainer.check_val_every_n_epoch=2"],
        ["trainer.max_steps=10"],
        ["trainer.max_steps=12"],
        10,
    ),
    "between validations within epochs": (
        ["+trainer.val_check_interval=2"],
        ["trainer.max_steps=5"],
        ["trainer.max_steps=null"],
        5,
    ),
    "at a validation within an epoch": (
        ["+trainer.val_check_interval=0.5"],
        ["trainer.max_steps=6"],
        ["trainer.max_steps=null"],
        6,
    ),
    "validation by batches": (
        ["trainer.check_val_every_n_epoch=null", "+trainer.val_check_interval=3"],
        ["trainer.max_steps=4"],
        ["trainer.max_steps=null"],
        4,
    ),
    "accumulation": (
        ["trainer.accumulate_grad_batches=3"],
        ["trainer.max_steps=3"],
        ["trainer.max_steps=null"],
        3,
    ),
    "average of the weights": (
        ["callbacks=[checkpoint,ema]"],
        ["trainer.max_steps=6"],
        ["trainer.max_steps=null"],
        6,
    ),
    "patience": (
        STOPPING,
        ["callbacks.early_stopping.patience=1"],
        ["callbacks.early_stopping.patience=5"],
        8,
    ),
    "early stopping removed": (
        [],
        [*STOPPING, "callbacks.early_stopping.patience=1"],
        ["callbacks.early_stopping=null"],
        8,
    ),
    "threshold": (
        ["callbacks=[checkpoint,early_stopping]"],
        ["+callbacks.early_stopping.stopping_threshold=0.01"],
        ["callbacks.early_stopping.stopping_threshold=null"],
        4,
    ),
}


QUICK = ("accumulation", "average of the weights", "patience", "steps within an epoch")


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[] if case in QUICK else pytest.mark.slow) for case in CASES]
)
def test_a_run_that_ended_early_goes_on_as_if_it_had_not(
    case: str, start: Start, go_on: Resume, unbroken: Start
) -> None:
    shared, ends, lifts, step = CASES[case]
    early = start(*shared, *ends)
    assert step_of(early) == step
    end = early_end(early)
    assert end is not None
    assert f".{ends[-1].lstrip('+')}=".replace("=", ".").startswith(f".{end['key']}.")
    assert f"step {step} of" in end["why"]
    assert (early / "metrics.json").is_file()

    assert go_on(early, *lifts)
    assert differing(result(early), result(unbroken(*shared))) == []
    assert early_end(early) is None
    assert not (early / "checkpoints/best_before_stop.ckpt").exists()


@pytest.mark.parametrize(("accumulate", "step"), [(1, 2), (3, 2)])
def test_a_run_that_ended_by_time_goes_on(
    accumulate: int, step: int, start: Start, go_on: Resume, unbroken: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = [f"trainer.accumulate_grad_batches={accumulate}"] * (accumulate > 1)
    with monkeypatch.context() as clock:  # a step takes any time, and the test needs a stop within an epoch
        clock.setattr(MaxTime, "time_elapsed", lambda timer, *_: 10 * (timer._step >= step))
        early = start(*shared, "+trainer.max_time=00:00:05")
    assert step_of(early) == step
    end = early_end(early)
    assert end is not None
    assert end["why"].startswith(f"trainer.max_time reached at step {step} of ")
    assert go_on(early, "trainer.max_time=null")
    assert differing(result(early), result(unbroken(*shared))) == []
    assert early_end(early) is None


# --------------------------------------------------------------------------------- the reason is told
def test_a_run_whose_reason_remains_is_not_trained(
    start: Start, go_on: Resume, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    early = start(*STOPPING, "callbacks.early_stopping.patience=1")
    why = "callbacks.early_stopping: val/miou did not improve in 1 validation, at step 8 of 12"
    fix = f"to go on: python train.py resume={early} callbacks.early_stopping.patience=2"
    assert f"{why}; {fix}" in caplog.text
    assert reached(RunReader(early)) == f"ended early: {why}"
    before = result(early)
    for typed in ([], ["data.num_workers=1"], ["callbacks.early_stopping.patience=1"]):
        caplog.clear()
        assert not go_on(early, *typed)
        assert f"{why}; {fix}" in caplog.text
    assert differing(result(early), before) == []

    (early / "metrics.json").unlink()  # as if the run had been killed while it was scored
    assert go_on(early)
    assert differing(result(early), before) == []
    assert early_end(early) is not None


def test_a_run_out_of_time_needs_more_of_it(start: Start, go_on: Resume) -> None:
    early = start("+trainer.max_time={milliseconds:1}")
    why = "trainer.max_time reached at step 1 of 12"
    for typed in ([], ["trainer.max_time={milliseconds:2}"]):  # more than before, and still used up
        (early / "metrics.json").unlink()
        assert go_on(early, *typed)
        assert step_of(early) == 1
        end = early_end(early)
        assert end is not None
        assert end["why"] == why
    assert (early / "metrics.json").is_file()
    assert not go_on(early)


def test_a_best_score_of_an_added_validation_is_kept(start: Start, go_on: Resume) -> None:
    early = start("trainer.max_steps=6", "task.monitor=val/loss")
    best = torch.load(early / "checkpoints/best.ckpt", weights_only=True)
    (early / "metrics.json").unlink()
    assert go_on(early)
    again = torch.load(early / "checkpoints/best.ckpt", weights_only=True)
    assert (again["epoch"], again["global_step"]) == (best["epoch"], best["global_step"])


def test_a_training_that_ends_before_a_validation_is_an_error(start: Start) -> None:
    with refused(r"ended before its first validation\n.*max_time reached[\s\S]*resume=.*max_time=null"):
        start("+trainer.max_time={milliseconds:1}", "trainer.check_val_every_n_epoch=2")


def test_early_stopping_waits_for_min_epochs(start: Start) -> None:
    early = start(*STOPPING, "callbacks.early_stopping.patience=1", "+trainer.min_epochs=3")
    assert step_of(early) == 12
    assert early_end(early) is None


def test_less_patience_on_resuming_ends_at_once(start: Start, go_on: Resume) -> None:
    early = start(*STOPPING, "callbacks.early_stopping.patience=9", "trainer.max_epochs=2")
    assert step_of(early) == 8
    assert go_on(early, "trainer.max_epochs=null", "callbacks.early_stopping.patience=1")
    assert step_of(early) == 8
    end = early_end(early)
    assert end is not None
    assert end["key"] == "callbacks.early_stopping"


@pytest.mark.slow
def test_a_time_limit_on_the_command_line_ends_and_goes_on(script: Script, tiny: list[str]) -> None:
    done = script("train.py", *tiny, "epochs=300", "+trainer.max_time=00:00:01", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    ended = re.search(
        r"the training ended early: trainer\.max_time reached at step (\d+) of 600", done.stdout
    )
    assert ended is not None
    again = script("train.py", "resume=run")
    assert again.returncode == 0, again.stderr
    assert re.search(r"max_time reached .*; to go on: .* resume=.*run trainer\.max_time=null", again.stdout)
    limit = int(ended[1]) + 3
    lifted = script("train.py", "resume=run", "trainer.max_time=null", f"trainer.max_steps={limit}")
    assert lifted.returncode == 0, lifted.stderr
    assert f"the training ended early: trainer.max_steps reached at step {limit} of 600" in lifted.stdout
