"""Subjects and features of probes on a few drawn scenes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
from omegaconf import DictConfig, OmegaConf

from pixelwise import build
from pixelwise.cli.application import compose_alone
from pixelwise.data import DataModule
from pixelwise.models import Composition
from pixelwise.probing.cache import Features, Sample

SCENES = "data.source.counts={train:12,val:6,test:5}"
WORDS = (
    "encoder=test_resnet",
    "data.crop_size=64",
    "data.batch_size=4",
    "data.num_workers=0",
    "trainer.precision=32-true",
)

Subject = tuple[DictConfig, DataModule]
SubjectOf = Callable[..., tuple[Subject, Composition]]


@pytest.fixture
def subject(tmp_path: Path) -> SubjectOf:
    """`subject(*words)` returns config and data of a probe, and the model whose features it reads."""

    def make(*words: str) -> tuple[Subject, Composition]:
        scenes = [] if any(word.startswith("data=") for word in words) else [SCENES]
        config = compose_alone("probe", [*WORDS, *scenes, f"probe.cache={tmp_path}/cache", *words])
        OmegaConf.resolve(config)
        data = build.data(config)
        L.seed_everything(config.seed, verbose=False)
        model = build.model(config)
        data.follow((), lambda epoch, batch: 0, mean=lambda: model.normalize.mean.tolist())
        return (config, data), model

    return make


def in_memory(samples: Any) -> Features:
    """Samples as the cache would return them, without a file."""
    listed: list[Sample] = list(samples)
    return Features(
        np.concatenate([sample.features for sample in listed]),
        np.concatenate([np.ravel(sample.labels) for sample in listed]),
        np.array([sample.map_size for sample in listed]),
        np.array([(*np.shape(sample.labels), 1, 1)[:2] for sample in listed]),
        0.0,
    )
