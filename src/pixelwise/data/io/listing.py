"""Find the image files in a folder and read their headers."""

from __future__ import annotations

import mimetypes
import os
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
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
    """Find every image below a folder, by key: its path relative to the folder, without suffix, see `key_of`.

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
        key = key_of(path.relative_to(folder).with_suffix("")).removesuffix(suffix)
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


def expand(folder: Path) -> dict[str, Path]:
    """Return the folders that a path with `*` means, by what stands in place of `*`.

    For "Train/*/images" they are {"rural": Train/rural/images, "urban": Train/urban/images}. An existing
    folder is returned as {"": folder}.
    """
    depth = next((depth for depth, part in enumerate(folder.parts) if "*" in part), None)
    if folder.is_dir() or depth is None:
        return {"": folder} if folder.is_dir() else {}
    pattern = folder.parts[depth:]
    found = sorted(path for path in Path(*folder.parts[:depth]).glob("/".join(pattern)) if path.is_dir())
    wild = [depth + place for place, part in enumerate(pattern) if "*" in part]
    return {"/".join(path.parts[place] for place in wild): path for path in found}


def key_of(path: Path) -> str:
    """Return a path as a key; "é" is one character in it, as macOS may store it as two (Unicode's NFC)."""
    return unicodedata.normalize("NFC", path.as_posix())


def image_files(folder: Path) -> list[Path]:
    """Return the sorted paths of the images in a folder and its subfolders; links to folders are followed."""
    return sorted(path for path in _files(folder) if is_image(path, folder))


def left_out(root: Path, folders: Collection[Path]) -> list[Path]:
    """Return the images below a root that are in none of the folders, or in a format that is not read."""
    used = {*folders}
    files = [path for path in _files(root) if not any(map(_is_hidden, path.relative_to(root).parents))]
    return sorted(
        path
        for path in files
        if (is_image(path, root) and not used.intersection(path.parents))
        or (path.suffix.lower() not in SUFFIXES and _is_other_image(path))
    )


def _files(folder: Path) -> Iterator[Path]:
    """Yield all files below a folder, each once; links to folders are followed."""
    seen: set[str] = set()
    for parent, inside, names in os.walk(folder, followlinks=True):
        if (place := os.path.realpath(parent)) in seen:
            inside.clear()  # a link to a folder that was searched already
            continue
        seen.add(place)
        yield from (Path(parent, name) for name in names)


def _is_other_image(path: Path) -> bool:
    kind, _ = mimetypes.guess_type(path.name, strict=False)
    return kind is not None and kind.startswith("image/") and not _is_hidden(path)


def is_image(path: Path, folder: Path) -> bool:
    """Whether a file below a folder has the suffix of an image and is not hidden.

    A file is hidden if its name begins with a dot, such as the `._photo.jpg` that macOS writes for
    `photo.jpg`, or if it is in a hidden folder or in `__MACOSX`. A link to a missing file is an image, which
    cannot be read.
    """
    is_hidden = any(map(_is_hidden, [path, *path.relative_to(folder).parents]))
    return path.suffix.lower() in SUFFIXES and not is_hidden and not path.is_dir()


def read_headers(paths: Sequence[Path]) -> list[Header]:
    """Read the headers of many files in threads, which hide the latency of a network disk.

    Raises:
        UserError: files are unreadable; the message names the first few.
    """

    def attempt(path: Path) -> Header | UnreadableImage:
        try:
            return read_header(path)
        except UnreadableImage as error:
            return error

    with ThreadPoolExecutor(8) as pool:
        headers = list(pool.map(attempt, paths))
    if damaged := {
        p: h.reason for p, h in zip(paths, headers, strict=True) if isinstance(h, UnreadableImage)
    }:
        what = f"{len(damaged):,} of {len(paths):,} files cannot be read as images"
        fix = "restore them from their origin, or move them (and their masks) out of the data set"
        every = [f"{path}: {reason}" for path, reason in damaged.items()]
        raise UserError(what, found=some(every, 3, "; "), fix=fix, every=every)
    return [header for header in headers if isinstance(header, Header)]


def _is_hidden(path: Path) -> bool:
    return path.name.startswith((".", "__MACOSX"))
