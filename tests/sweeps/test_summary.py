"""The tables and the report of a sweep, from its folders."""

from __future__ import annotations

import csv
import json
import math
import re
import statistics
from pathlib import Path

import pytest

from pixelwise.runs import sweep
from pixelwise.runs.sweep import Job
from pixelwise.sweeps import summary


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


# -------------------------------------------------------------------------------------------- tables
def sweep_of(folder: Path, scores: dict[str, float | None]) -> Path:
    """Write the folder of a sweep with one job for each score; None stands for a failed job."""
    for name, score in scores.items():
        loss, seed = name.split("_")
        (folder / name).mkdir(parents=True)
        (folder / name / "overrides.yaml").write_text(f"- loss={loss}\n- seed={seed}\n- epochs=2\n")
        (folder / name / "config.yaml").write_text(
            "data: {classes: [cat]}\ntask: {monitor: val/miou, mode: max}\n"
        )
        if score is None:
            sweep.note(folder / name, "failed", "ValueError: <no>")
        else:
            (folder / name / "metrics.csv").write_text(f"step,val/miou\n1,{score - 0.1}\n3,{score}\n4,\n")
            (folder / name / "metrics.json").write_text(json.dumps({"test/miou": score}))
    return folder


@pytest.mark.fast
def test_means_and_deviations_are_over_finished_seeds(tmp_path: Path) -> None:
    scores = {"dice_1": 0.5, "dice_2": 0.7, "dice_3": 0.9, "focal_1": 0.2, "focal_2": None}
    jobs = summary.write(sweep_of(tmp_path / "s", scores))
    assert sweep.differing(jobs) == ["loss", "seed"]
    assert [job.scores.get("best val/miou") for job in jobs] == [0.5, 0.7, 0.9, 0.2, None]
    assert [row["state"] for row in rows(tmp_path / "s/jobs.csv")] == [
        *["finished"] * 4,
        "failed: ValueError: <no>",
    ]
    dice, focal = rows(tmp_path / "s/settings.csv")
    assert (dice["loss"], dice["runs"], focal["runs"]) == ("dice", "3", "1")
    assert math.isclose(float(dice["test/miou mean"]), 0.7)
    assert math.isclose(float(dice["test/miou sd"]), statistics.stdev([0.5, 0.7, 0.9]))
    assert focal["test/miou sd"] == ""


@pytest.mark.fast
def test_run_with_two_folders_counts_once(tmp_path: Path) -> None:
    folder = sweep_of(tmp_path / "s", {"dice_1": 0.5, "dice_2": 0.7})
    (folder / "dice_1").rename(folder / "loss-dice")
    sweep_of(folder, {"dice_1": 0.5})
    assert len(sweep.read(folder)) == 3
    (group,) = sweep.settings(sweep.read(folder))
    assert sorted(group.values("test/miou")) == [0.5, 0.7]


@pytest.mark.fast
def test_planned_job_that_never_started_is_in_the_table(tmp_path: Path) -> None:
    folder = sweep_of(tmp_path / "s", {"dice_1": 0.5})
    (folder / "jobs.json").write_text(json.dumps({"focal_1": ["loss=focal", "seed=1"]}))
    (folder / "latest").symlink_to("dice_1")
    assert [(job.name, job.state) for job in sweep.read(folder)] == [
        ("dice_1", "finished"),
        ("focal_1", "not started"),
    ]


@pytest.mark.fast
def test_report_shows_all_jobs_without_network_access(tmp_path: Path) -> None:
    summary.write(sweep_of(tmp_path / "s", {"dice_1": 0.5, "dice_2": 0.7, "focal_1": None}))
    text = (tmp_path / "s/report.html").read_text()
    drawn = re.findall(r"<title>([^<]*): [\d.]+</title>", text)
    assert drawn == ["dice_1", "dice_2"]  # the finished jobs
    assert "ValueError: &lt;no&gt;" in text
    assert "http:" not in text
    assert "https:" not in text
    assert "default-src 'none'" in text
    assert "<script" not in text


@pytest.mark.fast
def test_report_copes_with_missing_and_equal_scores(tmp_path: Path) -> None:
    jobs = [Job("a", {"lr": "0.1"}, "finished", "", {"best val/miou": math.nan}), Job("b", {}, "failed")]
    for states in (
        jobs,
        [],
        sweep_of(tmp_path / "s", {"a_1": 0.5, "a_2": 0.5}) and sweep.read(tmp_path / "s"),
    ):
        keys, groups = sweep.differing(states), sweep.settings(states)
        text = summary.page("s", states, keys, groups, ["test/miou"])
        assert "nan" not in text
        assert f"{len(states)} jobs" in text
