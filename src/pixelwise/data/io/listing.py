"""Which files a folder of images holds, and how they are dealt into train, val and test."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from pixelwise.data.io.images import SUFFIXES, UnreadableImage, read_size
from pixelwise.errors import UserError, nearest, some


def existing_root(root: str | Path) -> Path:
    """The data set's folder as a path, or a `UserError` where it is missing or empty."""
    path = Path(root).expanduser()
    if path.is_dir() and any(path.iterdir()):
        return path
    near = [] if path.is_dir() else nearest(path.name, subfolders(path.parent), 1)
    what = f"data.root={root} is {'empty' if path.is_dir() else 'not there'}"
    fix = f"perhaps data.root={path.parent / near[0]}" if near else None
    raise UserError(what, expected="the folder that holds your images", fix=fix)


def subfolders(folder: Path) -> list[str]:
    """Sorted names of the folders directly inside, hidden ones left out; none of a missing folder."""
    inside = folder.iterdir() if folder.is_dir() else ()
    return sorted(path.name for path in inside if path.is_dir() and not _is_hidden(path))


def find_images(folder: Path, suffix: str = "") -> dict[str, Path]:
    """Every image below a folder by its key: the path below the folder without its ending.

    Args:
        folder: searched with its subfolders; hidden files and files that are no images are passed over.
        suffix: end of the name before the dot, such as "_mask", that is no part of the key; files without it
            are passed over.

    Raises:
        UserError: the folder is missing or holds no image, or two files have one key.
    """
    images: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if _is_hidden(path) or path.suffix.lower() not in SUFFIXES or not path.stem.endswith(suffix):
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


def read_sizes(paths: Sequence[Path]) -> list[tuple[int, int]]:
    """(H, W) of many files at once; threads hide the latency of a network disk.

    Raises:
        UserError: files are unreadable; the first few are named.
    """

    def attempt(path: Path) -> tuple[int, int] | None:
        with suppress(UnreadableImage):
            return read_size(path)
        return None

    with ThreadPoolExecutor(8) as pool:
        sizes = dict(zip(paths, pool.map(attempt, paths), strict=True))
    if damaged := [path for path, size in sizes.items() if size is None]:
        what = f"{len(damaged):,} of {len(paths):,} files cannot be read as images"
        fix = "restore them from their origin, or move them (and their masks) out of the data set"
        raise UserError(what, found=some(damaged), fix=fix, every=[str(path) for path in damaged])
    return [size for size in sizes.values() if size]


def _is_hidden(path: Path) -> bool:
    return path.name.startswith((".", "__MACOSX"))
