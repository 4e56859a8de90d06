"""The files and commands of the how-to pages work in a copy of the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r'^```(\w+)(?: title="([^"\n]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def copy_repository(target: Path) -> None:
    """Copy the tracked files with their current changes, except docs/."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("needs a git clone to list the files of the repository")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file() and not name.startswith("docs/"):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)


def follow(page: Path, repository: Path) -> str:
    """Write the files of a page and run its commands; returns their output."""
    blocks = FENCE.findall(page.read_text())
    for _, title, text in blocks:
        if title:
            assert not (repository / title).exists()
            (repository / title).write_text(text)
    environment = os.environ | {
        "PYTHONPATH": str(repository / "src"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTEST_ADDOPTS": "-n 0 -p no:cacheprovider",
    }
    printed = ""
    for command in (line for kind, _, text in blocks if kind == "bash" for line in text.splitlines()):
        done = subprocess.run(
            ["bash", "-c", command], cwd=repository, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, command + done.stdout[-3000:] + done.stderr[-3000:]
        printed += done.stdout
    return printed


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
@pytest.mark.parametrize(
    ("page", "tested", "config"),
    [
        ("loss", 4, "_target_: pixelwise.losses.poly1.Poly1"),
        ("decoder", 4, "_target_: pixelwise.models.decoders.hypercolumns.Hypercolumns"),
        ("data", 3, "_target_: pixelwise.data.arrays.Arrays"),
    ],
)
def test_a_page_leads_to_a_trained_run_and_passing_tests(
    page: str, tested: int, config: str, tmp_path: Path
) -> None:
    copy_repository(tmp_path)
    printed = follow(ROOT / f"docs/howto/{page}.md", tmp_path)
    run = (tmp_path / "runs/latest").resolve()
    assert config in (run / "config.yaml").read_text()
    assert (run / "metrics.json").is_file()
    assert (run / "checkpoints/best.ckpt").is_file()
    counts = [int(count) for count in re.findall(r"(\d+) passed", printed)]
    assert counts
    assert counts[0] >= tested, "the tests of all files of conf/ should include the new option"


@pytest.mark.fast
@pytest.mark.parametrize("page", ["loss", "decoder", "data", "install"])
def test_the_code_of_a_page_passes_the_linter(page: str) -> None:
    blocks = FENCE.findall((ROOT / f"docs/howto/{page}.md").read_text())
    files = {title: text for kind, title, text in blocks if title and kind == "python"}
    assert files
    for title, text in files.items():
        for words in (["check"], ["format", "--check"]):
            command = [sys.executable, "-m", "ruff", *words, "--no-cache", "--stdin-filename", title, "-"]
            done = subprocess.run(command, cwd=ROOT, input=text, capture_output=True, text=True)
            assert done.returncode == 0, title + done.stdout
