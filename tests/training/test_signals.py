"""Ctrl-C and SIGTERM, sent to a real training process once it prints a given line."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from tests.helpers import Compose

from pixelwise import build, runs
from pixelwise.training.train import train

ROOT = Path(__file__).parents[2]


def interrupted(cwd: Path, overrides: list[str], moment: str, number: int) -> tuple[int, str]:
    """Send a signal once `moment` is printed; return the exit status and the output."""
    command = [sys.executable, "-u", str(ROOT / "train.py"), *overrides, "hydra.run.dir=run"]
    with subprocess.Popen(
        command,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=dict(os.environ),
        # background jobs of a script ignore Ctrl-C
        preexec_fn=partial(signal.signal, number, signal.SIG_DFL),
    ) as process:
        try:
            assert process.stdout is not None
            seen = ""
            for line in process.stdout:
                seen += line
                if moment in line:
                    break
            process.send_signal(number)
            seen += process.communicate(timeout=60)[0]
        finally:
            process.kill()
    assert "Traceback" not in seen
    assert seen.splitlines()[-1] == f"stopped; resume with: python train.py resume={cwd / 'run'}"
    return process.returncode, seen


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_saves_a_checkpoint_and_sets_the_status(
    number: int, status: int, tiny: list[str], tmp_path: Path
) -> None:
    returned, seen = interrupted(tmp_path, [*tiny, "epochs=10000"], "epoch 2/10000", number)
    assert returned == status, seen
    state = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert state["global_step"] >= 4
    assert f"stopped at step {state['global_step']}" in seen
    assert not (tmp_path / "run/metrics.json").exists()
    report = (tmp_path / "run/report.html").read_text()
    assert f"unfinished: {state['global_step']} of 20000 steps" in report
    assert "Best, median and worst samples of val" in report
    assert re.search(r">\s*stopped here\s*</text>", report)


class SignalAt(L.Callback):
    """Sends SIGTERM to this process at a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: L.Trainer, *rest: Any) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("step", [3, 5])
def test_every_record_of_a_stop_names_its_step(
    step: int, compose: Compose, tiny: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = [*tiny, "data.batch_size=2", "trainer.log_every_n_steps=4"]  # logs steps 3 and 7, validates at 4
    folder = runs.create(tmp_path / "run", compose(*words), words)
    run = build.run(runs.load_config(folder), folder)
    run.trainer.callbacks.insert(0, SignalAt(step))  # type: ignore[attr-defined]
    with pytest.raises(SystemExit), caplog.at_level("INFO"):
        train(run, folder)
    assert f"stopped at step {step}" in caplog.text
    assert torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["global_step"] == step
    report = (folder / "report.html").read_text()
    assert f"unfinished: {step} of 8 steps" in report
    assert ("last validation" in report) == (step == 5)

    train(build.run(runs.load_config(folder), folder), folder, folder / "checkpoints/last.ckpt")
    report = (folder / "report.html").read_text()
    assert "finished</p>" in report
    assert "stopped here" not in report


def test_a_training_that_ends_early_tells_its_step(
    compose: Compose, tiny: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = [*tiny, "trainer.max_steps=3"]
    folder = runs.create(tmp_path / "run", compose(*words), words)
    with caplog.at_level("INFO"):
        train(build.run(runs.load_config(folder), folder), folder)
    why = "trainer.max_steps reached at step 3 of 4"
    assert f"the training ended early: {why}" in caplog.text
    assert f"ended early: {why}" in (folder / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_during_final_evaluation_writes_a_report(
    number: int, status: int, tiny: list[str], tmp_path: Path
) -> None:
    counts = "data.source.counts={train:8,val:4,test:200}"
    returned, seen = interrupted(tmp_path, [*tiny, counts, "epochs=1"], "best epoch", number)
    assert returned == status, seen
    assert not (tmp_path / "run/metrics.json").exists()
    assert "unfinished: 2 of 2 steps" in (tmp_path / "run/report.html").read_text()


def test_signal_before_the_first_step_prints_no_traceback(tiny: list[str], tmp_path: Path) -> None:
    returned, seen = interrupted(tmp_path, tiny, "differs from the defaults", signal.SIGINT)
    assert returned == 130, seen
    assert not (tmp_path / "run/checkpoints").exists()


def test_a_stopped_evaluation_does_not_advise_to_resume(trained: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-u", str(ROOT / "evaluate.py"), f"run={trained}"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        assert any("run folder" in line for line in process.stdout)
        process.send_signal(signal.SIGTERM)
        rest = process.communicate(timeout=60)[0]
    assert process.returncode == 143
    assert "resume" not in rest
