"""The transfer study on a few scenes: trained runs, repeated calls, errors and reports."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.helpers import Compose, refused

from pixelwise import runs
from pixelwise.runs import checkpoints
from pixelwise.sweeps.transfer import SCRATCH, TRANSFER, Score, Study, plot, run_study, table

STUDY = Study(
    seeds=[1],
    masks=[4, 8],
    both={
        "callbacks": "checkpoint",
        "encoder": "test_resnet",
        "data.crop_size": 32,
        "data.batch_size": 4,
        "data.source.counts": "{train:8,val:4,test:6}",
        "trainer.accelerator": "cpu",
    },
    classifier={"task": "classification", "epochs": 1},
    segmenter={
        "task": "segmentation",
        "schedule.phases.all.epochs": None,
        "schedule.phases.all.steps": 2,
        "optimizer.lr": 0,
    },
)
RUNS = [
    "classifier_seed1",
    *(f"{kind}_{count}_seed1" for count in (4, 8) for kind in ("scratch", "transfer")),
]


@pytest.fixture(scope="module")
def finished_study(tmp_path_factory: pytest.TempPathFactory, compose: Compose) -> tuple[Path, list[Score]]:
    folder = tmp_path_factory.mktemp("transfer")
    return folder, run_study(STUDY, folder, lambda overrides: compose(*overrides))


def test_every_run_has_its_own_scores_and_log(finished_study: tuple[Path, list[Score]]) -> None:
    folder, scores = finished_study
    assert sorted(f.parent.name for f in folder.glob("*_*/metrics.json")) == sorted(RUNS)
    assert [(s.masks, s.start) for s in scores] == [(4, SCRATCH), (4, TRANSFER), (8, SCRATCH), (8, TRANSFER)]
    for score in scores:
        kind = "transfer" if score.start == TRANSFER else "scratch"
        recorded = runs.read_scores(folder / f"{kind}_{score.masks}_seed1/metrics.json")
        assert score.miou == recorded["test/miou"]
        printed = (folder / f"{kind}_{score.masks}_seed1/train.log").read_text()
        assert "phase 'all' (1/1), steps 0 to 1" in printed
        assert ("classifier_seed1" in printed) == (kind == "transfer")


def test_only_the_encoder_is_transferred(finished_study: tuple[Path, list[Score]]) -> None:
    """Both commands differ only in `encoder.weights`; a learning rate of 0 keeps the initial weights."""
    folder, _ = finished_study
    scratch, transfer = (
        (folder / f"{kind}_4_seed1/overrides.yaml").read_text().splitlines()
        for kind in ("scratch", "transfer")
    )
    assert transfer[: len(scratch)] == scratch
    assert len(transfer) == len(scratch) + 1
    best = [
        checkpoints.model_weights(checkpoints.read(folder / f"{name}/checkpoints/best.ckpt"))
        for name in ("classifier_seed1", "transfer_4_seed1", "scratch_4_seed1")
    ]
    classifier, transferred, scratch = best
    encoder = [name for name in classifier if name.startswith("encoder.") and name.endswith(".weight")]
    assert all(torch.equal(classifier[name], transferred[name]) for name in encoder)
    assert not any(torch.equal(classifier[name], scratch[name]) for name in encoder if "conv" in name)
    assert set(transferred) - set(classifier) >= {"decoder.blocks.0.0.0.weight", "head.conv.weight"}


@pytest.mark.fast
def test_weights_from_latest_are_those_of_the_previous_run(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`latest` points to the new run before its encoder is built."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs/first/checkpoints").mkdir(parents=True)
    (tmp_path / "runs/latest").symlink_to("first", target_is_directory=True)
    overrides = ["encoder.weights=runs/latest/checkpoints/best.ckpt"]
    folder = runs.create(tmp_path / "runs/second", compose(*overrides), overrides)
    assert (tmp_path / "runs/latest").resolve() == folder
    weights = runs.load_config(folder).encoder.weights
    assert weights == str(tmp_path / "runs/first/checkpoints/best.ckpt")


def test_repeated_study_trains_only_unfinished_runs(
    finished_study: tuple[Path, list[Score]], compose: Compose, caplog: pytest.LogCaptureFixture
) -> None:
    folder, scores = finished_study
    (folder / "scratch_8_seed1/metrics.json").unlink()
    before = {f: f.stat().st_mtime_ns for f in folder.glob("*_*/metrics.json")}
    caplog.set_level(logging.INFO)
    assert run_study(STUDY, folder, lambda overrides: compose(*overrides)) == scores
    assert {f: f.stat().st_mtime_ns for f in folder.glob("*_*/metrics.json") if f in before} == before
    assert "scratch_8_seed1 was not finished and starts again" in caplog.text
    assert not list(folder.glob("*/checkpoints/last.ckpt"))


def test_folder_of_a_run_with_other_overrides_is_refused(
    finished_study: tuple[Path, list[Score]], compose: Compose
) -> None:
    folder, _ = finished_study
    other = Study([1], [4], {**STUDY.both, "loss": "dice"}, STUDY.classifier, STUDY.segmenter)
    with refused(r"classifier_seed1 holds another run[\s\S]*loss=dice"):
        run_study(other, folder, lambda overrides: compose(*overrides))


def test_json_table_and_plot_are_written(finished_study: tuple[Path, list[Score]]) -> None:
    folder, scores = finished_study
    assert [row["miou"] for row in json.loads((folder / "transfer.json").read_text())] == [
        s.miou for s in scores
    ]
    assert (folder / "transfer.md").read_text() == table(scores)
    assert Image.open(folder / "transfer.png").size == (900, 600)


@pytest.mark.fast
def test_table_and_plot_agree_with_a_hand_calculation() -> None:
    scores = [
        *(Score(16, seed, SCRATCH, miou) for seed, miou in ((1, 0.2), (2, 0.4))),
        *(Score(16, seed, TRANSFER, miou) for seed, miou in ((2, 0.6), (1, 0.5))),
    ]
    assert "| 16 | 0.300 ± 0.141 | 0.550 ± 0.071 | +0.250 ± 0.071 |" in table(scores)
    assert "over 2 seeds" in table(scores)
    axes = plot(scores).axes[0]
    assert [list(line.get_ydata()) for line in axes.lines] == [
        [pytest.approx(0.3)], [0.2, 0.4], [pytest.approx(0.55)], [0.5, 0.6],
    ]  # fmt: skip
    assert "| 16 | 0.200 | 0.500 | +0.300 |" in table([scores[0], scores[3]])


@pytest.mark.fast
def test_study_without_seeds_is_refused() -> None:
    with refused("seeds is empty"):
        Study([], [16], {}, {}, {})
