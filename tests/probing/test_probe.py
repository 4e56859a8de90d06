"""Probes of an encoder: what they score, what they refuse, and the command."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.conftest import run_script
from tests.helpers import refused
from tests.probing.conftest import SCENES, WORDS, SubjectOf
from torch import nn

from pixelwise import build
from pixelwise.probing.features import digest
from pixelwise.probing.heads import Setting, fit
from pixelwise.probing.probe import Result, add_trials, extracted, probe
from pixelwise.probing.scoring import head_scores
from pixelwise.probing.subjects import check_words, subjects


@pytest.mark.parametrize("encoder", ["test_resnet", "test_vit", "test_efficientnet", "test_convnext"])
@pytest.mark.parametrize("task", ["classification", "tagging", "segmentation"])
def test_a_head_scores_as_in_the_whole_model(task: str, encoder: str, subject: SubjectOf) -> None:
    (config, data), model = subject(f"task={task}", f"encoder.name={encoder}")
    features = {split: extracted(config, model, data, split, False) for split in ("train", "val")}
    heads, _ = fit(
        [Setting(1e-1, 0.0)], features["train"], len(data.classes), 5, 4, 1, task == "segmentation"
    )
    metric = build.make(config.task.scores, "task.scores", classes=data.classes)
    (scores,) = head_scores(heads, metric, features["val"], [0])

    layer = [m for m in model.head.modules() if isinstance(m, nn.Linear | nn.Conv2d)][-1]
    weight = heads.matrix[:-1, :, 0].detach() / heads.std[:, None]
    layer.weight.data = weight.T.reshape(layer.weight.shape).contiguous()
    layer.bias.data = heads.matrix[-1, :, 0].detach() - heads.mean @ weight  # type: ignore[union-attr]
    with torch.no_grad():
        for batch in data.evaluation_loader("val"):
            logits = model.eval()(model.normalize(batch["image"]))
            metric.update(logits, batch["target"].long(), batch["valid"])
    whole = {name: float(value) for name, value in metric.compute().items()}
    assert weight.any()
    assert scores == pytest.approx(whole, abs=1e-3, nan_ok=True)


def test_the_best_on_val_is_scored_once_on_test(subject: SubjectOf) -> None:
    (config, data), _ = subject("task=classification", "probe.neighbours=[1,3,500]", "probe.epochs=3")
    result = probe(config, data)
    assert result.images == {"train": 12, "val": 6, "test": 5}
    assert [len(trials) for trials in result.trials.values()] == [20, 3]
    assert [t.settings["neighbours"] for t in result.trials["nearest neighbours"]] == [1, 3, 12]
    for name, trials in result.trials.items():
        best = trials[result.best[name]]
        assert best.val["accuracy"] == max(trial.val["accuracy"] for trial in trials)
        assert [trial for trial in trials if trial.test] == [best]
        assert (best.test or {}).keys() == best.val.keys()
    assert result.encoder_seconds > 0
    again = probe(config, data)
    assert (again.trials, again.encoder_seconds) == (result.trials, result.encoder_seconds)


@pytest.mark.fast
@pytest.mark.parametrize(("mode", "best"), [("max", 2), ("min", 1)])
def test_undefined_scores_are_never_the_best(mode: str, best: int) -> None:
    values = [math.nan, 0.1, 0.7, 0.7]
    result = Result("tagging", "a", "8", {}, 1.0, 1.0, {}, {})
    settings = [{"neighbours": float(k)} for k in range(4)]
    stored: Any = {"val": "val", "test": "test"}
    asked: list[Any] = []

    def score(split: Any, chosen: Sequence[int]) -> list[dict[str, float]]:
        asked.append((split, list(chosen)))
        return [{"a": values[i]} for i in chosen]

    add_trials(result, stored, mode, "k", settings, score)
    assert (result.best["k"], asked) == (best, [("val", [0, 1, 2, 3]), ("test", [best])])


def test_without_a_test_split_nothing_is_called_test(subject: SubjectOf) -> None:
    (config, data), _ = subject("~data.source.counts.test", "probe.epochs=1", "probe.weight_decays=[0]")
    result = probe(config, data)
    assert list(result.images) == ["train", "val"]
    assert not any(trial.test for trial in result.trials["linear head"])


def test_both_probes_have_the_same_encoder(tmp_path: Path) -> None:
    found = [model for _, model in _models(subjects([*WORDS, SCENES, f"probe.cache={tmp_path}"]))]
    classifier, segmenter = (model.encoder.state_dict() for model in found)
    assert all(torch.equal(classifier[name], tensor) for name, tensor in segmenter.items())
    assert len({digest(model) for model in found}) == 1


def _models(found: list) -> list:  # type: ignore[type-arg]
    models = []
    for config, _ in found:
        torch.manual_seed(0)
        models.append((config, build.model(config)))
    return models


def test_labels_of_images_may_come_from_masks(tmp_path: Path, folders) -> None:  # type: ignore[no-untyped-def]
    words = [word for word in folders("segmentation") if not word.startswith("task=")]
    found = subjects([*words, "encoder=test_resnet"])
    assert [config.task.name for config, _ in found] == ["tagging", "segmentation"]
    words = [word for word in folders("classification") if not word.startswith("task=")]
    assert [config.task.name for config, _ in subjects(words)] == ["classification"]


@pytest.mark.fast
@pytest.mark.parametrize(
    "word",
    [
        *(
            "loss=dice",
            "optimizer.lr=1",
            "schedule=cosine",
            "epochs=3",
            "augmentation=none",
            "trainer.devices=2",
        ),
        *("data.balance=1", "data.rare=[cat]", "decoder.batchnorm=true", "+callbacks.x=1"),
    ],
)
def test_overrides_of_a_training_are_refused(word: str) -> None:
    check_words([*WORDS, "decoder=linear", "decoder.encoder_blocks=4", "pool=token", "task=tagging"])
    with refused(f"{re.escape(word)} has no effect on a probe"):
        check_words([*WORDS, word])


@pytest.mark.fast
def test_decoders_are_refused() -> None:
    with refused(r"decoder=unet: a probe has no decoder[\s\S]*schedule=linear_probe"):
        check_words(["decoder=unet"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["task=classification", "pool=gem"], r"pool: a probe trains[\s\S]*GeM[\s\S]*token_avg"),
        (["task=classification", "pool=attention"], r"pool: a probe trains"),
        (["data.eval.resize=32"], r"data.eval: a probe sees[\s\S]*resize=32"),
        (["encoder.name=test_vit", "decoder.encoder_neck=true"], r"encoder.neck[\s\S]*encoder_neck=false"),
    ],
)
def test_what_is_more_than_a_linear_probe_is_refused(
    words: list[str], message: str, subject: SubjectOf
) -> None:
    (config, data), _ = subject(*words)
    with refused(message):
        probe(config, data)


def test_each_probe_takes_its_own_keys() -> None:
    words = ["encoder.name=test_vit", "decoder=linear", "decoder.encoder_blocks=4", "pool=token_avg"]
    (images, _), (pixels, _) = subjects(words)
    assert images.task.head.pool._target_.endswith("ClassTokenAndAverage")
    assert "pool" not in pixels.task.head
    assert (images.encoder.blocks, pixels.encoder.blocks) == (1, 4)
    assert [config.task.name for config, _ in subjects([*words, "task=tagging"])] == ["tagging"]


def test_data_without_labels_are_refused(tmp_path: Path) -> None:
    with refused("data.root"):
        subjects(["data=folder", f"data.root={tmp_path / 'none'}", "data.classes=[a,b]"])


def test_the_command_prints_both_probes_side_by_side(tmp_path: Path) -> None:
    words = [SCENES, *(word for word in WORDS if "precision" not in word), "probe.epochs=2"]
    done = run_script(tmp_path, "scripts/probe.py", *words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("features are computed into runs/probe/cache/") == 6
    table = done.stdout[done.stdout.index("probes of test_resnet, random weights") :].split("picture:")[0]
    assert max(map(len, table.splitlines())) <= 80
    (folder,) = (tmp_path / "runs/probe").glob("2*")
    written = json.loads((folder / "probe.json").read_text())
    final = json.loads((folder / "metrics.json").read_text())
    for task, kind, score in (("classification", "images", "accuracy"), ("segmentation", "pixels", "miou")):
        best = written[task]["trials"]["linear head"][written[task]["best"]["linear head"]]
        for split in ("val", "test"):
            assert final[f"{split}/{kind}/{score}"] == best[split][score]
            assert f"{best[split][score]:.4f}" in table
        assert {kind, score} <= set(table.split())
    assert "test/neighbours/accuracy" in final
    assert np.asarray(Image.open(folder / "probe.png")).shape[:2] == (600, 1500)
