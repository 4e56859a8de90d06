"""Runs on tiles from end to end: protocols in what is kept, the same scores again, tags instead of masks."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from tests.conftest import TINY, run_script

from pixelwise import build
from pixelwise.report import Pictures

Script = Callable[..., subprocess.CompletedProcess[str]]

DATA = [
    "data=potsdam_synthetic",
    "data.source.size=160",
    "data.source.split={train:[2_10,2_11],val:[3_10],test:[3_11]}",
    "data.source.window=80",
    "data.source.draws.count=16",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a tiny segmenter of drawn tiles."""
    folder = tmp_path_factory.mktemp("tiles")
    root = f"data.root={folder / 'data'}"
    done = run_script(folder, "train.py", *TINY, *DATA, root, f"hydra.run.dir={folder / 'run'}")
    assert done.returncode == 0, done.stderr
    return folder / "run"


def test_scores_name_their_protocol_and_their_labels(run: Path) -> None:
    scores = json.loads((run / "metrics.json").read_text())
    for variant in ("test/", "test/eroded/"):
        for name in ("miou", "mean_f1"):
            assert {f"{variant}five_class/{name}", f"{variant}six_class/{name}"} <= scores.keys()
        assert {f"{variant}overall_accuracy", f"{variant}iou/car", f"{variant}f1/clutter"} <= scores.keys()
    assert not {"test/miou", "test/mean_f1"} & scores.keys()
    assert "val/five_class/miou" in (run / "train.log").read_text()


def test_evaluating_repeats_the_scores_to_the_last_digit(run: Path, script: Script, tmp_path: Path) -> None:
    done = script("evaluate.py", f"run={run}", f"output={tmp_path / 'again.json'}")
    assert done.returncode == 0, done.stderr
    assert "differ" not in done.stdout
    assert json.loads((tmp_path / "again.json").read_text()) == json.loads((run / "metrics.json").read_text())


def test_another_window_counts_the_same_pixels(run: Path, script: Script) -> None:
    """Every pixel once, however the tiles are cut: the shares of the classes stay what they are."""
    shares = {name: json.loads((run / "data.json").read_text())[name]["shares"] for name in ("val", "test")}
    root, folder = run.parent / "data", run.parent / "other"
    done = script(
        "train.py", *TINY, *DATA[:3], "data.source.window=[72,61]", "data.source.overlap=9",
        f"data.root={root}", "data.source.draws.count=4", "epochs=1", f"hydra.run.dir={folder}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    again = json.loads((folder / "data.json").read_text())
    assert {name: again[name]["shares"] for name in ("val", "test")} == shares


def test_tags_of_tiles(run: Path, script: Script, tmp_path: Path) -> None:
    done = script(
        "train.py", "task=tagging", *TINY, *DATA, f"data.root={run.parent / 'data'}", "hydra.run.dir=out"
    )
    assert done.returncode == 0, done.stderr
    scores = json.loads((tmp_path / "out/metrics.json").read_text())
    assert {"test/mean_average_precision", "test/mean_f1", "test/micro_f1", "test/f1/car"} <= scores.keys()
    assert (tmp_path / "out/pictures/test.png").exists()


def test_a_loss_of_one_label_is_refused_for_tags(script: Script) -> None:
    done = script("train.py", "task=tagging", "loss=dice")
    assert done.returncode == 1
    assert "task=tagging cannot use Dice" in done.stderr


def test_the_command_draws_the_release(script: Script, tmp_path: Path) -> None:
    split = "data.source.split={train:[2_10],val:[2_11]}"
    done = script(
        "scripts/draw_potsdam.py", "data.root=out", "data.source.size=100", "data.source.zips=true", split
    )
    assert done.returncode == 0, done.stderr
    assert "2 tiles of 100×100 pixels in out" in done.stdout
    assert len([*(tmp_path / "out").glob("*.zip")]) == 7
    again = script("scripts/audit.py", "data=potsdam", "data.root=out", split)
    assert re.search("absent|No problems found", again.stdout), again.stderr


@pytest.mark.fast
def test_encoder_mean_and_std_follow_from_the_inputs(
    compose: Callable[..., DictConfig], tmp_path: Path
) -> None:
    options = ["data.inputs=RGBIR_nDSM", "encoder=test_resnet", f"data.root={tmp_path}", "data.num_workers=0"]
    config = compose(*DATA, *options)
    OmegaConf.resolve(config)
    data, network = build.data(config), build.model(config)
    build.resolve_statistics(network, config, data)
    image = data["val"][0].image
    assert image.shape[-1] == network.normalize.mean.numel() == 5
    pixels = np.concatenate([raw.image.reshape(-1, 5) for raw in data["train"]]) / 255
    assert network.normalize.mean.flatten().numpy() == pytest.approx(pixels.mean(0), rel=1e-4)
    assert network.normalize.std.flatten().numpy() == pytest.approx(pixels.std(0), rel=1e-4)
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None]
    assert network(network.normalize(tensor)).shape == (1, 6, 80, 80)


@pytest.mark.fast
def test_captions_of_tags_are_never_cut_off() -> None:
    pictures = Pictures(["impervious", "low_vegetation", "clutter"])
    tile = pictures.tile(np.zeros((20, 30, 3), np.uint8), np.array([[1, 1, 1], [0, 0, 0]], np.uint8))
    assert tile.shape[0] == 20 + 2 * 18
    columns = np.flatnonzero((tile[:18] < 128).any((0, 2)))
    assert 100 < columns[-1] < tile.shape[1] - 3
    assert Image.fromarray(tile).size[0] > 100
