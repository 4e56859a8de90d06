"""Area of each class on a map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pixelwise.data.io.raster_reader import GeoReference
from pixelwise.files import write_rows
from pixelwise.types import IGNORE

EQUATOR, FLATTENING = 6378137.0, 1 / 298.257223563
"""Semi-major axis in metres and flattening of the WGS 84 ellipsoid."""


class Areas:
    """Pixels and square metres of each class, summed over the rows of a map.

    Args:
        classes: names of the classes.
        place: size and georeference of the map.
    """

    def __init__(self, classes: Sequence[str], place: GeoReference) -> None:
        self.classes = list(classes)
        self.pixel = pixel_areas(place)
        self.pixels = np.zeros(len(classes), np.int64)
        self.metres = np.zeros(len(classes))

    def add(self, top: int, labels: np.ndarray) -> None:
        """Count class indices (rows, W); the first of these rows is row `top` of the map."""
        for number, row in enumerate(labels, top):
            counts = np.bincount(row, minlength=IGNORE + 1)[: len(self.classes)]
            self.pixels += counts
            if self.pixel is not None:
                self.metres += counts * self.pixel[number]

    def write(self, file: Path) -> None:
        """Write a CSV row for each class; `area_m2` is empty if the area of a pixel is unknown."""
        total = max(1, int(self.pixels.sum()))
        rows = [["class", "pixels", "share", "area_m2"]]
        for name, pixels, metres in zip(self.classes, self.pixels, self.metres, strict=True):
            area = "" if self.pixel is None else f"{metres:.4f}"
            rows.append([name, str(pixels), f"{pixels / total:.6f}", area])
        write_rows(file, rows)


def pixel_areas(place: GeoReference) -> np.ndarray | None:
    """Area of a pixel in square metres for each row (H,), or None if the georeference does not give it.

    For a map projection it is the area on the map, in the middle of a UTM zone 0.08 % less than on the
    ground. For degrees it is the area on the WGS 84 ellipsoid.
    """
    crs, transform = place.crs, place.transform
    if crs is None:
        return None
    if crs.is_projected:
        metres = crs.linear_units_factor[1]
        return np.full(place.height, abs(transform.determinant) * metres**2)
    if crs.is_geographic and transform.b == transform.d == 0:
        edges = np.radians(transform.f + transform.e * np.arange(place.height + 1))
        return np.abs(np.diff(_area_below(edges))) * math.radians(abs(transform.a))
    return None


def _area_below(latitude: np.ndarray) -> np.ndarray:
    """Area between the equator and a latitude in radians, in square metres per radian of longitude.

    Half of the squared semi-major axis times q, equation 3-12 of J. P. Snyder, "Map Projections: A Working
    Manual", USGS Professional Paper 1395, 1987.
    """
    squared = FLATTENING * (2 - FLATTENING)
    eccentricity, sine = math.sqrt(squared), np.sin(latitude)
    q = (1 - squared) * (sine / (1 - squared * sine**2) + np.arctanh(eccentricity * sine) / eccentricity)
    return EQUATOR**2 / 2 * q
