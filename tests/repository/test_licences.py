"""`make licences` lists every dependency."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.conftest import ROOT


def test_licences_of_all_dependencies_are_listed(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "tools/licences.py")]
    listed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    names = {line.split()[0] for line in listed.splitlines()}
    direct = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {re.split(r"[^\w-]", line)[0] for line in direct} <= names
    assert "omegaconf" in names  # of Hydra
    assert re.search(r"^rich +\d+\.\d+\.\d+ +MIT", listed, re.MULTILINE)
