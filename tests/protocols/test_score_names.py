"""Flat score names, parsed in the same way by every report and table."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from tests.helpers import refused

from pixelwise.export.hub import Hub
from pixelwise.files import write_json, write_rows
from pixelwise.metrics import SegmentationScores
from pixelwise.protocols import ScoreName
from pixelwise.reports.run_charts import means, weakest
from pixelwise.runs.reader import RunReader
from pixelwise.runs.sweep import BEST, read, score_names, shown_scores
from pixelwise.runtime.terminal import score_table

pytestmark = pytest.mark.fast

CLASSES = ["car", "iou/car", "red/car", "loss", "eroded", "iou", "kappa"]
"""Some contain slashes, some equal names of scores or protocols."""

EVALUATIONS = ["", "short512_slide512s341_tta-d4"]

PARTS = [
    ScoreName(split, "/".join(filter(None, (eroded, convention))), score, label, evaluation)
    for split, evaluation, eroded, (convention, score, label) in itertools.product(
        ["val", "test"],
        EVALUATIONS,
        ["", "eroded"],
        [
            ("", "kappa", None),
            ("", "miou", None),
            ("five_class", "miou", None),
            *(("", score, label) for score in ("iou", "f1") for label in CLASSES),
        ],
    )
] + [ScoreName(split, "", loss) for split in ("val", "test") for loss in ("loss", "loss/dice", "loss/car")]


@pytest.mark.parametrize("parts", PARTS, ids=str)
def test_parsing_a_name_returns_its_parts(parts: ScoreName) -> None:
    assert ScoreName.parse(str(parts), CLASSES) == parts


def test_no_two_scores_share_a_name() -> None:
    assert len({str(parts) for parts in PARTS}) == len(PARTS)


@pytest.mark.parametrize("classes", [["a", "b"], ["a/b", "b"], ["iou", "iou/iou"], ["eroded", "f1/eroded"]])
@pytest.mark.parametrize("protocols", [None, {"four_class": ["b"]}])
def test_names_of_the_metric_are_parsed(classes: list[str], protocols: dict[str, list[str]] | None) -> None:
    protocols = protocols and dict.fromkeys(protocols, classes[1:])
    metric = SegmentationScores(classes, protocols)
    target = torch.tensor([[[0, 1], [1, 0]]])
    metric.update(torch.randn(1, 2, 2, 2), target, border=torch.tensor([[[True, False], [False, False]]]))
    parsed = [ScoreName.parse(f"val/{name}", classes) for name in metric.compute()]
    assert [name.class_name for name in parsed if name.kind == "eroded/iou"] == classes
    assert [name.class_name for name in parsed if name.kind == "recall"] == classes
    conventions = {name.protocol for name in parsed if name.score == "miou"}
    assert conventions == ({"four_class", "eroded/four_class"} if protocols else {"", "eroded"})


@pytest.mark.parametrize(
    ("classes", "protocol"),
    [(["a", "miou"], "two"), (["a", "b"], "eroded"), (["a", "b"], "loss"), (["a", "b"], "short512")],
)
def test_ambiguous_names_are_refused(classes: list[str], protocol: str) -> None:
    with refused(r"data\.(protocols|classes)"):
        SegmentationScores(classes, {protocol: classes[:1]})


@pytest.fixture(params=EVALUATIONS)
def evaluation(request: pytest.FixtureRequest) -> str:
    """The protocol of all scores of a run."""
    return request.param


@pytest.fixture
def own(evaluation: str) -> list[ScoreName]:
    return [parts for parts in PARTS if parts.is_loss or parts.evaluation == evaluation]


@pytest.fixture
def scores(own: list[ScoreName]) -> dict[str, float]:
    return {str(parts): index / 100 for index, parts in enumerate(own)}


@pytest.fixture
def monitor(evaluation: str) -> str:
    return str(ScoreName("val", "", "miou", evaluation=evaluation))


@pytest.fixture
def run(tmp_path: Path, scores: dict[str, float], monitor: str) -> RunReader:
    folder = tmp_path / "sweep" / "0"
    folder.mkdir(parents=True)
    config: dict[str, Any] = {"data": {"classes": CLASSES}, "task": {"monitor": monitor, "mode": "max"}}
    OmegaConf.save(config, folder / "config.yaml")
    OmegaConf.save([], folder / "overrides.yaml")
    write_json(folder / "metrics.json", scores)
    write_rows(folder / "metrics.csv", [["step", *scores], [0, *scores.values()]])
    return RunReader(folder)


def test_pages_tables_and_cards_agree(
    run: RunReader, own: list[ScoreName], scores: dict[str, float], monitor: str, evaluation: str
) -> None:
    of_class = {str(parts) for parts in own if parts.class_name is not None}
    assert {*run.means} == {*scores} - of_class
    kinds = ("iou", "f1", "eroded/iou", "eroded/f1")
    assert {kind: [*labels] for kind, labels in run.by_class.items()} == dict.fromkeys(kinds, CLASSES)

    ordered = score_names(read(run.folder.parent))
    assert ordered[0] == f"{BEST}{monitor}"
    assert {*ordered[1 : -len(of_class)]} == {*scores} - of_class
    assert shown_scores(read(run.folder.parent)) == [ordered[0], monitor.replace("val", "test"), monitor]

    names = [run.parsed(name) for name in scores]
    shown = ["miou", "kappa", "five_class/miou", "eroded/kappa", "eroded/miou", "eroded/five_class/miou"]
    assert [name.kind for name in means(run, names)] == shown
    assert [name.class_name for name in weakest(run, names, "iou")] == CLASSES

    table = score_table({n: v for n, v in scores.items() if n.startswith("test/")}, "title", CLASSES)
    rows = [*table.columns[0].cells]
    assert rows[-len(CLASSES) :] == [f"  {label}" for label in CLASSES]
    assert {"five class: miou", "miou", "kappa", "loss"} < {*rows}
    headers = {str(column.header) for column in table.columns}
    assert headers == {"", "score", "iou", "f1", "eroded\nscore", "eroded\niou", "eroded\nf1"}
    assert evaluation in str(table.title)

    subject: Any = type("Subject", (), {"scores": scores, "model": type("Model", (), {"classes": CLASSES})})
    hub = Hub("mit", None, "image-segmentation", {"miou": "mean_iou", "kappa": "kappa", "iou": "iou"})
    results = [(result.dataset_split, result.metric_name) for result in hub.results(subject)]
    names_on_hub = [f"{evaluation}/{name}".lstrip("/") for name in ("kappa", "miou")]
    assert sorted(results) == [(split, name) for split in ("test", "val") for name in names_on_hub]
