"""Complete runs on drawn scenes: written files, reproducible scores, refused input, predictions."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from lightning import Trainer
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from tests.helpers import Compose, Script, refused

from pixelwise import build, runs
from pixelwise.files import read_rows
from pixelwise.runs import checkpoints
from pixelwise.training.callbacks.throughput import EpochBar
from pixelwise.training.evaluate import evaluate
from pixelwise.training.train import train

Fit = Callable[..., Path]


@pytest.fixture
def fit(compose: Callable[..., DictConfig], tiny: list[str], tmp_path: Path) -> Fit:
    """`fit(name, *overrides)` trains into a run folder like train.py, without starting a process."""

    def fit(name: str, *overrides: str, base: Sequence[str] = tiny) -> Path:
        folder = runs.create(tmp_path / name, compose(*base, *overrides), overrides)
        train(build.run(runs.load_config(folder), folder), folder)
        return folder

    return fit


def scores(folder: Path) -> str:
    return (folder / "metrics.json").read_text()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


# --------------------------------------------------------------------------------- written files
def test_run_folder_has_the_documented_files(trained: Path) -> None:
    for file in ("config.yaml", "overrides.yaml", "environment.json", "metrics.csv", "train.log"):
        assert (trained / file).stat().st_size > 0
    assert (trained.parent / "latest").resolve() == trained

    config = (trained / "config.yaml").read_text()
    assert not re.search(r"\$\{(hydra|now|oc\.env)\b", config)
    assert not re.search(r"^hydra:", config, re.MULTILINE)
    assert "${optimizer.lr}" in config
    assert "data.crop_size=32" in OmegaConf.load(trained / "overrides.yaml")

    final = json.loads(scores(trained))
    assert {"test/miou", "test/iou/cat", "test/f1/dog", "test/overall_accuracy"} <= final.keys()
    assert all(value is None or isinstance(value, float) for value in final.values())
    assert not any(name.startswith("val/") for name in final)

    with (trained / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["epoch"] for row in rows if row["val/miou"]] == ["0", "1"]
    assert all(float(row["train/loss"]) > 0 for row in rows if row["train/loss"])
    assert Image.open(trained / "pictures/batch_all.png").size > (64, 64)
    assert str(trained) in (trained / "train.log").read_text()

    with (trained / "speed.csv").open() as stream:
        assert [row["epoch"] for row in csv.DictReader(stream) if float(row["images_per_s"]) > 0] == [
            "0",
            "1",
        ]
    assert (trained / "report.html").stat().st_size > 0


def test_log_line_and_progress_bar_of_an_epoch(trained: Path) -> None:
    log = (trained / "train.log").read_text()
    speed = r"[\d.e+]+ steps/s  \d+ images/s  \d+ % waiting for data  [\d.]+ GB  0:\d\d:\d\d left"
    assert re.search(rf"epoch 2/2  train/loss [\d.]+  val/loss [\d.]+  val/miou [\d.]+  {speed}", log)
    bar = EpochBar()
    bar._trainer = Trainer(max_epochs=2, logger=False, enable_checkpointing=False)  # type: ignore[assignment]
    assert bar._get_train_description(1).strip() == "Epoch 2/2"


def test_the_line_of_an_epoch_has_the_mean_training_loss(
    compose: Compose, tiny: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = [*tiny, "epochs=3", "trainer.max_epochs=2", "trainer.log_every_n_steps=1", "data.batch_size=2"]
    folder = runs.create(tmp_path / "run", compose(*words), words)
    with caplog.at_level("INFO"):
        train(build.run(runs.load_config(folder), folder), folder)
    printed = re.findall(r"epoch \d/2  train/loss ([\d.]+) .* (\S+) left", caplog.text)
    losses = [row["train/loss"] for row in read_rows(folder / "metrics.csv") if "train/loss" in row]
    assert len(losses) == 8
    means = [sum(losses[:4]) / 4, sum(losses[4:]) / 4]
    assert [float(loss) for loss, _ in printed] == pytest.approx(means, abs=1e-4)
    assert printed[-1][1] == "0:00:00"  # trainer.max_epochs ends the training here


def test_a_limited_test_names_the_share_of_its_batches(
    compose: Compose, tiny: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = [*tiny, "epochs=1", "trainer.limit_test_batches=1"]
    folder = runs.create(tmp_path / "run", compose(*words), words)
    with caplog.at_level("INFO"):
        train(build.run(runs.load_config(folder), folder), folder)
    printed = " ".join(caplog.text.split())
    assert "only the first 1 of 2 batches" in printed
    assert "trainer.limit_test_batches" in printed


def test_checkpoints_load_without_running_code(trained: Path) -> None:
    resolved = OmegaConf.to_container(runs.load_config(trained), resolve=True)
    for name, steps in {"last": 4, "previous": 2}.items():
        state = torch.load(trained / f"checkpoints/{name}.ckpt", weights_only=True)
        assert state["global_step"] == steps
        assert state["config"] == resolved
        assert state["optimizer_states"]
    best = torch.load(trained / "checkpoints/best.ckpt", weights_only=True)
    assert best["config"] == resolved
    assert "optimizer_states" not in best


def test_undefined_scores_are_null_in_json(fit: Fit, folders: Callable[[str], list[str]]) -> None:
    small = ["encoder=test_resnet", "epochs=1", "data.crop_size=32"]
    folder = fit("run", *small, *folders("segmentation"), "data.classes=[background,road,unicorn]", base=())
    final = json.loads(scores(folder), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert final["val/recall/unicorn"] is None
    assert final["val/miou"] is not None


def test_without_a_test_split_scores_are_those_of_val(trained_classifier: Path) -> None:
    names = json.loads(scores(trained_classifier)).keys()
    assert "val/accuracy" in names
    assert all(name.startswith("val/") for name in names)
    assert "no test split" in (trained_classifier / "train.log").read_text()


# ---------------------------------------------------------------------------- reproducible scores
def test_result_depends_on_seed_but_not_on_workers(fit: Fit) -> None:
    once, workers = fit("once", "seed=7"), fit("workers", "seed=7", "data.num_workers=2")
    assert scores(once) == scores(fit("again", "seed=7")) == scores(workers)
    assert (once / "metrics.csv").read_text() == (workers / "metrics.csv").read_text()
    assert scores(once) != scores(fit("other", "seed=8"))


def test_evaluate_repeats_the_scores_of_a_moved_run(trained: Path, script: Script, tmp_path: Path) -> None:
    moved = tmp_path / "moved here" / "run"
    shutil.copytree(trained, moved)
    before = contents(moved)
    done = script("evaluate.py", f"run='{moved}'", "output=again.json")
    assert done.returncode == 0, done.stderr
    assert "to the last digit" in done.stdout
    assert (tmp_path / "again.json").read_text() == scores(trained)
    assert {n: b for n, b in contents(moved).items() if n in before and n != "evaluate.log"} == before


def test_evaluate_repeats_scores_on_images_of_two_sizes(
    fit: Fit, folders: Callable[[str], list[str]]
) -> None:
    small = ["encoder=test_resnet", "epochs=1", "data.crop_size=32", "data.batch_size=2"]
    folder = fit("run", *small, *folders("segmentation"), base=())
    run = build.evaluation(runs.load_config(folder), folder)
    assert len({run.data["val"].size(i) for i in range(3)}) == 2
    runs.write_scores(folder / "again.json", evaluate(run, folder))
    assert (folder / "again.json").read_text() == scores(folder)


def test_other_weights_and_splits_can_be_scored(trained: Path) -> None:
    run = build.evaluation(runs.load_config(trained), trained)
    names = evaluate(run, trained, split="val", weights="last").keys()
    assert all(name.startswith("val/") for name in names)
    with refused("split"):
        evaluate(run, trained, split="holdout")


# ---------------------------------------------------------------------------------- refused input
@pytest.mark.slow
def test_resuming_with_another_model_is_refused(trained: Path, script: Script, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "run")
    done = script("train.py", "resume=run", "decoder=fpn", "allow_change=true")
    assert done.returncode == 1
    assert "last.ckpt does not fit the model" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_batch_too_small_for_batch_norm_is_refused(fit: Fit) -> None:
    with refused(r"data\.batch_size=1\n[\s\S]*data\.batch_size=2 or more"):
        fit("one", "data.batch_size=1", "epochs=1")


def test_new_run_does_not_overwrite_an_existing_one(
    trained: Path, script: Script, tiny: list[str], tmp_path: Path
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(trained, copy)
    before = contents(copy)
    done = script("train.py", *tiny, f"hydra.run.dir={copy}")
    assert done.returncode == 1
    assert "already holds a run" in done.stderr
    assert contents(copy) == before


def test_checkpoint_that_does_not_fit_the_model_is_refused(trained: Path) -> None:
    config = runs.load_config(trained)
    config.decoder.widths = [8, 8, 8, 8, 8]
    with refused(r"best.ckpt does not fit[\s\S]*decoder.blocks"):
        checkpoints.load_model(build.model(config), trained / "checkpoints/best.ckpt")


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 half a file"], ids=["empty", "truncated"])
def test_damaged_checkpoint_is_named(damage: bytes, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "best.ckpt").write_bytes(damage)
    with refused(r"best.ckpt cannot be read[\s\S]*checkpoint=last"):
        checkpoints.load_model(build.model(runs.load_config(trained)), tmp_path / "best.ckpt")
