"""Tables for people, printed and logged alike."""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table

log = logging.getLogger(__name__)


class Print(logging.Handler):
    """Print records to whatever standard output is at the moment, so that a progress bar stays below."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        print(self.format(record), flush=True)


def show(content: RenderableType, width: int = 100) -> None:
    """Log something that rich can draw, as plain text, so that terminal and train.log agree."""
    buffer = io.StringIO()
    Console(file=buffer, width=width).print(content)
    log.info("%s", "\n" + buffer.getvalue().rstrip())


def score_table(scores: Mapping[str, float], title: str, classes: Sequence[str]) -> Table:
    """Means first, then a row for each class: `stage/mean` and `stage/score/class` in one table."""
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    means: dict[str, float] = {}
    by_class: dict[str, dict[str, float]] = {}
    for name, value in scores.items():
        kind, _, label = name.partition("/")[2].rpartition("/")
        if label in classes and kind:
            by_class.setdefault(label, {})[kind] = value
        else:
            means[name.partition("/")[2]] = value
    kinds = list(dict.fromkeys(kind for row in by_class.values() for kind in row))
    table.add_column("")
    table.add_column("score", justify="right")
    for kind in kinds:
        table.add_column(kind, justify="right")
    for name, value in means.items():
        table.add_row(name.replace("_", " ").replace("/", ": "), _number(value), *[""] * len(kinds))
    table.add_section()
    for label, row in by_class.items():
        table.add_row(f"  {label}", "", *[_number(row.get(kind, math.nan)) for kind in kinds])
    return table


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4f}"
