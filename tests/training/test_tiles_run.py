"""Complete runs on tiles: scores of predicted maps, score protocols, and tagging."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest
import rasterio
import torch
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from tests.conftest import TINY, run_script
from tests.helpers import Script, refused

from pixelwise import build
from pixelwise.drawn.city.potsdam_release import PALETTE
from pixelwise.training.callbacks.pictures import Pictures

DATA = [
    "data=potsdam_synthetic",
    "data.source.size=160",
    "data.source.split={train:[2_10,2_11],val:[3_10],test:[3_11,4_11]}",
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


def test_score_names_contain_protocol_and_label_variant(run: Path) -> None:
    scores = json.loads((run / "metrics.json").read_text())
    for variant in ("test/", "test/eroded/"):
        for name in ("miou", "mean_f1"):
            assert {f"{variant}five_class/{name}", f"{variant}six_class/{name}"} <= scores.keys()
        assert {f"{variant}overall_accuracy", f"{variant}iou/car", f"{variant}f1/clutter"} <= scores.keys()
    assert not {"test/miou", "test/mean_f1"} & scores.keys()
    assert "val/five_class/miou" in (run / "train.log").read_text()


def test_evaluate_repeats_the_scores_to_the_last_digit(run: Path, script: Script, tmp_path: Path) -> None:
    done = script("evaluate.py", f"run={run}", f"output={tmp_path / 'again.json'}")
    assert done.returncode == 0, done.stderr
    assert "differ" not in done.stdout
    assert json.loads((tmp_path / "again.json").read_text()) == json.loads((run / "metrics.json").read_text())


def predict(run: Path, *options: str) -> dict[str, np.ndarray]:
    """Masks (H, W) of the test tiles from predict.py by id, in batches like those of the evaluation."""
    images = next((run.parent / "data").rglob("top_potsdam_3_11_RGB.tif")).parent
    output = Path(mkdtemp(dir=run.parent))
    options = ("batch_size=4", f"input={images}", f"output={output}", *options)
    done = run_script(run.parent, "predict.py", f"run={run}", *options)
    assert done.returncode == 0, done.stderr
    return {tile: read(output / f"top_potsdam_{tile}_RGB.tif")[0] for tile in ("3_11", "4_11")}


def read(file: Path) -> np.ndarray:
    """All bands (C, H, W)."""
    with rasterio.open(file) as dataset:
        return dataset.read()


def truth(run: Path, tile: str) -> np.ndarray:
    """(H, W) class indices of a tile."""
    label = read(next((run.parent / "data").rglob(f"top_potsdam_{tile}_label.tif")))
    return (label.transpose(1, 2, 0)[:, :, None] == PALETTE).all(-1).argmax(-1)


def near_another_class(truth: np.ndarray) -> np.ndarray:
    """Mask of the pixels that have another class at a squared distance of at most 10."""
    height, width = truth.shape
    padded = np.pad(truth, 3, mode="edge")
    inside = np.pad(np.ones_like(truth, bool), 3)
    near = np.zeros_like(truth, bool)
    for down, right in np.ndindex(7, 7):
        if (down - 3) ** 2 + (right - 3) ** 2 <= 10:
            at = np.s_[down : down + height, right : right + width]
            near |= (padded[at] != truth) & inside[at]
    return near


def test_test_scores_are_those_of_the_predicted_maps(run: Path) -> None:
    full, eroded = np.zeros((2, 6, 6), np.int64)
    for tile, predicted in predict(run).items():
        labels = truth(run, tile)
        np.add.at(full, (labels, predicted), 1)
        inner = ~near_another_class(labels)
        np.add.at(eroded, (labels[inner], predicted[inner]), 1)
    assert full.sum() == 2 * 160**2 > eroded.sum() > 0
    assert (full.sum(0) > 100).sum() > 1, "a map of one class would test little"
    recorded = json.loads((run / "confusion.json").read_text())
    assert recorded["split"] == "test"
    assert recorded["matrix"] == full.tolist()
    scores = json.loads((run / "metrics.json").read_text())
    classes = recorded["classes"]
    for prefix, matrix in (("test/", full), ("test/eroded/", eroded)):
        hits, truths, claims = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
        with np.errstate(invalid="ignore"):
            iou, f1 = hits / (truths + claims - hits), 2 * hits / (truths + claims)
        for index, name in enumerate(classes):
            assert scores[f"{prefix}iou/{name}"] == pytest.approx(iou[index], rel=0, abs=0, nan_ok=True)
            assert scores[f"{prefix}f1/{name}"] == pytest.approx(f1[index], rel=0, abs=0, nan_ok=True)
        assert scores[f"{prefix}overall_accuracy"] == hits.sum() / matrix.sum()
        for protocol, counted in (("five_class", classes.index("clutter")), ("six_class", 6)):
            for name, values in (("miou", iou), ("mean_f1", f1)):
                mean = np.nanmean(np.delete(values, counted) if counted < 6 else values)
                assert scores[f"{prefix}{protocol}/{name}"] == pytest.approx(mean, rel=1e-14)


@pytest.mark.slow
def test_scores_match_maps_for_other_windows_and_tta(run: Path, script: Script, tmp_path: Path) -> None:
    options = ["data.source.window=96", "data.source.overlap=0.5", "tta=flips"]
    done = script("evaluate.py", f"run={run}", *options, "output=scores.json")
    assert done.returncode == 0, done.stderr
    assert "windows of 96 pixels, overlap 0.5; test-time augmentation Flips" in " ".join(done.stdout.split())
    assert "the data differ" not in done.stdout
    scores, usual = (
        json.loads(file.read_text()) for file in (tmp_path / "scores.json", run / "metrics.json")
    )
    maps = predict(run, "window=96", "overlap=0.5", "tta=flips")
    right = sum(int((predicted == truth(run, tile)).sum()) for tile, predicted in maps.items())
    accuracy = scores["test/tta-flips/overall_accuracy"]  # no name of another protocol
    assert accuracy == right / (2 * 160**2) != usual["test/overall_accuracy"]
    assert not {*scores} & {*usual} - {"test/loss"}


@pytest.mark.slow
def test_two_processes_score_tiles_like_one(run: Path, script: Script) -> None:
    done = script("evaluate.py", f"run={run}", "trainer.devices=2", "trainer.strategy=ddp")
    assert done.returncode == 0, done.stderr
    assert "equal to" in done.stdout


@pytest.mark.slow
def test_scores_are_equal_for_any_batch_size_and_processes(run: Path, script: Script, tmp_path: Path) -> None:
    """The validation split has one tile, so the second process has only padding."""
    choices = {
        "two": ["trainer.devices=2", "trainer.strategy=ddp"],
        "one": ["data.batch_size=7", "data.num_workers=1"],
    }
    for name, options in choices.items():
        done = script("evaluate.py", f"run={run}", *options, "split=val", f"output={name}.json")
        assert done.returncode == 0, done.stderr
    two, one = (json.loads((tmp_path / f"{name}.json").read_text()) for name in choices)
    assert two == one
    assert {"val/loss", "val/eroded/iou/tree"} < two.keys()


@pytest.mark.fast
def test_eval_size_is_refused_for_tiles(compose: Callable[..., DictConfig], tmp_path: Path) -> None:
    config = compose(*DATA, f"data.root={tmp_path}", "data.eval_size=64")
    OmegaConf.resolve(config)
    with refused(r"data.eval_size[\s\S]*data.eval_size=null"):
        build.data(config)


@pytest.mark.slow
def test_class_shares_do_not_depend_on_the_window(run: Path, script: Script) -> None:
    """Every pixel is counted once, for any window and overlap."""
    shares = {name: json.loads((run / "data.json").read_text())[name]["shares"] for name in ("val", "test")}
    root, folder = run.parent / "data", run.parent / "other"
    done = script(
        "train.py", *TINY, *DATA[:3], "data.source.window=[72,61]", "data.source.overlap=0.125",
        f"data.root={root}", "data.source.draws.count=4", "epochs=1", f"hydra.run.dir={folder}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    again = json.loads((folder / "data.json").read_text())
    assert {name: again[name]["shares"] for name in ("val", "test")} == shares


def test_tagging_of_tiles(run: Path, script: Script, tmp_path: Path) -> None:
    done = script(
        "train.py", "task=tagging", *TINY, *DATA, f"data.root={run.parent / 'data'}", "hydra.run.dir=out"
    )
    assert done.returncode == 0, done.stderr
    scores = json.loads((tmp_path / "out/metrics.json").read_text())
    assert {"test/mean_average_precision", "test/mean_f1", "test/micro_f1", "test/f1/car"} <= scores.keys()
    assert (tmp_path / "out/pictures/test.png").exists()


def test_single_label_loss_is_refused_for_tagging(script: Script) -> None:
    done = script("train.py", "task=tagging", "loss=dice")
    assert done.returncode == 2
    assert "task=tagging cannot use Dice" in done.stderr


@pytest.mark.slow
def test_draw_potsdam_writes_the_release(script: Script, tmp_path: Path) -> None:
    split = "data.source.split={train:[2_10],val:[2_11]}"
    done = script(
        "scripts/draw_potsdam.py", "data.root=out", "data.source.size=100", "data.source.zips=true", split
    )
    assert done.returncode == 0, done.stderr
    assert "2 tiles of 100×100 pixels in out" in done.stdout
    assert len([*(tmp_path / "out").glob("*.zip")]) == 7
    again = script("scripts/audit.py", "data=potsdam", "data.root=out", split)
    assert re.search("absent|No problems found", again.stdout), again.stderr


def test_mean_and_std_are_computed_for_other_inputs(
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
def test_captions_of_tags_are_not_cut_off() -> None:
    pictures = Pictures(["impervious", "low_vegetation", "clutter"])
    tile = pictures.tile(np.zeros((20, 30, 3), np.uint8), np.array([[1, 1, 1], [0, 0, 0]], np.uint8))
    assert tile.shape[0] == 20 + 2 * 18
    columns = np.flatnonzero((tile[:18] < 128).any((0, 2)))
    assert 100 < columns[-1] < tile.shape[1] - 3
    assert Image.fromarray(tile).size[0] > 100
