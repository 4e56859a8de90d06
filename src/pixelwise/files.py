"""Read small files, and write files atomically: completely or not at all."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pixelwise.errors import UserError, printable

RESTORE = "restore it from a copy, or correct the last edit"


def read_json(file: Path) -> dict[str, Any]:
    """The content of a JSON file; {} if the file does not exist."""
    try:
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except (ValueError, RecursionError, OSError) as error:
        raise UserError(f"{file} cannot be read", found=error, fix=f"remove it, {RESTORE}") from error


def read_rows(file: Path, columns: Iterable[str] = ()) -> list[dict[str, float]]:
    """The rows of a CSV file of numbers, without empty cells; [] if the file does not exist.

    Args:
        file: the file.
        columns: the columns without which a row means nothing.

    Raises:
        UserError: the file is damaged.
    """
    if not file.is_file():
        return []
    header, *rows = read_cells(file) or [[]]
    try:
        cells = [[(name, cell) for name, cell in zip(header, row, strict=True) if cell] for row in rows]
        numbers = [{name: float(cell) for name, cell in row} for row in cells]
        missing = [column for column in columns if any(column not in row for row in numbers)]
    except ValueError as error:
        raise UserError(f"{file} cannot be read", found=error, fix=f"remove it, {RESTORE}") from error
    if missing:
        found = f"a row without a value of {missing[0]}"
        raise UserError(f"{file} is damaged", found=found, fix=f"remove it, {RESTORE}")
    return numbers


def read_cells(file: Path) -> list[list[str]]:
    """The cells of a CSV file that `write_rows` wrote.

    Raises:
        UserError: the file is damaged.
    """
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            return [[re.sub(r"^'(?=[=+\-@\t])", "", cell) for cell in row] for row in csv.reader(stream)]
    except (ValueError, OSError, csv.Error) as error:
        raise UserError(f"{file} cannot be read", found=error, fix=f"remove it, {RESTORE}") from error


def inside(folder: Path, name: str) -> Path:
    """The path of a file in a folder, by a name that was read from another file.

    Raises:
        UserError: the name leads out of the folder.
    """
    file = folder / name
    if not file.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"{folder} names a file outside of it", found=name, fix=RESTORE)
    return file


def write_json(file: Path, content: Any) -> None:
    """Write plain containers as indented JSON."""
    write_text(file, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_rows(file: Path, rows: Iterable[Iterable[Any]]) -> None:
    """Write rows of cells as CSV, the header first.

    A text that a spreadsheet would take for a formula gets an apostrophe in front (OWASP, CSV injection), and
    control characters become escapes.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_no_formula(cell) for cell in row] for row in rows)
    write_text(file, text.getvalue())


def _no_formula(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    try:
        float(cell)
    except ValueError:
        return "'" * cell.startswith(("=", "+", "-", "@", "\t")) + printable(cell)
    return cell


def write_text(file: Path, text: str) -> None:
    """Write text in UTF-8."""
    with whole_file(file) as part:
        part.write_text(text, encoding="utf-8")


@contextmanager
def whole_file(file: Path) -> Iterator[Path]:
    """A temporary path, renamed to `file` if the block succeeds; otherwise an existing file stays.

    Several processes may write the same file at once. The temporary path has the suffix of the file, from
    which many libraries derive the format.
    """
    with _appearing({file.with_name(f".{os.getpid()}_{file.name}"): file}) as (part,):
        yield part


@contextmanager
def whole_files(stem: Path, suffixes: Sequence[str]) -> Iterator[dict[str, Path]]:
    """Temporary paths by suffix, renamed to the files in this order if the block succeeds, removed otherwise.

    For large files of one process: parts that a killed process leaves are overwritten the next time.
    """
    files = {suffix: stem.with_name(stem.name + suffix) for suffix in suffixes}
    parts = {suffix: file.with_name(f"{file.name}.part") for suffix, file in files.items()}
    with _appearing({parts[suffix]: file for suffix, file in files.items()}):
        yield parts


@contextmanager
def _appearing(files: dict[Path, Path]) -> Iterator[Iterable[Path]]:
    """Rename each part to its file if the block succeeds; remove all parts otherwise."""
    for file in files.values():
        file.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield files
        for part, file in files.items():
            part.replace(file)
    finally:
        for part in files:
            part.unlink(missing_ok=True)  # the disk may be full


def not_the_file(path: Path) -> str | None:
    """Say what a file holds that never was downloaded completely; None if it may be what its name says."""
    try:
        with path.open("rb") as stream:
            start = stream.read(64).lstrip().lower()
    except OSError:
        return None
    if not start:
        return "an empty file"
    if start.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS instead of the file, which `git lfs pull` fetches"
    if start.startswith((b"<!doctype html", b"<html")):
        return "a web page instead of the file, such as a login or an error page"
    return None
