"""Mean and standard deviation of the input: given, measured, or those that weights expect."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from tests.helpers import refused

from pixelwise.data.statistics import channel_statistics
from pixelwise.training import run
from pixelwise.types import Raw


def test_statistics_come_from_config_or_training_split(
    built: Callable[..., run.Run],
) -> None:
    assert built("data.mean=[0.1,0.2,0.3]").module.model.normalize.mean.tolist() == pytest.approx(
        [0.1, 0.2, 0.3]
    )
    run = built("data.mean=null", "data.std=null")
    train = run.data["train"]
    images = torch.stack([torch.from_numpy(train[i].image) for i in range(len(train))]).double() / 255
    torch.testing.assert_close(
        run.module.model.normalize.mean.double(), images.mean((0, 1, 2)), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(
        run.module.model.normalize.std.double(), images.std((0, 1, 2), correction=0), atol=1e-5, rtol=0
    )
    for given, measured in (("mean", "std"), ("std", "mean")):
        half = built(f"data.{given}=[0.1,0.2,0.3]", f"data.{measured}=null").module.model.normalize
        assert getattr(half, given).tolist() == pytest.approx([0.1, 0.2, 0.3])
        assert torch.equal(getattr(half, measured), getattr(run.module.model.normalize, measured))
    with refused(r"data\.mean"):
        built("data.mean=[0.1]")


def test_statistics_expected_by_weights_apply(
    built: Callable[..., run.Run], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    whole: Any = timm.create_model("test_resnet")
    torch.save(whole.state_dict(), file := tmp_path / "whole.pth")
    overrides = ["data.mean=null", "data.std=null", f"encoder.weights={file}"]
    loaded = built(*overrides).module.model.normalize
    for key in ("mean", "std"):
        assert getattr(loaded, key).tolist() == pytest.approx(list(whole.pretrained_cfg[key]))
    (message,) = [line for line in caplog.messages if line.endswith("test_resnet.r160_in1k expects")]
    assert "]: as timm's" in message
    assert "measured" not in caplog.text
    caplog.clear()
    pins = message.split(": ")[0].split()
    pinned = built(*overrides, *pins).module.model.normalize
    assert torch.equal(pinned.mean, loaded.mean)
    assert torch.equal(pinned.std, loaded.std)
    other = built(*overrides, "data.mean=[0.1,0.2,0.3]").module.model.normalize
    assert other.mean.tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert torch.equal(other.std, loaded.std)
    assert [line for line in caplog.messages if "expects" in line] == [message.split(maxsplit=1)[1]]


def test_statistics_of_large_float_values_are_exact() -> None:
    """For elevations in metres, sums in float32 gave a standard deviation of 1 and a wrong mean."""
    noise = np.random.default_rng(0).standard_normal((1024, 1024, 2), np.float32)
    image = 500 + noise * np.float32([5, 0.1])
    mean, std = channel_statistics([Raw(image, 0, "a"), Raw(image, 0, "b")])  # type: ignore[arg-type]
    assert mean == pytest.approx(image.mean((0, 1), np.float64), rel=1e-9)
    assert std == pytest.approx(image.std((0, 1), np.float64), rel=1e-6)
