"""New keys on the command line: refused, unless something reads them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.helpers import Script, refused

import pixelwise


@pytest.mark.fast
@pytest.mark.parametrize(
    ("typed", "suggestion"),
    [
        ("+lr_scheduler=cosine", "remove it|did you mean"),
        ("+xyzzy=1", "remove it, or refer to it: .{xyzzy}"),
        ("+epoch=3", r"did you mean epochs\?"),
        ("+trainr.max_epochs=3", r"did you mean trainer\?"),
        ("+data.foo={a:1}", "nothing reads this key"),
        ("+data.batchsize=4", r"did you mean data\.batch_size\?"),
        ("+task.moniter=val/loss", r"did you mean task\.monitor\?"),
        ("+schedule.foo=1", "nothing reads this key"),
        ("+schedule.phase.all.epochs=1", r"did you mean schedule\.phases\?"),
        ("+logger.log_image=true", r"did you mean logger\.log_images\?"),
        ("+sweep.foo=1", "nothing reads this key"),
    ],
)
def test_a_new_key_that_nothing_reads_is_refused(typed: str, suggestion: str) -> None:
    with refused(rf"^{typed[1:].split('=')[0].split('.')[0]}\S* has no effect[\s\S]*{suggestion}"):
        pixelwise.compose(typed)


@pytest.mark.fast
@pytest.mark.parametrize("key", ["side", "data.side", "task.side", "schedule.side"])
def test_a_new_key_that_a_value_refers_to_is_used(key: str) -> None:
    config = pixelwise.compose(f"+{key}=64", f"data.crop_size=${{{key}}}")
    assert config.data.crop_size == 64


@pytest.mark.fast
def test_a_key_that_nothing_reads_stops_before_a_folder_is_created(script: Script, tmp_path: Path) -> None:
    done = script("train.py", "+lr_scheduler=cosine")
    assert done.returncode == 2
    assert "lr_scheduler has no effect" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_evaluation_refuses_a_new_key_but_keeps_those_of_the_run(
    trained: Path, script: Script, tmp_path: Path
) -> None:
    shutil.copytree(trained, tmp_path / "run")
    config = tmp_path / "run/config.yaml"
    config.write_text(config.read_text().replace("\nsweep:\n", "\nsweep:\n  own: 1\n"))
    assert "own: 1" in config.read_text()
    done = script("evaluate.py", "run=run", "+foo=1")
    assert done.returncode == 2
    assert "foo has no effect" in done.stderr
    assert script("evaluate.py", "run=run").returncode == 0
