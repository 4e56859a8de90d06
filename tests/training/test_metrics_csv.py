"""metrics.csv: rows by step, written atomically, truncated to a checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixelwise.training.loggers.metrics_csv import MetricsCSVLogger

pytestmark = pytest.mark.fast


def test_later_columns_are_empty_in_earlier_rows(tmp_path: Path) -> None:
    log = MetricsCSVLogger(tmp_path / "metrics.csv")
    log.log_metrics({"train/loss": 0.5}, step=0)
    log.log_metrics({"val/miou": 0.25}, step=1)
    log.finalize("success")
    assert log.file.read_text() == "step,train/loss,val/miou\n0,0.5,\n1,,0.25\n"


def test_file_is_written_after_every_n_rows(tmp_path: Path) -> None:
    log = MetricsCSVLogger(tmp_path / "metrics.csv", flush_every=2)
    log.log_metrics({"loss": 1.0}, step=0)
    assert not log.file.exists()
    log.log_metrics({"loss": 2.0}, step=1)
    log.log_metrics({"loss": 3.0}, step=2)
    assert log.file.read_text() == "loss,step\n1.0,0\n2.0,1\n"
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.csv"]


def test_truncate_keeps_earlier_rows_to_the_last_digit(tmp_path: Path) -> None:
    first = MetricsCSVLogger(tmp_path / "metrics.csv")
    for step in range(6):
        first.log_metrics({"loss": 0.1 + step}, step)
    first.log_metrics({"val/miou": 1 / 3}, step=2)
    first.save()
    before = first.file.read_text().splitlines()

    again = MetricsCSVLogger(first.file)
    again.truncate(3)
    again.save()
    assert again.file.read_text().splitlines() == [*before[:4], before[7]]
    again.log_metrics({"loss": 3.1}, step=3)
    again.save()
    assert again.file.read_text().splitlines()[-1] == before[4]


def test_new_run_replaces_an_existing_file(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("loss,step\n1.0,0\n")
    log = MetricsCSVLogger(tmp_path / "metrics.csv")
    log.log_metrics({"loss": 2.0}, step=0)
    log.save()
    assert log.file.read_text() == "loss,step\n2.0,0\n"


def test_failure_before_the_first_row_writes_no_file(tmp_path: Path) -> None:
    log = MetricsCSVLogger(tmp_path / "metrics.csv")
    log.finalize("failed")
    assert not log.file.exists()
