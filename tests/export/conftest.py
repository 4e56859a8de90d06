"""Hub folders of a tiny segmenter and of a tiny classifier."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import pixelwise
from pixelwise.build.restore import Predictor
from pixelwise.export import Hub, Subject, export

CARD = SimpleNamespace(
    segmentation={"pipeline_tag": "image-segmentation", "metrics": {"miou": "mean_iou"}},
    classification={"pipeline_tag": "image-classification", "metrics": {"accuracy": "accuracy"}},
)


SCORES = {"test/miou": 0.25, "test/iou/cat": 0.5, "test/mean_f1": float("nan")}


@pytest.fixture(scope="session")
def image() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 3, 96, 96), dtype=np.uint8))


@pytest.fixture(scope="session")
def model(trained: Path) -> Predictor:
    return pixelwise.load(trained)


@pytest.fixture(scope="session")
def hub(model: Predictor, image: torch.Tensor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hub folder of the tiny segmenter."""
    folder = tmp_path_factory.mktemp("hub") / "segmenter"
    exported = Subject(model, image, SCORES, base_model="timm/test_resnet.r160_in1k")
    export(exported, Hub("mit", "/data/toy", **CARD.segmentation), folder)
    return folder


@pytest.fixture(scope="session")
def classifier_hub(trained_classifier: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hub folder of the tiny classifier."""
    folder = tmp_path_factory.mktemp("hub") / "classifier"
    model = pixelwise.load(trained_classifier)
    photo = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    cropped = torch.from_numpy(model.view(photo)[0]).permute(2, 0, 1)[None].contiguous()
    export(Subject(model, cropped, {}), Hub(None, None, **CARD.classification), folder)
    return folder
