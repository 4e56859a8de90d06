"""Shell completion of the commands, tested in bash."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHELL = """
source scripts/completion.bash
COMP_LINE=$1 COMP_POINT=${#1}
line=${1//=/ = }                              # readline breaks words there
read -ra COMP_WORDS <<< "$line"
[[ $line == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_pixelwise
printf '%s\\n' "${COMPREPLY[@]}"
"""

pytestmark = pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")


def offered(line: str, cwd: Path = ROOT) -> set[str]:
    """The completions of a line."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", "-c", SHELL, "bash", line]
    done = subprocess.run(command, cwd=cwd, env=os.environ | {"PATH": path}, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr == ""
    return set(done.stdout.split())


def test_completion_offers_groups_options_and_keys() -> None:
    assert offered("python train.py lo") == {"loss=", "loss.", "logger=", "logger."}
    assert offered("python train.py loss=") == {file.stem for file in (ROOT / "conf/loss").glob("*.yaml")}
    assert offered("python train.py loss=dice schedule=thr") == {"three_phase"}
    assert "optimizer.lr=" in offered("python train.py optimizer.")
    assert offered("python scripts/plan.py sched") == {"schedule=", "schedule."}


def test_completion_uses_the_earlier_overrides() -> None:
    assert "data.inputs=" in offered("python train.py data=potsdam data.")
    assert "data.inputs=" not in offered("python train.py data.")


@pytest.mark.fast
def test_completion_does_not_start_other_scripts() -> None:
    assert offered("python tools/encoders.py d") == set()
    assert offered("python -m py") == set()
    assert not (ROOT / "-sc").exists()


@pytest.mark.fast
def test_completion_does_not_import_torch() -> None:
    line = "python train.py loss="
    command = [sys.executable, "-X", "importtime", "train.py", "-sc", "query=bash"]
    environment = os.environ | {"COMP_LINE": line, "COMP_POINT": str(len(line))}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert "loss=dice" in done.stdout.split()
    imported = {line.rsplit("|", 1)[1].strip() for line in done.stderr.splitlines() if "import time:" in line}
    assert "hydra" in imported
    assert not imported & {"torch", "lightning", "timm", "numpy", "cv2"}


def test_completion_offers_the_run_key_first() -> None:
    assert offered("python evaluate.py ") == {"run="}
    assert offered("python evaluate.py sp") == set()


def test_completion_offers_the_keys_of_a_run(trained: Path) -> None:
    assert offered(f"python evaluate.py run={trained} spl") == {"split="}
    assert "data.root=" in offered(f"python predict.py run={trained} data.")
