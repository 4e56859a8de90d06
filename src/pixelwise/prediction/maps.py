"""Segmentation maps of images of any size, as PNG or GeoTIFF."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pixelwise.augmentation import CenterCrop
from pixelwise.data.io.nodata import filled
from pixelwise.data.io.raster_reader import GeoReference, RasterReader, read_small
from pixelwise.data.io.tiff import is_tiff
from pixelwise.errors import UserError
from pixelwise.files import whole_files
from pixelwise.inference import (
    Block,
    Forward,
    Pixels,
    Reader,
    bands,
    blend,
    labels,
    labels_and_probabilities,
    resized_blocks,
)
from pixelwise.inference.sliding import ROWS
from pixelwise.prediction.areas import Areas
from pixelwise.prediction.map_file import MapFile
from pixelwise.prediction.writer import MapOptions, PredictionCost
from pixelwise.reports.drawing import colours, overlay, rgb
from pixelwise.types import FULL_SCALE, IGNORE


class MaskWriter:
    """Writes the class index of each pixel with a colour table, and the class colours over the image.

    For `photo.jpg` it writes `photo.png` and `photo_overlay.png`. For `tile.tif` it writes `tile.tif` with
    the same georeference and nodata 255, `tile_areas.csv`, and a small `tile_overlay.png`. On request, both
    get `…_probabilities.tif` with a band for each class, in which 255 means a probability of 1.
    """

    IGNORED_KEYS: ClassVar[tuple[str, ...]] = ()
    OVERVIEW = 1500
    """Longest side in pixels of a raster's overlay."""

    def __init__(
        self,
        output: Path,
        classes: Sequence[str],
        palette: Sequence[Sequence[int]] | None,
        view: CenterCrop,
        maps: MapOptions,
    ) -> None:
        if view.size is not None:
            size = list(view.size)
            raise UserError(
                "data.eval_size: a map has the size of its image", found=size, fix="data.eval_size=null"
            )
        self.output = output
        self.classes = list(classes)
        self.table = colours(len(classes), palette)
        self.reader = maps.reader
        self.view = view
        self.maps = maps
        self._extra = ["_probabilities.tif"] if maps.probabilities else []

    def done(self, name: str) -> bool:
        """Whether the overlay, which is written last, and the requested probabilities exist."""
        return all((self.output / f"{name}{suffix}").exists() for suffix in ["_overlay.png", *self._extra])

    def plan(self, name: str, file: Path) -> PredictionCost:
        """Windows and bytes of an image, from its header."""
        bands = 1 + len(self.classes) * self.maps.probabilities
        is_raster, tiling = is_tiff(file), self.maps.tiling
        if is_raster:
            with self._raster(file) as image:
                shape = image.shape
            photo = 0
        else:
            shape = self.reader.describe(file)[0]
            photo = shape[0] * shape[1] * (self.reader.channels + 4)  # the image, its mask and its overlay
        target = self.output / f"{name}{'.tif' if is_raster else '.png'}"
        if target.exists() and target.samefile(file):
            raise UserError(f"{file} would be overwritten by its own map", fix="choose another output=")
        if tiling is None:
            height, width = self.view.protocol.size(shape)
            count, rows = -(-shape[0] // ROWS), ROWS
            logits = 4 * len(self.classes) * (height * width + 2 * rows * shape[1])
            kept = logits + self.reader.channels * (height * width + shape[0] * shape[1])
        else:
            count, rows = tiling.count(shape), max(span.done for span in tiling.spans(shape)[0])
            kept = tiling.memory(shape, len(self.classes))
        memory = kept + 3 * bands * shape[1] * rows + photo
        return PredictionCost(count, shape[0] * shape[1] * bands, memory)

    def predict(self, name: str, file: Path, forward: Forward, advance: Callable[[], None]) -> None:
        """Predict one image window by window, and write its files."""
        make = self._map_raster if is_tiff(file) else self._map_photo
        make(name, file, forward, advance)

    def close(self) -> None:
        """Do nothing: all files are complete already."""

    def _map_photo(self, name: str, file: Path, forward: Forward, advance: Callable[[], None]) -> None:
        image, nodata = self.reader.read(file)
        if nodata is None:
            nodata = np.zeros(image.shape[:2], bool)
        pixels = filled(image, nodata, self.maps.mean)
        height, width = pixels.shape[:2]
        mask, drawn = np.empty((height, width), np.uint8), np.empty((height, width, 3), np.uint8)
        suffixes = [*self._extra, ".png", "_overlay.png"]
        with whole_files(self.output / name, suffixes) as part, ExitStack() as open_files:
            extra = self._open_extra(open_files, part, GeoReference(height, width))
            for top, band in self._bands(Pixels(pixels), forward, advance):
                rows = np.s_[top : top + band.shape[1]]
                valid = ~nodata[rows]
                mask[rows] = np.where(valid, band[0], np.uint8(IGNORE))
                background = rgb(pixels[rows] / FULL_SCALE.get(pixels.dtype.name, 1.0))
                drawn[rows] = overlay(background, mask[rows], self.table)
                for map_file in extra:
                    map_file.write(band[1:] * valid)
            indexed = Image.fromarray(mask)
            indexed.putpalette(self.table.tobytes())
            indexed.save(part[".png"], format="PNG")
            Image.fromarray(drawn).save(part["_overlay.png"], format="PNG")

    def _map_raster(self, name: str, file: Path, forward: Forward, advance: Callable[[], None]) -> None:
        suffixes = [*self._extra, ".tif", "_areas.csv", "_overlay.png"]
        with whole_files(self.output / name, suffixes) as part, self._raster(file) as image:
            areas = Areas(self.classes, image.place)
            with ExitStack() as open_files:
                index = open_files.enter_context(self._index(part[".tif"], image.place))
                extra = self._open_extra(open_files, part, image.place)
                for top, band in self._bands(image, forward, advance):
                    valid = image.valid(top, band.shape[1])
                    classes = np.where(valid, band[0], np.uint8(IGNORE))
                    index.write(classes[None])
                    areas.add(top, classes)
                    for map_file in extra:
                        map_file.write(band[1:] * valid)
            if not areas.pixels.any():
                raise UserError(f"{file}: every pixel is nodata", found=f"nodata={image.nodata}")
            areas.write(part["_areas.csv"])
            self._overview(image, part[".tif"]).save(part["_overlay.png"], format="PNG")

    def _raster(self, file: Path) -> RasterReader:
        return RasterReader(file, self.reader, self.maps.mean)

    def _bands(
        self, image: Reader, forward: Forward, advance: Callable[[], None]
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (top, (N, rows, W) uint8): class indices, then the probabilities if they are requested."""
        decode = labels_and_probabilities if self.maps.probabilities else labels

        def finish(logits: Tensor) -> Tensor:
            advance()
            give_back_memory()
            return decode(logits)

        if self.maps.tiling is None:
            return bands(self._whole(image, forward), finish)
        return bands(blend(image, forward, self.maps.tiling, len(self.classes)), finish)

    def _whole(self, image: Reader, forward: Forward) -> Iterator[Block]:
        """Predict the whole image, resized as in evaluation; the logits are resized to its own size."""
        height, width = image.shape
        logits = torch.zeros(len(self.classes), 1, 1)
        if (pixels := image.read(0, 0, height, width)) is not None:  # None: only nodata
            given = np.ascontiguousarray(self.view(pixels)[0])
            logits = forward(torch.from_numpy(given).permute(2, 0, 1)[None])[0]
        yield from resized_blocks(logits, (height, width))

    def _index(self, file: Path, place: GeoReference) -> MapFile:
        names = {f"CLASS_{index}": name for index, name in enumerate(self.classes)}
        return MapFile(file, place, ["class"], IGNORE, self.table, names)

    def _open_extra(self, stack: ExitStack, part: dict[str, Path], place: GeoReference) -> list[MapFile]:
        """Open the file of probabilities, if it is requested."""
        return [stack.enter_context(MapFile(part[suffix], place, self.classes)) for suffix in self._extra]

    def _overview(self, image: RasterReader, index: Path) -> Image.Image:
        """The map over the image at a reduced size, white where the map is nodata."""
        zoom = min(1, self.OVERVIEW / max(image.shape))
        size = [max(1, round(side * zoom)) for side in image.shape]
        mask = read_small(index, *size)
        drawn = overlay(image.thumbnail(*size), mask, self.table)
        drawn[mask == IGNORE] = 255
        return Image.fromarray(drawn)


def give_back_memory() -> None:
    """Return freed memory to the system: glibc keeps parts of it, more of them for larger images."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
