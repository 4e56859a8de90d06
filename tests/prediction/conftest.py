"""GeoTIFFs with georeference, as users have them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from tests.helpers import Tiff

WHERE = {"crs": "EPSG:32633", "transform": from_origin(366676.4, 5808769.9, 0.05, 0.05)}
"""Potsdam: UTM zone 33 N, 5 cm a pixel."""


@pytest.fixture
def tiff(tmp_path: Path) -> Tiff:
    """`tiff(name, array (H, W, C), **profile)` writes a GeoTIFF in Potsdam, in strips like the real ones."""

    def write(name: str, image: np.ndarray, **profile: Any) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        height, width, count = image.shape
        settings = {"driver": "GTiff", "height": height, "width": width, "count": count, "dtype": image.dtype}
        with rasterio.open(file, "w", **settings, **WHERE | profile) as dataset:
            dataset.write(image.transpose(2, 0, 1))
        return file

    return write


@pytest.fixture
def noise() -> Callable[..., np.ndarray]:
    """`noise(H, W, C)` uint8, without zeros."""
    return lambda *shape: np.random.default_rng(0).integers(1, 256, shape, dtype=np.uint8)
