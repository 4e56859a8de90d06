"""Ctrl-C and SIGTERM, sent to a real training process once it is seen to train."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_ends_with_the_status_that_the_shell_expects(
    number: int, status: int, tiny: list[str], tmp_path: Path
) -> None:
    command = [sys.executable, "-u", str(ROOT / "train.py"), *tiny, "epochs=10000", "hydra.run.dir=run"]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=dict(os.environ),
        preexec_fn=partial(
            signal.signal, number, signal.SIG_DFL
        ),  # a script's background jobs are deaf to Ctrl-C
    ) as process:
        try:
            assert process.stdout is not None
            seen = ""
            for line in process.stdout:
                seen += line
                if "epoch 2/10000" in line:
                    break
            process.send_signal(number)
            seen += process.communicate(timeout=60)[0]
        finally:
            process.kill()
    assert process.returncode == status, seen
    state = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert state["global_step"] >= 4
    assert f"stopped at step {state['global_step']}" in seen
    assert "Traceback" not in seen
    assert not (tmp_path / "run/metrics.json").exists()
    report = (tmp_path / "run/report.html").read_text()
    assert f"unfinished: {state['global_step']} of 20000 steps" in report
    assert "Best, median and worst samples of val" in report
    assert re.search(r">stopped here</text>", report)
