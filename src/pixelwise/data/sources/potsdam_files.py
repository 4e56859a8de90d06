"""File names of the ISPRS Potsdam release, and the search for these files.

Orthophotos and surface models unzip into doubly nested folders, labels do not, and some users keep the zips.
So all files below the root are searched, in folders and in zips.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from pixelwise.errors import UserError, counted, nearest, some

KINDS = {
    "RGB": r"top_potsdam_(\d+)_(\d+)_RGB\.tif",
    "IRRG": r"top_potsdam_(\d+)_(\d+)_IRRG\.tif",
    "RGBIR": r"top_potsdam_(\d+)_(\d+)_RGBIR\.tif",
    "nDSM": r"dsm_potsdam_(\d+)_(\d+)_normalized_(?:lastools|ownapproach)\.jpg",
    "label": r"top_potsdam_(\d+)_(\d+)_label\.tif",
    "noBoundary": r"top_potsdam_(\d+)_(\d+)_label_noBoundary\.tif",
}
"""Pattern of the file names, by kind of content."""

FOLDERS = {
    "RGB": "2_Ortho_RGB",
    "IRRG": "3_Ortho_IRRG",
    "RGBIR": "4_Ortho_RGBIR",
    "nDSM": "1_DSM_normalisation",
    "label": "5_Labels_all",
    "noBoundary": "5_Labels_all_noBoundary",
}
"""Name of the folder of each kind, and of its zip."""

BANDS = {"RGB": 3, "IRRG": 3, "RGBIR": 4, "nDSM": 1}


class Stored(NamedTuple):
    """A file on disk, or a member of a zip."""

    file: Path
    member: str = ""

    @property
    def address(self) -> str:
        """The path that GDAL opens."""
        return f"/vsizip/{{{self.file}}}/{self.member}" if self.member else str(self.file)

    def check(self) -> None:
        """Compare a member of a zip with its CRC-32, which GDAL does not do.

        Raises:
            UserError: the member is damaged.
        """
        if not self.member:
            return
        try:
            with zipfile.ZipFile(self.file) as archive, archive.open(self.member) as stream:
                while stream.read(1 << 24):
                    pass
        except (OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise UserError(f"{self} is damaged", found=error, fix="download the zip again") from error

    def __str__(self) -> str:
        return f"{self.file}, member {self.member}" if self.member else str(self.file)


FilesByKind = dict[str, dict[str, Stored]]
"""Files by kind, then by tile."""


def tile_name(name: str | int) -> str:
    """Return the id of a tile in the spelling of the orthophotos: "2_10", also for "02_10" and for 210.

    YAML and Hydra read an underscore between digits as a thousands separator: 2_10 arrives as 210.
    """
    digits = str(name).split("_")
    if len(digits) == 1 and digits[0].isdigit() and len(digits[0]) > 1:
        digits = [digits[0][0], digits[0][1:]]
    if len(digits) != 2 or not all(part.isdigit() for part in digits):
        raise UserError(f"data: {name!r} is not a tile", expected="row and column, such as 2_10")
    return "_".join(str(int(part)) for part in digits)


def find(root: Path, kinds: Iterable[str] = KINDS) -> FilesByKind:
    """Find the files of some kinds below a folder; unpacked files come before zipped ones, then by path.

    Raises:
        UserError: a zip is damaged.
    """
    files: FilesByKind = {kind: {} for kind in kinds}
    for stored in _below(root):
        name = (stored.member or stored.file.name).rsplit("/", 1)[-1]
        for kind, tiles in files.items():
            if match := re.fullmatch(KINDS[kind], name, re.IGNORECASE):
                tiles.setdefault(f"{int(match[1])}_{int(match[2])}", stored)
    return files


def _below(root: Path) -> list[Stored]:
    """List every file below a folder, then every member of its zips, without hidden ones."""
    paths = [path for path in sorted(root.rglob("*")) if not path.name.startswith(("._", "__MACOSX"))]
    files = [Stored(path) for path in paths if path.suffix.lower() != ".zip" and path.is_file()]
    for path in paths:
        if path.suffix.lower() != ".zip":
            continue
        try:
            with zipfile.ZipFile(path) as archive:
                files += [Stored(path, member) for member in sorted(archive.namelist())]
        except (OSError, zipfile.BadZipFile) as error:
            raise UserError(
                f"{path} cannot be read as a zip", found=error, fix="download it again"
            ) from error
    return files


def require(files: Mapping[str, Stored], kind: str, tiles: Iterable[str], split: str) -> None:
    """Check that every tile of a split has a file of a kind.

    Raises:
        UserError: files are missing; the message names the first few tiles.
    """
    if missing := [tile for tile in tiles if tile not in files]:
        row, column = missing[0].split("_")
        pattern = KINDS[kind].replace("(?:lastools|ownapproach)", "lastools").replace("\\", "")
        example = pattern.replace("(d+)", row, 1).replace("(d+)", column, 1)
        raise UserError(
            f"data: the {split} split has tiles without {kind}: {some(missing)}",
            found=f"{kind} below data.root for {some(sorted(files), 8) or 'no tile'}",
            expected=f"{example}, as in {FOLDERS[kind]}, unpacked anywhere below data.root or in its zip",
        )


def check_known(tiles: Iterable[str], known: Iterable[str], where: str) -> None:
    """Check that the tile ids of a split exist.

    Raises:
        UserError: some do not; the message names similar ids.
    """
    known = list(known)
    if missing := [tile for tile in tiles if tile not in known]:
        near = nearest(missing[0], known)
        raise UserError(
            f"{where} lists {counted(len(missing), 'tile')} not below data.root: {some(missing)}",
            found=some(known, 12) or "no tile at all",
            fix=(f"for {missing[0]} perhaps {' or '.join(near)}; " if near and len(missing) == 1 else "")
            + "data.source.partial=true leaves out missing tiles",
        )
