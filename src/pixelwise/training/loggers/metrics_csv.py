"""`metrics.csv`: the logged values, one row per log call, written atomically."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from pixelwise.files import read_cells, read_rows, write_rows
from pixelwise.runs.records import LOGGED


class MetricsCSVLogger(Logger):
    """Write rows in the order of steps, with columns in alphabetical order; a resumed run appends rows.

    Args:
        file: the CSV file; it is replaced unless `truncate` is called first.
        flush_every: number of new rows after which the file is written; every checkpoint also writes it.
    """

    def __init__(self, file: Path, flush_every: int = 100) -> None:
        super().__init__()
        self.file = file
        self.flush_every = flush_every
        self._unwritten = 0
        """Number of changes that the file does not have yet."""
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
        """Do nothing: the run folder has its own `config.yaml`."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add a row."""
        self._rows.append({**{name: str(value) for name, value in metrics.items()}, "step": str(step)})
        self._unwritten += 1
        if self._unwritten >= self.flush_every:
            self.save()

    @rank_zero_only
    def truncate(self, step: int) -> None:
        """Keep the rows of the file before a step; that step and later ones will run again.

        Raises:
            UserError: the file is damaged.
        """
        if read_rows(self.file, LOGGED):
            header, *cells = read_cells(self.file)
            rows = [{k: v for k, v in zip(header, row, strict=True) if v} for row in cells]
            self._rows = [row for row in rows if int(row["step"]) < step]
            self._unwritten += 1

    @rank_zero_only
    def remove(self, step: int, prefix: str) -> None:
        """Remove the rows of a step that hold values whose names start with a prefix."""
        self._rows = [
            row
            for row in self._rows
            if int(row["step"]) != step or not any(name.startswith(prefix) for name in row)
        ]
        self._unwritten += 1

    @rank_zero_only
    def save(self) -> None:
        """Write all rows if some have changed; if this fails, the file is unchanged.

        Lightning also calls it before training, when the rows of a resumed run are not read yet.
        """
        if not self._unwritten:
            return
        columns = sorted({name for row in self._rows for name in row})
        rows = ([row.get(name, "") for name in columns] for row in self._rows)
        write_rows(self.file, [columns, *rows])
        self._unwritten = 0

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write the rows that are not written yet."""
        self.save()
