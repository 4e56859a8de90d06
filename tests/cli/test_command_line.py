"""The command line: help, typos, refused overrides, and error messages."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from PIL import Image
from tests.helpers import Script, refused

import pixelwise

CONF = Path(__file__).parents[2] / "conf"


QUICK = {
    "help": (["--help"], 0),
    "config": (["--cfg", "job"], 0),
    "typo in a key": (["optimizer.lrr=1"], 2),
    "typo in an option": (["loss=dise"], 2),
    "no option": (["loss=null"], 2),
    "missing root": (["data=folder", "data.classes=[a,b]"], 2),
}


@pytest.mark.fast
@pytest.mark.parametrize("case", QUICK)
def test_help_and_typos_do_not_import_torch(case: str, script: Script) -> None:
    arguments, status = QUICK[case]
    done = script("train.py", *arguments, python=("-X", "importtime"))
    assert done.returncode == status
    imported = {line.rsplit("|", 1)[1].strip() for line in done.stderr.splitlines() if "import time:" in line}
    assert "hydra" in imported
    assert not imported & {"torch", "lightning", "timm", "numpy", "cv2"}


@pytest.mark.fast
def test_help_lists_all_options_and_typical_commands(script: Script) -> None:
    text = script("train.py", "--help").stdout
    assert max(map(len, text.splitlines())) <= 80
    listed = dict(re.findall(r"^(\w[\w/]*): (.*)$", text.replace("\n    ", " "), re.MULTILINE))
    for group in (path for path in CONF.iterdir() if path.is_dir() and path.name != "hydra"):
        assert set(listed[group.name].split(", ")) == {option.stem for option in group.glob("*.yaml")}
    for command in ("task=segmentation loss=dice", "task=classification", "data=folder data.root=", " -m "):
        assert f"train.py {command.strip()}" in text
    assert "evaluate.py run=RUN" in text


@pytest.mark.fast
def test_an_unknown_split_suggests_the_nearest_name(script: Script) -> None:
    done = script("train.py", "data=potsdam", "data.root=.", "data.split=geosge")
    assert done.returncode == 2
    assert "there is no geosge" in done.stderr
    assert "expected: official, geoseg" in done.stderr
    assert "did you mean geoseg?" in done.stderr


@pytest.mark.parametrize(
    ("typed", "suggestion"),
    [
        ("optimizer.lrr=1", "optimizer.lr"),
        ("data.batchsize=4", "data.batch_size"),
        ("data=folder data.source.mask_sufix=_m", "data.source.mask_suffix"),
        ("epoch=3", "epochs"),
        ("optimzer.lr=1", "optimizer.lr"),
        ("optimizer={lrr:1}", "optimizer.lr"),
        ("los=dice", "loss"),
        ("loss=dise", "loss=dice"),
        ("encoder=resnet81", "encoder=resnet18"),
        ("augmentation=meduim", "augmentation=medium"),
        ("lr=1e-3", "optimizer.lr"),
        ("batch_size=4", "data.batch_size"),
    ],
)
def test_a_typo_suggests_the_nearest_name(typed: str, suggestion: str, script: Script) -> None:
    done = script("train.py", *typed.split())
    assert done.returncode == 2
    assert re.search(rf"did you mean {re.escape(suggestion)}\?", done.stderr)
    assert "Traceback" not in done.stderr


@pytest.mark.fast
@pytest.mark.parametrize(
    ("typed", "choice"),
    [
        ("callbacks.ema.decay=0.9", "callbacks=[default,ema]"),
        ("callbacks.early_stopping.patience=2", "callbacks=[default,early_stopping]"),
        ("logger.wandb.project=x", "logger=wandb"),
        ("logger.tensorboard.name=x", "logger=tensorboard"),
    ],
)
def test_a_key_of_an_option_not_chosen_names_the_option(typed: str, choice: str, script: Script) -> None:
    done = script("train.py", typed)
    assert done.returncode == 2
    assert choice in done.stderr


def test_differences_show_values_as_typed(script: Script, tiny: list[str]) -> None:
    split = "data.source.split={train:[2_10],val:[2_11],test:[2_12]}"
    words = [*tiny[:-1], "data=potsdam_synthetic", "data.source.size=64", "data.source.window=64", "epochs=1"]
    done = script("train.py", *words, "data.source.draws.count=4", split)
    (line,) = [line for line in done.stderr.splitlines() + done.stdout.splitlines() if "differs from" in line]
    assert line.count(split) == 1
    assert "data.source.split.train" not in line


def test_audit_writes_to_a_chosen_folder(script: Script, tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    words = ["data=folder", f"data.root={tmp_path}", "data.classes=[a,b]"]
    script("scripts/audit.py", *words, "hydra.run.dir=elsewhere")
    assert (tmp_path / "elsewhere").is_dir()
    assert not (tmp_path / "runs").exists()


@pytest.mark.fast
def test_compose_gives_the_config_of_the_command(script: Script) -> None:
    words = ["task=classification", "schedule=three_phase", "optimizer.lr=0.5", "sweep.name=none"]
    printed = script("train.py", *words, "--cfg", "job").stdout
    assert pixelwise.compose(*words) == OmegaConf.create(printed)
    with refused(r"decoder=unett[\s\S]*did you mean decoder=unet\?"):
        pixelwise.compose("decoder=unett")
    assert (
        pixelwise.compose("optimizer.lr=2").optimizer.lr == 2
    )  # the failed call has no effect on the next one


@pytest.mark.fast
def test_options_of_hydra_that_a_run_cannot_repeat_are_refused(script: Script) -> None:
    done = script("train.py", "--config-dir", "own")
    assert done.returncode == 2
    assert "a conf/ in the current folder adds options" in done.stderr


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF.parent / "scripts").glob("*.py")))
def test_each_script_prints_its_own_help(name: str, script: Script) -> None:
    done = script(f"scripts/{name}.py", "--help")
    assert done.returncode == 0
    assert done.stdout.splitlines()[2].startswith(f"    python scripts/{name}.py")


def test_flags_may_stand_between_overrides(script: Script) -> None:
    done = script("train.py", "seed=5", "--cfg", "job", "epochs=7")
    assert done.returncode == 0, done.stderr
    config = OmegaConf.create(done.stdout)
    assert (config.seed, config.epochs) == (5, 7)


def test_a_search_takes_a_chosen_folder(script: Script) -> None:
    words = ["search=loss_and_rate", "sweep.name=x", "--cfg", "hydra"]
    assert "dir: elsewhere" in script("scripts/search.py", *words, "hydra.run.dir=elsewhere").stdout
    assert "dir: runs/${sweep.name}" in script("scripts/search.py", *words).stdout


@pytest.mark.fast
def test_missing_values_are_named(script: Script) -> None:
    done = script("train.py", "data=folder")
    assert done.returncode == 2
    assert "data.root" in done.stderr
    assert "data.classes" in done.stderr


def test_a_typo_in_a_sweep_stops_before_the_first_job(script: Script, tmp_path: Path) -> None:
    done = script("train.py", "-m", "seed=1,2", "loss=cross_entropy,dice,focl")
    assert done.returncode == 2
    assert "did you mean loss=focal?" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("sweep.name=losses", "sweep.name=losses has no effect on a single training"),
        ("hydra/launcher=processes", "hydra/launcher=processes has no effect on a single training"),
        ("allow_change=true", "allow_change=true has no effect on a new run"),
    ],
)
def test_sweep_overrides_of_a_single_run_are_refused(
    typed: str, answer: str, script: Script, tmp_path: Path
) -> None:
    done = script("train.py", typed)
    assert done.returncode == 1
    assert answer in done.stderr
    assert not list(tmp_path.rglob("config.yaml"))


@pytest.mark.parametrize(
    ("typed", "suggestion"), [("encoder.name=resnet188", "resnet18"), ("task.monitor=val/mio", "val/miou")]
)
def test_an_unknown_encoder_or_score_stops_before_training(
    typed: str, suggestion: str, script: Script, tiny: list[str], tmp_path: Path
) -> None:
    done = script("train.py", *tiny, typed, "hydra.run.dir=run")
    assert done.returncode == 2
    assert re.search(rf"expected: .*\b{suggestion}\b", done.stderr)
    assert not (tmp_path / "run/checkpoints").exists()


@pytest.mark.fast
def test_a_value_that_hydra_cannot_read_is_quoted(script: Script) -> None:
    done = script("train.py", "data=folder", "data.root=photos (1)[2]")
    assert done.returncode == 2
    assert (
        """fix:      put quotes around the value and around the argument: "data.root='photos (1)[2]'\""""
        in done.stderr
    )


def test_an_error_shows_a_traceback_only_on_request(script: Script, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.yaml").touch()
    done = script("train.py", "hydra.run.dir=run")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr + done.stdout
    assert len(re.findall("run already holds a run", done.stderr)) == 1

    done = script("train.py", "hydra.run.dir=run", env={"HYDRA_FULL_ERROR": "1"})
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "runs/folder.py" in done.stderr


@pytest.mark.slow
def test_all_unusable_images_are_listed_in_a_file(
    script: Script, folders: Callable[[str], list[str]], tmp_path: Path
) -> None:
    words = [*folders("segmentation"), "data.root=photos", "hydra.run.dir=run"]
    root = next(word.removeprefix("data.root=") for word in words if word.startswith("data.root="))
    shutil.copytree(root, tmp_path / "photos")
    truncated = sorted((tmp_path / "photos").glob("*/images/*.png"))
    for image in truncated:
        image.write_bytes(image.read_bytes()[:-400])  # the header is intact, the rest is truncated

    done = script("train.py", *words)
    assert done.returncode == 1
    assert "train: 4 items cannot be used" in done.stderr
    assert "and 1 more" in done.stderr
    assert "all:      " in done.stderr
    listed = (tmp_path / "run/problems.txt").read_text().splitlines()
    assert [line.split(": ")[0] for line in listed] == [f"{p.parts[-3]}/{p.stem}" for p in truncated]
    assert not (tmp_path / "run/checkpoints").exists()

    done = script("scripts/audit.py", *words[:-1])
    assert done.returncode == 1
    assert f"all 7 items with a problem: {tmp_path}/runs/audit/problems.txt" in done.stdout
    assert len((tmp_path / "runs/audit/problems.txt").read_text().splitlines()) == 7

    for image in truncated[1:]:
        image.write_bytes(b"")
    done = script("train.py", *words[:-1], "hydra.run.dir=again")
    assert "3 of 4 files cannot be read as images" in done.stderr
    assert len((tmp_path / "again/problems.txt").read_text().splitlines()) == 3


def test_a_sweep_creates_a_folder_for_each_combination(
    script: Script, tiny: list[str], tmp_path: Path
) -> None:
    done = script("train.py", "-m", *tiny, "epochs=1", "loss=dice,ce_dice", "hydra.sweep.dir=sweep")
    assert done.returncode == 0, done.stderr
    runs = [tmp_path / "sweep" / name / "metrics.json" for name in ("loss-dice", "loss-ce_dice")]
    assert "loss=dice" in (runs[0].parent / "overrides.yaml").read_text()
    headers = [(file.parent / "metrics.csv").read_text().splitlines()[0].split(",") for file in runs]
    parts = [{name for name in header if name.startswith("val/loss/")} for header in headers]
    assert parts == [set(), {"val/loss/cross_entropy", "val/loss/dice"}]
