"""Commands that start from a run folder: help, overrides, damaged files and any name."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from tests.helpers import Script


def test_the_config_of_a_resumed_run_can_be_printed(script: Script, trained: Path) -> None:
    for words in (["--cfg", "job", f"resume={trained}"], [f"resume={trained}", "--cfg", "job"]):
        done = script("train.py", *words, "epochs=7")
        assert done.returncode == 0, done.stderr
        config = OmegaConf.create(done.stdout)
        assert (config.epochs, config.data.crop_size) == (7, 32)


@pytest.mark.parametrize("name", ["evaluate.py", "predict.py"])
def test_commands_print_help_without_a_run(name: str, script: Script, tmp_path: Path) -> None:
    with_help, without_run = script(name, "--help"), script(name)
    assert (with_help.returncode, without_run.returncode) == (0, 2)
    assert f"python {name} run=RUN" in with_help.stdout
    assert with_help.stdout.strip() == without_run.stderr.strip()

    for run, found in {"nowhere": "no such folder", ".": "a folder without config.yaml"}.items():
        done = script(name, f"run={run}", "input=x", "output=y")
        assert done.returncode == 2
        assert re.search(rf"run={re.escape(run)} is not a run folder\n\s+found:\s+{found}", done.stderr)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("loss=dice", r"a run keeps the loss"),
        ("encoder=resnet50", r"a run keeps the encoder"),
        ("splt=val", r"did you mean split\?"),
        ("data.batchsize=2", r"did you mean data.batch_size\?"),
        ("optimizer.lr=0.1", r"optimizer.lr=0.1 has no effect: the run is already trained"),
        ("data.mean=[0,0,0]", r"data.mean=\[0,0,0\] has no effect: the run is already trained"),
    ],
)
def test_overrides_that_a_run_cannot_take_are_refused(
    typed: str, answer: str, script: Script, trained: Path
) -> None:
    before = sorted(p.name for p in trained.rglob("*"))
    done = script("evaluate.py", f"run={trained}", typed)
    assert done.returncode == 2
    assert re.search(answer, done.stderr)
    assert sorted(p.name for p in trained.rglob("*")) == before


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.yaml", "a: [1", "config.yaml cannot be read"),
        ("config.yaml", "seed: 1\nseed: 2", "config.yaml cannot be read"),
        ("config.yaml", "", "config.yaml is not the config of a run\n  found:    no key seed, data, encoder"),
        ("config.yaml", "- 1", "config.yaml is not the config of a run\n  found:    a list"),
        ("overrides.yaml", "{", "overrides.yaml cannot be read"),
        ("overrides.yaml", "a: 1", "overrides.yaml is not a list of overrides"),
    ],
)
def test_a_damaged_file_of_a_run_is_named(
    file: str, content: str, message: str, trained: Path, script: Script, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    for name in ("config.yaml", "overrides.yaml"):
        shutil.copy(trained / name, tmp_path / "run")
    (tmp_path / "run" / file).write_text(content)
    done = script("train.py", "resume=run")
    assert done.returncode == 2
    assert f"run/{message}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("file", "added"),
    [
        ("config.yaml", "hydra: {callbacks: {evil: {_target_: os.system, command: touch evil}}}"),
        ("config.yaml", "defaults: [{hydra/launcher: joblib}]"),
        ("overrides.yaml", "- +hydra.callbacks.evil={_target_:os.system,command:touch evil}"),
        ("overrides.yaml", "- hydra/launcher=joblib"),
    ],
)
def test_a_run_folder_cannot_configure_hydra(
    file: str, added: str, trained: Path, script: Script, tmp_path: Path
) -> None:
    shutil.copytree(trained, tmp_path / "run")
    with (tmp_path / "run" / file).open("a") as stream:
        stream.write(f"{added}\n")
    done = script("train.py", "resume=run")
    assert done.returncode == 2
    assert "configure Hydra" in done.stderr
    if file == "config.yaml":
        assert "configure Hydra" in script("evaluate.py", "run=run").stderr
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(("name", "key"), [("evaluate.py", "run"), ("train.py", "resume")])
def test_a_run_folder_may_have_any_name(
    name: str, key: str, trained: Path, script: Script, tmp_path: Path
) -> None:
    shutil.copytree(trained, tmp_path / "it's a=b, [c] (1) ü")
    done = script(name, f"{key}=it's a=b, [c] (1) ü")
    assert done.returncode == 0, done.stderr
    assert "cat  " in done.stdout
