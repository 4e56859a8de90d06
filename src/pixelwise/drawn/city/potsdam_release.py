"""Write drawn tiles in the layout of the Potsdam release, whose licence does not allow redistribution."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import cv2
import numpy as np
import rasterio
from rasterio.transform import from_origin
from rich.progress import track

from pixelwise import checks
from pixelwise.data.io.rasters import check_complete
from pixelwise.data.sources.potsdam import Potsdam
from pixelwise.data.sources.potsdam_files import FOLDERS, tile_name
from pixelwise.data.tiles.erosion import eroded
from pixelwise.drawn.city.city import Scene, draw_city
from pixelwise.errors import UserError
from pixelwise.files import unwritable, whole_file, write_text
from pixelwise.kinds import FilePath, Range

PALETTE = np.array(
    [[255, 255, 255], [0, 0, 255], [0, 255, 255], [0, 255, 0], [255, 255, 0], [255, 0, 0]], np.uint8
)
PIXEL = 0.05
"""Side of a pixel in metres."""
ORIGIN = (366676.0, 5810618.0)
"""Easting and northing (EPSG:32633) of the upper left corner of the tile in row 0 and column 0."""
Part = Literal["RGB", "IRRG", "RGBIR", "DSM", "nDSM", "label", "noBoundary"]
PARTS: tuple[Part, ...] = get_args(Part)
SMALLEST = 64
"""Smallest height and width of a tile in pixels."""
Side = Annotated[int, Range(SMALLEST, 20000)]


def draw_release(
    root: Path,
    tiles: Iterable[str],
    size: int = 3000,
    seed: int = 0,
    parts: Sequence[Part] = PARTS,
    zips: bool = False,
) -> None:
    """Draw and write the missing files; each file is written completely or not at all.

    Args:
        root: folder of the data set; it is created if it is missing.
        tiles: tile ids such as "2_10".
        size: height and width of a tile in pixels; the release has 6000.
        seed: random seed of the drawing.
        parts: the parts to write, from `PARTS`.
        zips: write one zip file per folder, as in the release, instead of folders.

    Raises:
        UserError: an argument is out of range, or the folder cannot be written or holds tiles of another size
            or seed.
    """
    checks.check("data.source.size", size, Side)
    checks.check("data.source.parts", list(parts), Sequence[Part])
    tiles = [tile_name(tile) for tile in tiles]
    try:
        _claim(root, size, seed)
        todo = [t for t in tiles if any(not _place(root, part, t, zips).exists() for part in parts)]
        for tile in track(todo, f"drawing {size}×{size} tiles into {root}", disable=not todo):
            _write(root, tile, draw_city(seed, tile, size), parts)
        if zips and todo:
            _pack(root, parts)
    except OSError as error:
        raise unwritable(f"data.root={root}", error, root) from error


def _claim(root: Path, size: int, seed: int) -> None:
    """Mark the folder with size and seed, and raise an error if it holds other files."""
    note, text = root / "SYNTHETIC.txt", f"drawn by pixelwise: size {size}, seed {seed}\n"
    root.mkdir(parents=True, exist_ok=True)
    existing = note.read_text() if note.exists() else text
    if existing != text or (not note.exists() and any(root.iterdir())):
        raise UserError(
            f"data.root={root} holds files other than these drawn tiles",
            found=existing.strip() if note.exists() else "a folder with other files",
            expected=text.strip(),
            fix="choose another data.root=, or remove that folder",
        )
    write_text(note, text)


def _place(root: Path, part: str, tile: str, zips: bool = False) -> Path:
    """Return the path of a file in the release, with its nested folders and names."""
    row, column = (int(number) for number in tile.split("_"))
    names = {
        "DSM": f"dsm_potsdam_{row:02}_{column:02}.tif",
        "nDSM": f"dsm_potsdam_{row:02}_{column:02}_normalized_lastools.jpg",
        "label": f"top_potsdam_{tile}_label.tif",
        "noBoundary": f"top_potsdam_{tile}_label_noBoundary.tif",
    }
    folder = FOLDERS.get(part, "1_DSM")
    if zips:
        return root / f"{folder}.zip"
    nested = root / folder if folder.startswith("5") else root / folder / folder
    return nested / names.get(part, f"top_potsdam_{tile}_{part}.tif")


def _write(root: Path, tile: str, scene: Scene, parts: Sequence[str]) -> None:
    """Write the parts of one tile."""
    row, column = (int(number) for number in tile.split("_"))
    side = len(scene.label) * PIXEL
    transform = from_origin(ORIGIN[0] + column * side, ORIGIN[1] - row * side, PIXEL, PIXEL)
    bands: dict[str, Any] = {
        "RGB": lambda: scene.bands[..., :3],
        "IRRG": lambda: scene.bands[..., [3, 0, 1]],
        "RGBIR": lambda: scene.bands,
        "DSM": lambda: 35 + scene.height[..., None] / np.float32(10),
        "label": lambda: PALETTE[scene.label],
        "noBoundary": lambda: np.where(eroded(scene.label)[..., None], 0, PALETTE[scene.label]),
    }
    for part in parts:
        file = _place(root, part, tile)
        if file.exists():
            continue
        with whole_file(file) as temporary:
            if part == "nDSM":
                _, encoded = cv2.imencode(".jpg", scene.height, [cv2.IMWRITE_JPEG_QUALITY, 95])
                temporary.write_bytes(encoded.tobytes())  # `cv2.imwrite` raises no error on a full disk
            else:
                _write_tiff(temporary, bands[part](), transform, packed=file.parent.name.startswith("5"))
                world = (PIXEL, 0, 0, -PIXEL, transform.c + PIXEL / 2, transform.f - PIXEL / 2)
                write_text(file.with_suffix(".tfw"), "".join(f"{number:.12g}\n" for number in world))


def _write_tiff(file: Path, pixels: np.ndarray, transform: rasterio.Affine, packed: bool) -> None:
    """Write pixels (H, W, C) as a GeoTIFF."""
    height, width, count = pixels.shape
    options: Mapping[str, Any] = {"compress": "lzw"} if packed else {}
    with rasterio.open(
        file,
        "w",
        driver="GTiff",
        height=height,
        width=width,
        count=count,
        dtype=pixels.dtype,
        crs="EPSG:32633",
        transform=transform,
        interleave="pixel",
        **options,
    ) as dataset:
        dataset.write(np.moveaxis(pixels, -1, 0))
    check_complete(file)


def _pack(root: Path, parts: Sequence[str]) -> None:
    """Replace the folders of the parts by zip files of the same names."""
    for part in parts:
        archive = _place(root, part, "0_0", zips=True)
        folder = archive.with_suffix("")
        with (
            whole_file(archive) as temporary,
            zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed,
        ):
            for file in sorted(path for path in folder.rglob("*") if path.is_file()):
                packed.write(file, file.relative_to(folder))
        shutil.rmtree(folder)


class PotsdamSynthetic(Potsdam):
    """A `Potsdam` data set that draws its missing tiles.

    Args:
        root: folder of the tiles; it is created if it is missing.
        size: height and width of a tile in pixels.
        seed: random seed of the drawing.
        parts: the parts to draw, from `PARTS`; null draws those of `inputs` and the labels.
        zips: write zip files instead of folders.
        inputs: as in `Potsdam`.
        split: as in `Potsdam`; all tiles named here are drawn.
        **options: further arguments of `Potsdam`.
    """

    def __init__(
        self,
        root: FilePath,
        inputs: Sequence[Part],
        split: Mapping[str, Sequence[str | int]],
        size: Side = 3000,
        seed: int = 0,
        parts: Sequence[Part] | None = None,
        zips: bool = False,
        **options: Any,
    ) -> None:
        tiles = [tile_name(tile) for names in split.values() for tile in names]
        draw_release(Path(root).expanduser(), tiles, size, seed, parts or [*inputs, "label"], zips)
        super().__init__(root, inputs=inputs, split=split, **options)
