"""metrics.csv: rows by step, whole at any time, cut back to a checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixelwise.training.loggers.metrics_csv import MetricsCSVLogger

pytestmark = pytest.mark.fast


def test_columns_that_come_later_leave_earlier_rows_empty(tmp_path: Path) -> None:
    log = MetricsCSVLogger(tmp_path / "metrics.csv")
    log.log_metrics({"train/loss": 0.5}, step=0)
    log.log_metrics({"val/miou": 0.25}, step=1)
    log.finalize("success")
    assert log.file.read_text() == "step,train/loss,val/miou\n0,0.5,\n1,,0.25\n"


def test_it_is_written_every_so_many_rows_and_no_part_of_it_is_left(tmp_path: Path) -> None:
    log = MetricsCSVLogger(tmp_path / "metrics.csv", flush_every=2)
    log.log_metrics({"loss": 1.0}, step=0)
    assert not log.file.exists()
    log.log_metrics({"loss": 2.0}, step=1)
    log.log_metrics({"loss": 3.0}, step=2)
    assert log.file.read_text() == "loss,step\n1.0,0\n2.0,1\n"
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.csv"]


def test_going_on_keeps_what_was_before_the_checkpoint_to_the_last_digit(tmp_path: Path) -> None:
    first = MetricsCSVLogger(tmp_path / "metrics.csv")
    for step in range(6):
        first.log_metrics({"loss": 0.1 + step}, step)
    first.log_metrics({"val/miou": 1 / 3}, step=2)
    first.save()
    before = first.file.read_text().splitlines()

    again = MetricsCSVLogger(first.file)
    again.go_on(3)
    again.save()
    assert again.file.read_text().splitlines() == [*before[:4], before[7]]
    again.log_metrics({"loss": 3.1}, step=3)
    again.save()
    assert again.file.read_text().splitlines()[-1] == before[4]


def test_a_fresh_run_does_not_go_on_with_what_lies_there(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("loss,step\n1.0,0\n")
    log = MetricsCSVLogger(tmp_path / "metrics.csv")
    log.log_metrics({"loss": 2.0}, step=0)
    log.save()
    assert log.file.read_text() == "loss,step\n2.0,0\n"


def test_a_training_that_failed_before_its_first_row_leaves_no_file(tmp_path: Path) -> None:
    log = MetricsCSVLogger(tmp_path / "metrics.csv")
    log.finalize("failed")
    assert not log.file.exists()
