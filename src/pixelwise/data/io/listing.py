"""Which files a folder of images holds, and how they are dealt into train, val and test."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from pixelwise.data.io.images import SUFFIXES, Header, UnreadableImage, read_header
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
    for path in image_files(folder):
        if not path.stem.endswith(suffix):
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
    """Sorted paths of the images in a folder and in those below it."""
    return sorted(path for path in folder.rglob("*") if is_image(path, folder))


def is_image(path: Path, folder: Path) -> bool:
    """Whether a file below a folder is taken for an image: by its ending, and as nothing hides it.

    Hidden are names that begin with a dot, such as the `._photo.jpg` that macOS puts beside `photo.jpg`, and
    whatever is in a hidden folder or in `__MACOSX`.
    """
    is_hidden = any(map(_is_hidden, [path, *path.relative_to(folder).parents]))
    return path.suffix.lower() in SUFFIXES and not is_hidden and path.is_file()


def read_headers(paths: Sequence[Path]) -> list[Header]:
    """Size and orientation of many files at once; threads hide the latency of a network disk.

    Raises:
        UserError: files are unreadable; the first few are named.
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
