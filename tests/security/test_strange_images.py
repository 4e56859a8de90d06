"""No image reads another file or the network, or runs a program: each is decoded by its format."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from tests.helpers import refused
from tests.security.conftest import Attack

from pixelwise.data.io.images import ImageReader
from pixelwise.data.io.label_files import open_labels
from pixelwise.data.io.raster_reader import RasterReader
from pixelwise.data.io.rasters import gdal, opened
from pixelwise.data.io.unreadable import UnreadableImage

VRT = """<VRTDataset rasterXSize="16" rasterYSize="16"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>
<SourceFilename relativeToVRT="0">{}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>
</VRTDataset>"""
WMS = """<GDAL_WMS><Service name="TMS"><ServerUrl>{}/${{z}}/${{x}}/${{y}}.png</ServerUrl></Service>
<DataWindow><UpperLeftX>0</UpperLeftX><UpperLeftY>16</UpperLeftY><LowerRightX>16</LowerRightX><LowerRightY>0</LowerRightY>
<SizeX>16</SizeX><SizeY>16</SizeY></DataWindow><BlockSizeX>16</BlockSizeX><BlockSizeY>16</BlockSizeY></GDAL_WMS>"""
PRIVATE = 77


@pytest.fixture
def asked() -> Iterator[tuple[str, list[str]]]:
    """The address of a server, and the paths that it was asked for."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(404)
            self.end_headers()

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", paths
    server.shutdown()


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """An image of the user outside the stranger's folder."""
    return write(tmp_path / "home/private.tif", 16, PRIVATE)


def write(file: Path, side: int, value: int) -> Path:
    file.parent.mkdir(exist_ok=True)
    settings = {"driver": "GTiff", "height": side, "width": side, "count": 1, "dtype": "uint8"}
    with rasterio.open(file, "w", **settings) as dataset:
        dataset.write(np.full((side, side), value, np.uint8), 1)
    return file


def overview_tag(image: Path, other: str) -> None:
    with rasterio.open(image, "r+") as dataset:
        dataset.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=other)


def overview_record(image: Path, other: str) -> None:
    item = f'<MDI key="OVERVIEW_FILE">{other}</MDI>'
    record = f'<PAMDataset><Metadata domain="OVERVIEWS">{item}</Metadata></PAMDataset>'
    image.with_name(f"{image.name}.aux.xml").write_text(record)


def overview_beside(image: Path, other: str) -> None:
    image.with_name(f"{image.name}.ovr").write_text(VRT.format(other))


def overview_of_overview(image: Path, other: str) -> None:
    overview_tag(write(image.with_name(f"{image.name}.ovr"), 32, 0), other)


def mask_beside(image: Path, other: str) -> None:
    image.with_name(f"{image.name}.msk").write_text(VRT.format(other))


ASIDE = [overview_tag, overview_record, overview_beside, overview_of_overview, mask_beside]


@pytest.mark.fast
@pytest.mark.parametrize("aside", ASIDE)
@pytest.mark.parametrize("reads", ["file", "network"])
def test_a_tiff_reads_no_other_file(
    aside: Callable[[Path, str], None],
    reads: str,
    tmp_path: Path,
    private: Path,
    asked: tuple[str, list[str]],
) -> None:
    image = write(tmp_path / "data/image.tif", 64, 0)
    aside(image, str(private) if reads == "file" else f"/vsicurl/{asked[0]}/x.tif")
    with suppress(UnreadableImage), gdal(), RasterReader(image, ImageReader(1)) as raster:
        assert raster.thumbnail(16, 16).max() == 0
        pixels = raster.read(0, 0, 64, 64)
        assert pixels is None or pixels.max() == 0
    assert asked[1] == []


@pytest.mark.fast
@pytest.mark.parametrize("aside", ASIDE[:4])
def test_gdal_itself_reads_the_other_file(
    aside: Callable[[Path, str], None], tmp_path: Path, private: Path
) -> None:
    image = write(tmp_path / "data/image.tif", 64, 0)
    aside(image, str(private))
    with rasterio.open(image) as dataset:
        assert dataset.read(1, out_shape=(16, 16)).max() == PRIVATE


@pytest.mark.fast
@pytest.mark.parametrize("kind", ["VRT", "WMS"])
@pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg"])
def test_a_description_of_an_image_is_no_image(
    kind: str, suffix: str, tmp_path: Path, private: Path, asked: tuple[str, list[str]]
) -> None:
    file = tmp_path / f"image{suffix}"
    file.write_text(VRT.format(private) if kind == "VRT" else WMS.format(asked[0]))
    with rasterio.open(file) as dataset:
        assert dataset.driver == kind  # GDAL takes it
    with refused("cannot be read as an image"):
        ImageReader(1).read(file)
    with refused("cannot be read as an image"), open_labels(file):
        pass
    with refused("cannot be read as a raster"), opened(file):
        pass
    assert asked[1] == []


@pytest.mark.fast
def test_own_overviews_beside_an_image_are_read(tmp_path: Path) -> None:
    image = write(tmp_path / "image.tif", 64, 5)
    with rasterio.Env(TIFF_USE_OVR="YES"), rasterio.open(image, "r+") as dataset:
        dataset.build_overviews([2, 4])
    assert image.with_name("image.tif.ovr").is_file()
    with gdal(), RasterReader(image, ImageReader(1)) as raster:
        assert raster.thumbnail(16, 16).min() == 5


def test_no_image_runs_ghostscript(trained: Path, canary: Path, tmp_path: Path, attack: Attack) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/gs").write_text(f"#!/bin/sh\ntouch {canary}\n")
    (tmp_path / "bin/gs").chmod(0o755)
    (tmp_path / "in").mkdir()
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\nshowpage\n"
    for suffix in ("png", "jpg", "webp", "bmp", "gif"):
        (tmp_path / f"in/{suffix}.{suffix}").write_bytes(postscript)
    path = f"{tmp_path / 'bin'}:/usr/bin:/bin"
    done = attack("predict", f"run={trained}", "input=in", "output=out", PATH=path)
    assert done.status == 1, done.printed
    assert not canary.exists()


def test_pillow_itself_runs_ghostscript(
    canary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import EpsImagePlugin

    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {canary}\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", str(tmp_path / "gs"))
    (tmp_path / "x.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\nshowpage\n")
    with pytest.raises(OSError), Image.open(tmp_path / "x.png") as image:  # noqa: PT011
        image.load()
    assert canary.exists()
