"""Folders for the hub: the model card, its code, and the twin for timm."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import yaml
from huggingface_hub import ModelCard
from omegaconf import DictConfig

import pixelwise
from pixelwise import build
from pixelwise.build.restore import Predictor
from pixelwise.export import Subject
from pixelwise.export.timm_twin import write_twin


def sample(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    with np.load(folder / "sample.npz") as arrays:
        return torch.from_numpy(arrays["image"]), torch.from_numpy(arrays["logits"])


def test_a_hub_folder_loads_with_the_logits_of_its_sample(hub: Path, model: Predictor) -> None:
    loaded = pixelwise.load(hub)
    pixels, logits = sample(hub)
    assert torch.equal(loaded(pixels), logits)
    assert loaded.classes == model.classes
    assert not loaded.training
    config = json.loads((hub / "config.json").read_text())
    assert config["id2label"] == dict(zip("0123456789", model.classes, strict=False))
    assert config["label2id"] == {name: index for index, name in enumerate(model.classes)}
    assert config["image_mean"] == [0.5, 0.5, 0.5]
    assert config["image_std"] == model.normalize.std.tolist()
    assert config["size"] is None  # images keep their size
    assert "source" not in config["pixelwise"]["data"]


def test_the_card_states_no_licence_unless_given(classifier_hub: Path) -> None:
    assert "license" not in yaml.safe_load(ModelCard.load(classifier_hub / "README.md").data.to_yaml())


def test_the_card_has_metadata_for_the_hub(hub: Path) -> None:
    card = ModelCard.load(hub / "README.md")
    facts = yaml.safe_load(card.data.to_yaml())
    assert facts["library_name"] == "pixelwise"
    assert facts["pipeline_tag"] == "image-segmentation"
    assert facts["license"] == "mit"
    assert {"pixelwise", "timm", "segmentation", "test_resnet", "unet"} <= set(facts["tags"])
    assert facts["base_model"] == "timm/test_resnet.r160_in1k"
    assert facts["metrics"] == ["mean_iou"]
    (result,) = facts["model-index"][0]["results"]
    assert result["dataset"] == {"name": "toy", "type": "toy", "split": "test"}
    (metric,) = result["metrics"]
    assert (metric["type"], metric["name"], metric["value"]) == ("mean_iou", "miou", 0.25)
    assert metric["args"]["classes"] == ["background", "cat", "dog"]
    assert metric["args"]["ignore_index"] == 255


def test_the_code_of_the_card_runs(hub: Path) -> None:
    code = (hub / "README.md").read_text().split("```python")[1].split("```")[0]
    done = subprocess.run([sys.executable, "-c", code], cwd=hub, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "0.0", done.stderr


def test_timm_alone_loads_a_classifier(classifier_hub: Path, trained_classifier: Path) -> None:
    model = pixelwise.load(trained_classifier)
    pixels, logits = sample(classifier_hub)
    assert json.loads((classifier_hub / "config.json").read_text())["size"] == {"height": 32, "width": 32}
    assert ModelCard.load(classifier_hub / "README.md").data.pipeline_tag == "image-classification"
    ways = {
        "local-dir": timm.create_model(f"local-dir:{classifier_hub / 'timm'}", pretrained=True),
        "checkpoint": timm.create_model(
            "test_resnet", num_classes=2, checkpoint_path=classifier_hub / "timm/model.safetensors"
        ),
        "overlay": timm.create_model(
            "test_resnet",
            pretrained=True,
            num_classes=2,
            pretrained_cfg_overlay={"file": str(classifier_hub / "timm/model.safetensors"), "num_classes": 2},
        ),
    }
    for way, network in ways.items():
        with torch.inference_mode():
            difference = (network.eval()(model.normalize(pixels)) - logits).abs().max()
        assert difference < 1e-4, way
    settings = timm.data.resolve_model_data_config(ways["local-dir"])
    assert list(settings["mean"]) == model.normalize.mean.tolist()
    assert tuple(settings["input_size"]) == (3, 32, 32)


@pytest.mark.parametrize(
    ("encoder", "pool"),
    [("test_convnext", None), ("mobilenetv3_small_050", None), ("test_vit", None), ("test_vit", "token_avg")],
)
def test_a_classifier_with_timms_own_pool_becomes_a_timm_folder(
    encoder: str, pool: str | None, compose: Callable[..., DictConfig], tmp_path: Path
) -> None:
    pools = [f"pool={pool}"] if pool else []
    config = compose("task=classification", "encoder=test_resnet", f"encoder.name={encoder}", *pools)
    model = Predictor(build.model(config), config)
    image = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8)
    assert write_twin(Subject(model, image, {}), tmp_path / "timm") == (pool is None)
    assert (tmp_path / "timm").exists() == (pool is None)
    if pool is None:
        twin = timm.create_model(f"local-dir:{tmp_path / 'timm'}", pretrained=True).eval()
        with torch.inference_mode():
            torch.testing.assert_close(twin(model.normalize(image)), model(image), atol=1e-6, rtol=0)
