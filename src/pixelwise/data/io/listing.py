"""Find the image files in a folder and read their headers."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from pixelwise.data.io.images import SUFFIXES, Header, UnreadableImage, read_header
from pixelwise.errors import UserError, nearest, some


def existing_root(root: str | Path) -> Path:
    """Return the data set's folder as a path; raise a `UserError` if it is missing or empty."""
    path = Path(root).expanduser()
    if path.is_dir() and any(path.iterdir()):
        return path
    near = [] if path.is_dir() else nearest(path.name, subfolders(path.parent), 1)
    what = f"data.root={root} is {'empty' if path.is_dir() else 'missing'}"
    fix = f"perhaps data.root={path.parent / near[0]}" if near else None
    raise UserError(what, expected="the folder that holds your images", fix=fix)


def subfolders(folder: Path) -> list[str]:
    """Return the sorted names of the folders in a folder, without hidden ones; empty if it is missing."""
    inside = folder.iterdir() if folder.is_dir() else ()
    return sorted(path.name for path in inside if path.is_dir() and not _is_hidden(path))


def find_images(folder: Path, suffix: str = "", without: str | None = None) -> dict[str, Path]:
    """Find every image below a folder, by key: its path relative to the folder, without suffix.

    Args:
        folder: folder to search, with its subfolders; hidden files and files that are not images are skipped.
        suffix: end of the name before the dot, such as "_mask", that is not part of the key; files without it
            are skipped.
        without: end of the names, before the dot, of other files in the same folder, which are skipped.

    Raises:
        UserError: the folder is missing or holds no image, or two files have the same key.
    """
    images: dict[str, Path] = {}
    for path in image_files(folder):
        if not path.stem.endswith(suffix) or (without and path.stem.endswith(without)):
            continue
        key = path.relative_to(folder).with_suffix("").as_posix().removesuffix(suffix)
        if key in images:
            what = f"{images[key]} and {path.name} share the key {key!r}"
            raise UserError(what, expected="one image per name", fix="rename or remove one of them")
        images[key] = path
    if not images:
        seen = folder if folder.is_dir() else folder.parent
        raise UserError(
            f"{folder} {'holds no image' if seen == folder else 'is missing'}",
            found=f"in {seen.name}: {some(sorted(path.name for path in seen.glob('*'))) or 'nothing'}",
            expected=f"images (…{suffix}{'|'.join(sorted(SUFFIXES))})",
        )
    return images


def image_files(folder: Path) -> list[Path]:
    """Return the sorted paths of the images in a folder and its subfolders."""
    return sorted(path for path in folder.rglob("*") if is_image(path, folder))


def is_image(path: Path, folder: Path) -> bool:
    """Whether a file below a folder has the suffix of an image and is not hidden.

    A file is hidden if its name begins with a dot, such as the `._photo.jpg` that macOS writes for
    `photo.jpg`, or if it is in a hidden folder or in `__MACOSX`.
    """
    is_hidden = any(map(_is_hidden, [path, *path.relative_to(folder).parents]))
    return path.suffix.lower() in SUFFIXES and not is_hidden and path.is_file()


def read_headers(paths: Sequence[Path]) -> list[Header]:
    """Read the headers of many files in threads, which hide the latency of a network disk.

    Raises:
        UserError: files are unreadable; the message names the first few.
    """

    def attempt(path: Path) -> Header | None:
        with suppress(UnreadableImage):
            return read_header(path)
        return None

    with ThreadPoolExecutor(8) as pool:
        headers = dict(zip(paths, pool.map(attempt, paths), strict=True))
    if damaged := [path for path, header in headers.items() if header is None]:
        what = f"{len(damaged):,} of {len(paths):,} files cannot be read as images"
        fix = "restore them from their origin, or move them (and their masks) out of the data set"
        raise UserError(what, found=some(damaged), fix=fix, every=[str(path) for path in damaged])
    return [header for header in headers.values() if header]


def _is_hidden(path: Path) -> bool:
    return path.name.startswith((".", "__MACOSX"))
