"""Splits given by lists of names in text files, such as `ImageSets/Segmentation/train.txt` of Pascal VOC."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pixelwise.data.io.images import SUFFIXES
from pixelwise.data.io.listing import key_of
from pixelwise.data.splits import NAMES, SPLITS
from pixelwise.errors import UserError, some


def read_split_files(root: Path, files: Mapping[str, str], folder: str, suffix: str) -> dict[str, list[str]]:
    """Read the keys of the images of each split.

    A file holds one name a line: the path of an image relative to the folder of images, or to the root, with
    or without its extension.

    Args:
        root: the data set's folder.
        files: path of the list by split, absolute or relative to `root`.
        folder: name of the folder of images.
        suffix: end of the image names that is not part of a key.

    Raises:
        UserError: a file is missing, empty or no text, is not of a split, or shares names with another.
    """
    lists: dict[str, list[str]] = {}
    for name, file in files.items():
        if NAMES.get(str(name)) is None or NAMES[name] in lists:
            found = some(files)
            raise UserError(
                "data.source.split_files needs one list a split", found=found, expected=", ".join(SPLITS)
            )
        lists[NAMES[name]] = _read_keys(root / file, folder, suffix)
    owner: dict[str, str] = {}
    shared = [key for split, keys in lists.items() for key in keys if owner.setdefault(key, split) != split]
    if shared:
        raise UserError(
            "data.source.split_files: images are in several splits",
            found=f"{len(shared):,}: {some(shared)}",
            expected="each name in one list",
            every=shared,
        )
    return lists


def _read_keys(file: Path, folder: str, suffix: str) -> list[str]:
    if not file.is_file():
        near = some(sorted(path.name for path in file.parent.glob("*"))) or "nothing"
        what = f"{file} does not exist"
        raise UserError(
            what, found=f"in {file.parent.name}: {near}", expected="a list of data.source.split_files"
        )
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not text in UTF-8", found=error, fix="save the list as UTF-8") from error
    keys: dict[str, None] = {}
    for line in filter(None, lines):
        path = Path(line.replace("\\", "/"))
        path = path.with_suffix("") if path.suffix.lower() in SUFFIXES else path
        keys[key_of(path).removeprefix("./").removeprefix(f"{folder}/").removesuffix(suffix)] = None
    if not keys:
        raise UserError(f"{file} is empty", expected="one name a line, such as the name of an image")
    return list(keys)
