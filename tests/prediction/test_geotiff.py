"""Reading and writing GeoTIFFs in parts, with their georeference and nodata."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.transform import from_origin
from tests.faults import small_files
from tests.helpers import Tiff, refused

from pixelwise.data.io.images import ImageReader
from pixelwise.data.io.raster_reader import GeoReference, RasterReader
from pixelwise.data.io.rasters import CACHE, gdal
from pixelwise.prediction.areas import Areas, pixel_areas
from pixelwise.prediction.map_file import MapFile

Noise = Callable[..., np.ndarray]
pytestmark = pytest.mark.fast


# ----------------------------------------------------------------------------------------------- read
def test_any_window_of_any_bands_is_read(tiff: Tiff, noise: Noise) -> None:
    image = noise(70, 90, 5)
    file = tiff("five.tif", image)
    with gdal(), RasterReader(file, ImageReader(5, exact=True, option="bands")) as raster:
        assert raster.shape == (70, 90)
        assert raster.place.crs == CRS.from_epsg(32633)
        np.testing.assert_array_equal(raster.read(10, 20, 30, 40), image[10:40, 20:60])
        assert raster.valid(0, 70).all()
    with gdal(), RasterReader(file, ImageReader(3, bands=[4, 1, 1])) as raster:
        np.testing.assert_array_equal(raster.read(0, 0, 70, 90), image[..., [3, 0, 0]])


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_pixel_values_are_read_unchanged(dtype: str, tiff: Tiff, noise: Noise) -> None:
    image = noise(8, 9, 3).astype(dtype) * 200
    with gdal(), RasterReader(tiff("deep.tif", image), ImageReader(3)) as raster:
        pixels = raster.read(0, 0, 8, 9)
        assert pixels is not None
        assert pixels.dtype == dtype
        np.testing.assert_array_equal(pixels, image)


def test_wrong_band_count_is_refused_with_a_fix(tiff: Tiff, noise: Noise) -> None:
    file = tiff("tile.tif", noise(8, 9, 4))
    with refused(r"tile\.tif[\s\S]*found: +4 bands[\s\S]*expected: 3[\s\S]*bands=\[1,2,3\]"):
        RasterReader(file, ImageReader(3, exact=True, option="bands"))
    with refused(r"expected: 5[\s\S]*convert the image"):
        RasterReader(file, ImageReader(5, exact=True, option="bands"))
    with refused(r"bands=\[1, 2, 5\][\s\S]*no such band[\s\S]*1 to 4"):
        RasterReader(file, ImageReader(3, bands=[1, 2, 5]))


def test_unsupported_pixel_type_is_refused(tiff: Tiff) -> None:
    with refused(r"dem\.tif stores its pixels as int32"):
        RasterReader(tiff("dem.tif", np.zeros((8, 9, 1), np.int32)), ImageReader(1))


@pytest.mark.parametrize("tiled", [True, False])
def test_truncated_file_is_named_in_the_error(tiled: bool, tiff: Tiff, noise: Noise) -> None:
    extra = {"tiled": True, "blockxsize": 64, "blockysize": 64} if tiled else {}
    file = tiff("cut.tif", noise(300, 300, 3), **extra)
    content = file.read_bytes()
    for share in (0.001, 0.5, 0.9):
        file.write_bytes(content[: int(len(content) * share)])
        with gdal(), refused(r"cut\.tif cannot be read"), RasterReader(file, ImageReader(3)) as raster:
            raster.read(0, 0, 300, 300)


# --------------------------------------------------------------------------------------------- nodata
def test_pixel_is_nodata_if_all_its_bands_are(tiff: Tiff, noise: Noise) -> None:
    image = noise(60, 80, 3)
    image[:20] = 0
    image[30, 40] = 0, 0, 9
    file = tiff("gap.tif", image, nodata=0)
    with gdal(), RasterReader(file, ImageReader(3)) as raster:
        valid = raster.valid(0, 60)
        assert not valid[:20].any()
        assert valid[20:].all()
        assert raster.read(0, 0, 20, 80) is None
        pixels = raster.read(10, 0, 20, 80)
        assert pixels is not None
        np.testing.assert_array_equal(pixels[10:], image[20:30])
        np.testing.assert_array_equal(pixels[0, 0], np.rint(image[20:30].mean((0, 1))))
    with gdal(), RasterReader(file, ImageReader(3), mean=[0.1, 0.2, 0.3]) as raster:
        pixels = raster.read(10, 0, 20, 80)
        assert pixels is not None
        assert (pixels[:10] == [26, 51, 76]).all()


@pytest.mark.parametrize("nodata", [-9999.0, math.nan])
def test_float_nodata_does_not_reach_the_network(nodata: float, tiff: Tiff, noise: Noise) -> None:
    image = noise(30, 40, 2).astype(np.float32)
    image[:10] = nodata
    image[15, 15, 1] = nodata  # one band only: the pixel is nodata if it is not finite
    image[16, 16, 0] = np.inf
    with gdal(), RasterReader(tiff("gap.tif", image, nodata=nodata), ImageReader(2), mean=[3, 4]) as raster:
        pixels = raster.read(0, 0, 30, 40)
        assert pixels is not None
        assert (pixels[:10] == [3, 4]).all()
        assert pixels[16, 16].tolist() == [3, 4]
        assert pixels[15, 15].tolist() == ([3, 4] if math.isnan(nodata) else [image[15, 15, 0], 0])
        assert np.isfinite(pixels).all()
        assert not raster.valid(0, 10).any()
        assert (~raster.valid(10, 20)).sum() == 1 + math.isnan(nodata)


def test_alpha_band_is_a_mask_only_if_it_is_not_read(tiff: Tiff, noise: Noise) -> None:
    image = noise(20, 30, 4)
    image[:5, :, 3] = 0
    file = tiff("rgba.tif", image, photometric="rgb", alpha="unspecified")
    with rasterio.open(file, "r+") as dataset:
        dataset.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    with gdal(), RasterReader(file, ImageReader(3, bands=[1, 2, 3])) as raster:
        assert not raster.valid(0, 5).any()
        assert raster.valid(5, 15).all()
    with gdal(), RasterReader(file, ImageReader(4)) as raster:  # near infrared, marked as alpha by mistake
        assert raster.valid(0, 20).all()
        np.testing.assert_array_equal(raster.read(0, 0, 20, 30), image)


# ---------------------------------------------------------------------------------------------- write
def test_rows_of_any_heights_become_a_tiled_map(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 3, (1, 700, 300), dtype=np.uint8)
    table = rng.integers(0, 256, (256, 3), dtype=np.uint8)
    place = GeoReference(700, 300, CRS.from_epsg(32633), from_origin(366676, 5808769, 0.05, 0.05))
    with gdal(), MapFile(tmp_path / "map.tif", place, ["class"], 255, table, {"CLASS_0": "road"}) as file:
        for start, stop in ((0, 10), (10, 300), (300, 650), (650, 700)):
            file.write(rows[:, start:stop])
    with rasterio.open(tmp_path / "map.tif") as dataset:
        np.testing.assert_array_equal(dataset.read(), rows)
        assert (dataset.crs, dataset.transform, dataset.nodata) == (place.crs, place.transform, 255)
        assert dataset.block_shapes == [(256, 256)]
        assert dataset.compression.name == "deflate"
        assert dataset.colormap(1)[7] == (*table[7].tolist(), 255)
        assert dataset.tags()["CLASS_0"] == "road"
    size = (tmp_path / "map.tif").stat().st_size
    assert size < 700 * 300  # each tile was written once


@pytest.mark.parametrize("missing", [1, 40, 400, 900, 2_000, 70_000])
def test_a_map_that_is_not_complete_is_an_error(missing: int, noise: Noise, tmp_path: Path) -> None:
    rows = noise(700, 500, 2).transpose(2, 0, 1)

    def write(file: Path) -> int:
        with MapFile(file, GeoReference(700, 500), ["a", "b"], tags={"CLASS_0": "a"}) as written:
            written.write(rows)
        return file.stat().st_size

    size = write(tmp_path / "a.tif")
    with small_files(size - missing), pytest.raises(OSError, match=r"completely|Write failed"):
        write(tmp_path / "b.tif")


def test_probabilities_are_bands_with_names_and_a_scale(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).integers(0, 256, (3, 40, 50), dtype=np.uint8)
    with gdal(), MapFile(tmp_path / "p.tif", GeoReference(40, 50), ["road", "tree", "car"]) as file:
        file.write(rows)
    with gdal(), rasterio.open(tmp_path / "p.tif") as dataset:
        np.testing.assert_array_equal(dataset.read(), rows)
        assert dataset.descriptions == ("road", "tree", "car")
        assert dataset.scales == pytest.approx((1 / 255,) * 3)
        assert dataset.colorinterp[0] is ColorInterp.gray
        assert ColorInterp.alpha not in dataset.colorinterp


def test_gdal_cache_limit_applies_only_inside_the_block() -> None:
    from rasterio.env import get_gdal_config

    with gdal():
        assert int(get_gdal_config("GDAL_CACHEMAX")) == CACHE


# ---------------------------------------------------------------------------------------------- areas
def test_areas_on_a_map_projection_in_metres_and_feet(tmp_path: Path) -> None:
    transform = from_origin(0, 0, 0.05, 0.05)
    metres = pixel_areas(GeoReference(4, 6, CRS.from_epsg(32633), transform))
    feet = pixel_areas(GeoReference(4, 6, CRS.from_epsg(2263), transform))  # New York, US survey feet
    assert metres == pytest.approx(0.0025)
    assert feet == pytest.approx(0.0025 * (1200 / 3937) ** 2)
    assert pixel_areas(GeoReference(4, 6)) is None

    areas = Areas(["road", "tree"], GeoReference(4, 6, CRS.from_epsg(32633), transform))
    areas.add(0, np.array([[0, 0, 1, 255, 255, 0], [1, 1, 1, 1, 1, 1]], np.uint8))
    areas.write(tmp_path / "areas.csv")
    assert (tmp_path / "areas.csv").read_text().splitlines() == [
        "class,pixels,share,area_m2",
        "road,3,0.300000,0.0075",
        "tree,7,0.700000,0.0175",
    ]


def test_areas_in_degrees_are_areas_on_the_ellipsoid() -> None:
    degree = pixel_areas(GeoReference(180, 360, CRS.from_epsg(4326), from_origin(-180, 90, 1, 1)))
    assert degree is not None
    assert degree.sum() * 360 == pytest.approx(510_065_621_724_000, rel=1e-9)  # the whole of WGS 84
    for row, latitude in ((90, -1), (30, 59), (0, 89)):  # the integral of both radii of curvature
        angles = np.radians(latitude + (np.arange(1000) + 0.5) / 1000)
        squared = 0.00669437999014
        flat = 1 - squared * np.sin(angles) ** 2
        per_radian = 6378137.0**2 * (1 - squared) * np.cos(angles) / flat**2
        assert degree[row] == pytest.approx(per_radian.mean() * math.radians(1) ** 2, rel=1e-6)
