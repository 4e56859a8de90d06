"""A failure or a signal in one of two processes ends both within seconds, with one message."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
import torch
from tests.drills import DRILL
from tests.helpers import TWO_STEPS_AN_EPOCH

from pixelwise.runtime.processes import end

LONGEST = 30
"""Seconds from the failure to the end of all processes; a collective operation would wait for 30 minutes."""


class Done(NamedTuple):
    status: int
    printed: str
    seconds: float
    """From the signal or the last trained step to the end of all processes."""


def two_processes(cwd: Path, moment: str, rank: int, number: int | None = None, **orders: Any) -> Done:
    """Train in two processes; once `moment` is printed, send a signal to one of them."""
    words = [*TWO_STEPS_AN_EPOCH, "trainer=ddp_sim", "epochs=1000", "hydra.run.dir=run"]
    with subprocess.Popen(
        [sys.executable, "-u", str(DRILL), *words],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"DRILL": json.dumps(orders)},
    ) as process:
        printed, began, processes = "", 0.0, []
        try:
            assert process.stdout is not None
            for line in process.stdout:
                printed += line
                if not began and moment in line:
                    began = time.monotonic()
                    processes = [psutil.Process(process.pid), *psutil.Process(process.pid).children()]
                    if number is not None:
                        processes[rank].send_signal(number)
            process.wait(timeout=LONGEST)
            _, left = psutil.wait_procs(processes, timeout=5)
        finally:
            for each in processes:
                if each.is_running():
                    each.kill()
    assert not left, printed
    assert len(processes) == 2, printed
    return Done(process.returncode, printed, time.monotonic() - began)


@pytest.mark.parametrize("rank", [pytest.param(0, marks=pytest.mark.slow), 1], ids=["the first", "another"])
def test_an_error_in_one_rank_ends_both(rank: int, tmp_path: Path) -> None:
    done = two_processes(tmp_path, "epoch 2/", rank, failing_rank=rank, step=4, error="UserError")
    assert done.status == 1, done.printed
    assert done.seconds < LONGEST
    errors = re.findall("^error: (.*)$", done.printed, re.MULTILINE)
    assert (
        errors == ["made to fail", "rank 1 of 2 processes has failed, so the others were ended"][: rank + 1]
    )
    assert "Traceback" not in done.printed
    assert "unfinished: 4 of" in (tmp_path / "run/report.html").read_text()


@pytest.mark.slow
def test_an_unexpected_error_shows_one_traceback(tmp_path: Path) -> None:
    done = two_processes(tmp_path, "epoch 2/", 0, failing_rank=0, step=4, error="RuntimeError")
    assert done.status == 1, done.printed
    assert done.printed.count("Traceback") == 1


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_signal_to_one_rank_saves_and_ends_both(rank: int, tmp_path: Path) -> None:
    done = two_processes(tmp_path, "epoch 2/", rank, signal.SIGTERM)
    assert done.status == 143, done.printed
    assert "Traceback" not in done.printed
    state = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert f"stopped at step {state['global_step']}" in done.printed
    assert f"unfinished: {state['global_step']} of" in (tmp_path / "run/report.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(("rank", "status"), [(0, -signal.SIGKILL), (1, 1)])
def test_killing_one_rank_ends_both(rank: int, status: int, tmp_path: Path) -> None:
    done = two_processes(tmp_path, "epoch 2/", rank, signal.SIGKILL)
    assert done.status == status, done.printed
    assert "Traceback" not in done.printed
    assert ("rank 1 of 2 processes has failed" in done.printed) == (rank == 1)


@pytest.mark.fast
def test_processes_that_do_not_end_are_killed() -> None:
    started = [subprocess.Popen(["sleep", "100"]), subprocess.Popen(["false"]), subprocess.Popen(["true"])]
    assert end(started, patience=0.3) == {1: 1}
    assert [process.returncode for process in started] == [-signal.SIGKILL, 1, 0]
