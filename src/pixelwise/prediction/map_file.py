"""GeoTIFF maps, written row by row, so that the whole map is never in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.windows import Window

from pixelwise.data.io.raster_reader import GeoReference
from pixelwise.data.io.rasters import check_complete

TILE = 256
"""Side of the written tiles in pixels."""


class MapFile:
    """Writes a tiled, compressed uint8 GeoTIFF from top to bottom; to be used in a `with` block.

    Rows are buffered until they fill tiles, because GDAL rewrites a tile each time it gets a part of it.

    Args:
        file: path of the new file.
        place: size and georeference of the map.
        names: names of the bands.
        nodata: the value of pixels without data.
        table: colour table of a single band, (256, 3) uint8.
        tags: further entries for the file's metadata.
    """

    def __init__(
        self,
        file: Path,
        place: GeoReference,
        names: Sequence[str],
        nodata: int | None = None,
        table: np.ndarray | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        settings: dict[str, Any] = {
            "driver": "GTiff",
            "dtype": "uint8",
            "count": len(names),
            "nodata": nodata,
            **place._asdict(),
            "tiled": True,
            "blockxsize": TILE,
            "blockysize": TILE,
            "compress": "deflate",
            "interleave": "band",
            "bigtiff": "if_safer",
        }
        if table is None:
            settings["photometric"] = "minisblack"  # else GDAL takes three or four bands for colours
        self._file = file
        self._dataset = rasterio.open(file, "w", **settings)
        if table is not None:
            self._dataset.write_colormap(1, {i: tuple(map(int, rgb)) for i, rgb in enumerate(table)})
        else:
            self._dataset.scales = [1 / 255] * len(names)
        for band, name in enumerate(names, 1):
            self._dataset.set_band_description(band, name)
        self._dataset.update_tags(**(tags or {}))
        self._buffer = np.empty((len(names), 0, place.width), np.uint8)
        self._written = 0

    def __enter__(self) -> MapFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is None:
            self._flush(self._buffer.shape[1])
        self._dataset.close()
        if kind is None:
            check_complete(self._file)

    def write(self, rows: np.ndarray) -> None:
        """Append rows (N, rows, W)."""
        self._buffer = np.concatenate([self._buffer, rows], axis=1)
        self._flush(self._buffer.shape[1] // TILE * TILE)

    def _flush(self, count: int) -> None:
        if count:
            window = Window(0, self._written, self._buffer.shape[2], count)
            self._dataset.write(self._buffer[:, :count], window=window)
            self._buffer = self._buffer[:, count:].copy()
            self._written += count
