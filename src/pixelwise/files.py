"""Files that are written whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pixelwise.errors import UserError

_RESTORE = "restore it from a copy; what is edited by hand must stay readable"


def read_json(file: Path) -> dict[str, Any]:
    """A JSON file's content; nothing where there is none."""
    try:
        return json.loads(file.read_text()) if file.is_file() else {}
    except ValueError as error:
        raise UserError(f"{file} cannot be read", found=error, fix="remove it, or " + _RESTORE) from error


def read_rows(file: Path) -> list[dict[str, float]]:
    """The rows of a CSV file of numbers, each without its empty cells; none where there is no file."""
    if not file.is_file():
        return []
    with file.open(newline="") as stream:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(stream)]


def write_json(file: Path, content: Any) -> None:
    """Plain content as readable JSON."""
    write_text(file, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_rows(file: Path, rows: Iterable[Iterable[Any]]) -> None:
    """Rows of cells as CSV, the header first."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_text(file, text.getvalue())


def write_text(file: Path, text: str) -> None:
    """Write all of it or nothing."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(file)


@contextmanager
def whole_files(stem: Path, suffixes: Sequence[str]) -> Iterator[dict[str, Path]]:
    """Where to write files that appear, in this order, when the block ends well; else nothing is left."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    parts = {suffix: stem.with_name(f"{stem.name}{suffix}.part") for suffix in suffixes}
    try:
        yield parts
        for suffix, part in parts.items():
            part.replace(stem.with_name(f"{stem.name}{suffix}"))
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
