"""Tables and log records on the terminal."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import sys
from collections.abc import Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table

from pixelwise.errors import printable
from pixelwise.protocols import ERODED, ScoreName

log = logging.getLogger(__name__)

NAN_WITHOUT_LABELS = ("recall", "average_precision")
"""Scores of a class that are NaN if, and only if, the split has no labels of the class."""


class Print(logging.Handler):
    """A handler that prints records to the current `sys.stdout`, so that progress bars stay below them."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        print(self.format(record), flush=True)


class Plain(logging.Formatter):
    """A formatter that writes control characters, which a name may contain, as escapes."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record."""
        return printable(super().format(record))


class LogFile(logging.FileHandler):
    """A handler that writes to a file, never through a symbolic link, which could lead to any other file."""

    _is_told = False

    def _open(self) -> TextIOWrapper:
        file = Path(self.baseFilename)
        if file.is_symlink():
            file.unlink()
        return super()._open()

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; on a full disk it is left out, which is said once."""
        try:
            super().emit(record)
        except OSError:  # the file cannot be opened
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Called for an error while writing; the next record opens the file again."""
        error = sys.exception()
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        stream, self.stream = self.stream, None
        with contextlib.suppress(OSError):
            if stream is not None:
                stream.close()
        if not self._is_told:
            print(f"lines are missing in {self.baseFilename}: {error}", file=sys.stderr)
            self._is_told = True


def show(content: RenderableType) -> None:
    """Log a table or other rich object as plain text, so that the terminal and train.log are equal."""
    buffer = io.StringIO()
    # without force_jupyter=False, a notebook would capture the output
    Console(file=buffer, width=100, force_jupyter=False, markup=False, emoji=False).print(content)
    log.info("%s", "\n" + buffer.getvalue().rstrip())


MOST_CLASSES = 200
"""Largest number of classes whose scores a table shows one by one."""


def score_table(scores: Mapping[str, float], title: str, classes: Sequence[str]) -> Table:
    """Return one table of scores by flat name (`ScoreName`): means first, then a row for each class.

    The title names the evaluation protocol. Scores with eroded labels get their own columns. A score of a
    class without labels that is not NaN has a mark: it is 0 because the class was predicted, and it counts in
    the mean. More than `MOST_CLASSES` classes are left out.
    """
    rows: dict[str, dict[str, float]] = {}
    marked: set[tuple[str, str]] = set()
    parsed = {name: ScoreName.parse(name, classes) for name in scores}
    absent = {
        (protocol.startswith(ERODED), label)
        for name, (_, protocol, score, label, _) in parsed.items()
        if label is not None and score in NAN_WITHOUT_LABELS and math.isnan(scores[name])
    }
    has_many = len(classes) > MOST_CLASSES
    for name, value in scores.items():
        _, protocol, score, label, _ = parsed[name]
        if has_many and label is not None:
            continue
        eroded, convention = protocol.startswith(ERODED), protocol.removeprefix(ERODED).strip("/")
        mean = f"{convention}: {score}" if convention else score
        row, column = (mean.replace("_", " "), "score") if label is None else (f"  {label}", mean)
        column = f"{ERODED}\n{column}" if eroded else column
        rows.setdefault(row, {})[column] = value
        if (eroded, label) in absent and not math.isnan(value):
            marked.add((row, column))
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    columns.sort(key=lambda column: ("score" not in column, column.startswith(ERODED)))
    evaluations = dict.fromkeys(name.evaluation for name in parsed.values() if name.evaluation)
    title = "; ".join([title, *(f"evaluated by {name}" for name in evaluations)])
    caption = "* no labels of this class: the score is 0 and lowers the mean" if marked else None
    if has_many:
        caption = f"without a row for each of the {len(classes):,} classes"
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", caption=caption)
    table.caption_justify = "left"
    for column in ("", *columns):
        table.add_column(column, justify="right" if column else "left", no_wrap=not column)
    for row in sorted(rows, key=lambda row: row.startswith(" ")):
        cells = (
            "*" * ((row, column) in marked) + _number(rows[row][column]) if column in rows[row] else ""
            for column in columns
        )
        table.add_row(row, *cells)
    return table


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4f}"
