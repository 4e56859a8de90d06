"""Splits without labels, and weights that are not finite: what is refused, and what is said."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.helpers import Compose, refused
from tests.security.conftest import assert_refused, forked

from pixelwise import build, runs
from pixelwise.build.restore import load
from pixelwise.export import export, subject
from pixelwise.export.hub import Hub
from pixelwise.runs import checkpoints
from pixelwise.training.evaluate import evaluate
from pixelwise.training.train import train


def run_without_labels(compose: Compose, root: Path, split: str, *words: str) -> Path:
    """Train on an image folder in which one split is ignored everywhere; return the run folder."""
    rng = np.random.default_rng(0)
    for name in ("train", "val", "test"):
        for kind in ("images", "masks"):
            (root / name / kind).mkdir(parents=True)
        for number in range(4):
            image = rng.integers(0, 256, (40, 40, 3), np.uint8)
            mask = (
                np.full((40, 40), 255, np.uint8) if name == split else (image[..., 0] > 128).astype(np.uint8)
            )
            Image.fromarray(image).save(root / name / f"images/{number}.png")
            Image.fromarray(mask).save(root / name / f"masks/{number}.png")
    words = ("data=folder", f"data.root={root}", "data.classes=[background,road]", "epochs=1", *words)
    words += ("encoder=test_resnet", "data.crop_size=32", "data.batch_size=4", "trainer.accelerator=cpu")
    folder = runs.create(root / "run", compose(*words), words)
    train(build.run(runs.load_config(folder), folder), folder)
    return folder


def test_a_test_split_without_labels_is_predicted_not_scored(
    compose: Compose, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        folder = run_without_labels(compose, tmp_path, "test")
    assert "test: no image has a label, so it is predicted, but not scored" in caplog.text
    scores = json.loads((folder / "metrics.json").read_text())
    assert "test/loss" in scores
    assert set(scores.values()) == {None}
    page = (folder / "report.html").read_text()
    assert "Samples without labels of test" in page
    assert page.count("<figcaption>") >= 3
    assert "NaN" not in (folder / "samples.json").read_text()


@pytest.mark.parametrize(
    ("split", "words", "message"),
    [
        ("train", [], "train: no image has a label"),
        ("val", [], "val: no image has a label, so val/miou cannot select"),
        ("val", ["task.monitor=val/loss"], "val: no image has a label, so val/loss cannot select"),
    ],
    ids=["train", "val", "val by its loss"],
)
def test_training_without_labels_is_refused(
    split: str, words: list[str], message: str, compose: Compose, tmp_path: Path
) -> None:
    with refused(message):
        run_without_labels(compose, tmp_path, split, *words)
    assert not (tmp_path / "run/metrics.csv").exists()


@pytest.fixture
def broken(trained: Path, tmp_path: Path) -> Path:
    """A copy of a run whose best weights contain a NaN."""
    folder = tmp_path / "broken"
    shutil.copytree(trained, folder)
    file = checkpoints.file_of(folder, "best")
    state = torch.load(file, weights_only=True)
    state["state_dict"]["model.head.conv.weight"][0] = torch.nan
    torch.save(state, file)
    return folder


NAMED = r"best\.ckpt: some weights are NaN or infinite\n  found:    head\.conv\.weight"


def test_weights_that_are_not_finite_are_not_used(broken: Path, tmp_path: Path) -> None:
    with refused(NAMED):
        load(broken)
    config = runs.load_config(broken)
    config.checkpoint, config.sample = "best", None
    with refused(NAMED):
        export(subject(config, broken), Hub("mit", None, "image-segmentation", {}), tmp_path / "hub")
    image = tmp_path / "image.png"
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(image)
    words = [f"run={broken}", f"input={image}", f"output={tmp_path / 'maps'}"]
    assert_refused(forked(tmp_path, "predict", *words), "some weights are NaN or infinite")
    assert not (tmp_path / "maps").exists()


def test_an_evaluation_names_weights_that_are_not_finite(
    broken: Path, caplog: pytest.LogCaptureFixture
) -> None:
    evaluate(build.evaluation(runs.load_config(broken), broken), broken)
    assert "best.ckpt: some weights are NaN or infinite" in caplog.text
