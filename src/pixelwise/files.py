"""Read small files, and write files atomically: completely or not at all."""

from __future__ import annotations

import csv
import errno
import glob
import io
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pixelwise.errors import UserError, printable

RESTORE = "restore it from a copy, or correct the last edit"

DISK_FULL = {
    errno.ENOSPC: ("the disk is full", "free some space"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or ask for a larger quota"),
    errno.EFBIG: ("a file would exceed the limit of the file system or of `ulimit -f`", "raise that limit"),
}
"""What is wrong and what to do, by the number of the error."""


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
    header, *rows = read_cells(file)
    try:
        cells = [[(name, cell) for name, cell in zip(header, row, strict=True) if cell] for row in rows]
        numbers = [{name: float(cell) for name, cell in row} for row in cells]
        missing = [name for name in columns if name not in header or any(name not in row for row in numbers)]
    except ValueError as error:
        raise UserError(f"{file} cannot be read", found=error, fix=f"remove it, {RESTORE}") from error
    if missing:
        found = f"no column {missing[0]}, or a row without a value in it"
        raise UserError(f"{file} is damaged", found=found, fix=f"remove it, {RESTORE}")
    return numbers


def read_cells(file: Path) -> list[list[str]]:
    """The cells of a CSV file that `write_rows` wrote, with the header.

    Raises:
        UserError: the file is damaged.
    """
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            rows = [[re.sub(r"^'(?=[=+\-@\t])", "", cell) for cell in row] for row in csv.reader(stream)]
        if not rows:
            raise ValueError("an empty file")
        return rows
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
    for part, file in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)  # left by a killed process: GDAL would try to read it
    try:
        yield files
        for part, file in files.items():
            part.replace(file)
    except Exception as error:
        if (full := disk_error(error)) is not None and full.filename in (None, *map(str, files)):
            full.filename = str(next(iter(files.values())))  # a failed write names no file
        raise
    finally:
        for part in files:
            part.unlink(missing_ok=True)  # the disk may be full


@contextmanager
def whole_folder(folder: Path, alone: bool = False) -> Iterator[Path]:
    """A temporary folder beside `folder`, renamed to it if the block succeeds and removed otherwise.

    Args:
        folder: a folder that does not exist, or is empty.
        alone: whether a lock keeps other processes from writing this folder: then parts that are found were
            left by a process that was killed, and are removed.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    for part in folder.parent.glob(f".{glob.escape(folder.name)}.*") if alone else ():
        shutil.rmtree(part, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as hidden:
        part = Path(hidden) / folder.name  # a new folder gets the usual permissions, unlike `hidden`
        part.mkdir()
        yield part
        part.replace(folder)


def check_writable(key: str, place: Path, folder: bool, fix: str | None = None) -> None:
    """Refuse a place that cannot be written, before a long job that ends with writing it.

    Args:
        key: the config key that names the place, for the message.
        place: a file or folder; neither it nor the folders above it need to exist.
        folder: whether it is a folder.
        fix: what the user can do, for the message.

    Raises:
        UserError: it is a file instead of a folder or the reverse, or the nearest folder takes no new file.
    """
    kinds = {True: "a folder", False: "a file"}
    if place.exists() and place.is_dir() != folder:
        raise UserError(f"{key}={place}", found=kinds[not folder], expected=f"{kinds[folder]}, or a new path")
    above = (place if folder else place.parent).absolute()
    try:
        while not above.exists():
            above = above.parent
        with tempfile.TemporaryFile(dir=above):
            pass
    except OSError as error:
        raise unwritable(f"{key}={place}", error, place, fix) from error


def disk_error(error: BaseException) -> OSError | None:
    """The error of a full disk among an error and those that led to it; None if there is none.

    While PyTorch handles the error of a full disk, it raises a RuntimeError of its own.
    """
    waiting: list[BaseException | None] = [error]
    for each in waiting:  # grows
        if isinstance(each, OSError) and each.errno in DISK_FULL:
            return each
        if each is not None:
            waiting += [e for e in (each.__cause__, each.__context__) if e not in waiting]
    return None


def unwritable(what: str, error: BaseException, place: Path, fix: str | None = None) -> UserError:
    """The error for a file or folder that cannot be written, with the free bytes of its disk.

    Args:
        what: the config key and the file or folder.
        error: why it cannot be written.
        place: the file or folder; it need not exist.
        fix: what the user can do, after freeing space if the disk is full.
    """
    full = disk_error(error)
    what = f"{what} cannot be written"
    if full is not None:
        wrong, remedy = DISK_FULL[full.errno or 0]
        what, fix = f"{what}: {wrong}", f"{remedy}; {fix}" if fix else remedy
    cause = full or error
    reason = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    if full or not isinstance(error, OSError) or error.errno is None:  # GDAL gives no number
        reason += f"; {free_space(place)}, without the incomplete file"
    return UserError(what, found=reason, fix=fix)


def free_space(place: Path) -> str:
    """The free bytes of the disk of a file or folder, and where the disk is mounted."""
    try:
        disk = next(folder for folder in (place.absolute(), *place.absolute().parents) if folder.exists())
        while not disk.is_mount():
            disk = disk.parent
        return f"{shutil.disk_usage(disk).free:,} bytes free on {disk}"
    except OSError as error:
        return f"free space unknown: {error}"


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
