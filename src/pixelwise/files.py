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

RESTORE = "restore it from a copy; what is edited by hand must stay readable"


def read_json(file: Path) -> dict[str, Any]:
    """A JSON file's content; nothing where there is none."""
    try:
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except ValueError as error:
        raise UserError(f"{file} cannot be read", found=error, fix="remove it, or " + RESTORE) from error


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
    """Text in UTF-8."""
    with whole_file(file) as part:
        part.write_text(text, encoding="utf-8")


@contextmanager
def whole_file(file: Path) -> Iterator[Path]:
    """Where to write a file that appears when the block ends well; else the one before stays.

    Several processes may write it at once. The path has the file's ending, which tells many libraries what to
    write.
    """
    with _appearing({file.with_name(f".{os.getpid()}_{file.name}"): file}) as (part,):
        yield part


@contextmanager
def whole_files(stem: Path, suffixes: Sequence[str]) -> Iterator[dict[str, Path]]:
    """Where to write files that appear, in this order, when the block ends well; else nothing is left.

    For large files of one process: what it leaves when it is killed is overwritten the next time.
    """
    files = {suffix: stem.with_name(stem.name + suffix) for suffix in suffixes}
    parts = {suffix: file.with_name(f"{file.name}.part") for suffix, file in files.items()}
    with _appearing({parts[suffix]: file for suffix, file in files.items()}):
        yield parts


@contextmanager
def _appearing(files: dict[Path, Path]) -> Iterator[Iterable[Path]]:
    """Rename each part to its file when the block ends well."""
    for file in files.values():
        file.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield files
        for part, file in files.items():
            part.replace(file)
    finally:
        for part in files:
            part.unlink(missing_ok=True)  # half of it would only take the room that is missing
