"""`metrics.csv`: whatever is logged, one row a step, written whole so that no kill leaves half of it."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from pixelwise.files import write_rows


class MetricsCSVLogger(Logger):
    """Rows by step, columns in alphabetical order; a resumed run goes on below the rows it had.

    Args:
        file: the CSV file; it is written anew, unless `go_on` is called first.
        flush_every: rows after which it is written, besides every checkpoint.
    """

    def __init__(self, file: Path, flush_every: int = 100) -> None:
        super().__init__()
        self.file = file
        self.flush_every = flush_every
        self._unwritten = 0
        self._rows: list[dict[str, str]] = []

    @property
    def name(self) -> str:
        """Part of Lightning's interface."""
        return ""

    @property
    def version(self) -> str:
        """Part of Lightning's interface."""
        return ""

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """The run folder has its own `config.yaml`."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add a row."""
        self._rows.append({**{name: str(value) for name, value in metrics.items()}, "step": str(step)})
        self._unwritten += 1
        if self._unwritten >= self.flush_every:
            self.save()

    @rank_zero_only
    def go_on(self, step: int) -> None:
        """Keep the file's rows before a step: that one and all that follow are about to be run again."""
        if self.file.is_file():
            with self.file.open(newline="") as stream:
                rows = [{k: v for k, v in row.items() if v} for row in csv.DictReader(stream)]
            self._rows = [row for row in rows if int(row["step"]) < step]

    @rank_zero_only
    def save(self) -> None:
        """Write all rows, or leave the file as it was."""
        columns = sorted({name for row in self._rows for name in row})
        rows = ([row.get(name, "") for name in columns] for row in self._rows)
        write_rows(self.file, [columns, *rows])
        self._unwritten = 0

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write what is left."""
        if self._unwritten:
            self.save()
