"""GeoTIFFs with georeference, as users have them, and their prediction."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from tests.helpers import Tiff

from pixelwise import build, runs
from pixelwise.cli.application import compose_alone
from pixelwise.cli.run_arguments import offer_config
from pixelwise.prediction.files import find_images, prepare_output
from pixelwise.prediction.predict import predict
from pixelwise.runs import checkpoints

WHERE = {"crs": "EPSG:32633", "transform": from_origin(366676.4, 5808769.9, 0.05, 0.05)}
"""Potsdam: UTM zone 33 N, 5 cm a pixel."""


Noise = Callable[..., np.ndarray]
Job = Callable[..., int]
SMALL = ("window=64", "overlap=0.5")
"""Settings of windows that divide a small image."""


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
def noise() -> Noise:
    """`noise(H, W, C)` uint8, without zeros."""
    return lambda *shape: np.random.default_rng(0).integers(1, 256, shape, dtype=np.uint8)


@pytest.fixture
def job(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """`job(*overrides)` predicts with the tiny run as predict.py does, in this process."""
    monkeypatch.chdir(tmp_path)

    def job(*typed: str, run: Path = trained) -> int:
        offer_config(runs.load_config(run))
        config = compose_alone("predict", [f"run={run}", *typed])
        weights, output = run / "checkpoints/best.ckpt", Path(config.output)
        images = find_images(config.input)
        model = checkpoints.load_model(build.model(config), weights)
        writer = build.writer(config, output, typed, model.normalize.mean.tolist())
        prepare_output(output, weights, build.prediction_identity(config))
        return predict(model, images, writer, output, **build.prediction_settings(config))

    return job
