"""Stored features: equal to fresh ones, reused, computed again if anything changes, never trusted."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.helpers import refused
from tests.probing.conftest import SubjectOf, in_memory

from pixelwise.probing.cache import Features, Sample, cached
from pixelwise.probing.features import Extraction
from pixelwise.probing.heads import Setting, fit
from pixelwise.probing.probe import extracted

TASKS = ("classification", "tagging", "segmentation")
KEY = {"split": "val"}


def samples() -> Iterator[Sample]:
    for i in range(3):
        yield Sample(np.full((4, 5), i, np.float32), (2, 2), np.full((8, 9), i, np.uint8))


def folder_of(cache: Path) -> Path:
    (folder,) = (path for path in cache.iterdir() if path.is_dir())
    return folder


@pytest.mark.parametrize("task", TASKS)
def test_stored_features_train_the_same_heads_as_fresh_ones(task: str, subject: SubjectOf) -> None:
    (config, data), model = subject(f"task={task}")
    heads = []
    for features in (
        extracted(config, model, data, "train", False),
        in_memory(Extraction(model, data, "train", False)),
    ):
        trained, _ = fit(
            [Setting(1e-2, 0.1)] * 2, features, len(data.classes), 2, 5, 1, task == "segmentation"
        )
        heads.append(trained)
    assert heads[0].matrix.any()
    assert torch.equal(heads[0].matrix, heads[1].matrix)


@pytest.mark.fast
def test_stored_samples_are_read_back() -> None:
    expected, places = list(samples()), [2, 0]
    found = in_memory(samples()).of(places)
    assert np.array_equal(found[0], np.concatenate([expected[i].features for i in places]))
    assert np.array_equal(found[1], np.concatenate([expected[i].labels.ravel() for i in places]))


@pytest.mark.fast
def test_a_second_call_computes_nothing(tmp_path: Path) -> None:
    first = cached(tmp_path, "a", KEY, samples)
    second = cached(tmp_path, "a", KEY, lambda: pytest.fail("computed again"))
    assert np.array_equal(first.features, second.features)
    assert isinstance(second.features, np.memmap)
    assert not second.features.flags.writeable


@pytest.mark.parametrize(
    ("words", "again"),
    [
        ((), False),
        (("probe.epochs=1", "data.batch_size=3", "probe.weight_decays=[0]"), False),
        (("seed=2",), True),  # other random weights
        (("encoder.output_stride=16",), True),
        (("data.source.seed=1",), True),
        (("data.source.counts={train:12,val:7}",), True),
        (("data.crop_size=96",), True),
        (("data.mean=[0,0,0]",), True),
    ],
    ids=lambda value: value[0].partition("=")[0] if isinstance(value, tuple) and value else None,
)
def test_features_are_computed_again_if_they_may_differ(
    words: tuple[str, ...], again: bool, subject: SubjectOf, tmp_path: Path
) -> None:
    for chosen in ((), words):
        (config, data), model = subject(*chosen)
        extracted(config, model, data, "val", False)
    assert len([path for path in (tmp_path / "cache").iterdir() if path.is_dir()]) == 1 + again


@pytest.mark.fast
def test_a_failed_pass_leaves_no_features(tmp_path: Path) -> None:
    def failing() -> Iterator[Sample]:
        yield from samples()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cached(tmp_path, "a", KEY, failing)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
    assert len(cached(tmp_path, "a", KEY, samples)) == 3


@pytest.mark.fast
def test_a_cache_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with refused(r"probe.cache=[\s\S]*cannot be written[\s\S]*probe.cache=DIR"):
        cached(tmp_path / "file", "a", KEY, samples)


# ---------------------------------------------------------------------------------- files of others
class Exploit:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, ("executed",)


def cut(name: str) -> Callable[[Path], None]:
    return lambda folder: os.truncate(folder / name, (folder / name).stat().st_size - 3)


def index(**changed: Any) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        facts = json.loads((folder / "index.json").read_text())
        (folder / "index.json").write_text(json.dumps(facts | changed))

    return write


FOREIGN: dict[str, Callable[[Path], None]] = {
    "cut features": cut("features.bin"),
    "cut labels": cut("labels.bin"),
    "cut sizes": cut("sizes.npy"),
    "cut index": cut("index.json"),
    "no features": lambda folder: (folder / "features.bin").unlink(),
    "no index": lambda folder: (folder / "index.json").unlink(),
    "a list as index": lambda folder: (folder / "index.json").write_text("[]"),
    "another key": index(key='[1, {"split": "test"}]'),
    "other channels": index(channels=6),
    "negative channels": index(channels=-5),
    "text as channels": index(channels="many"),
    "objects as labels": index(labels="object"),
    "a pickle": lambda folder: np.save(folder / "sizes.npy", np.array([Exploit()]), allow_pickle=True),
    "sizes of text": lambda folder: np.save(folder / "sizes.npy", np.array([["a"] * 4] * 3)),
    "negative sizes": lambda folder: np.save(folder / "sizes.npy", -np.load(folder / "sizes.npy")),
    "an empty archive": lambda folder: (folder / "sizes.npy").write_bytes(b"PK\x05\x06" + bytes(18)),
}


@pytest.mark.fast
@pytest.mark.parametrize("damage", FOREIGN.values(), ids=FOREIGN)
def test_files_that_the_probe_did_not_write_are_refused(
    damage: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cached(tmp_path / "cache", "a", KEY, samples)
    damage(folder_of(tmp_path / "cache"))
    with refused(r"cache/a_\w+ does not hold complete features[\s\S]*delete this folder"):
        cached(tmp_path / "cache", "a", KEY, samples)
    assert not Path("executed").exists()


@pytest.mark.parametrize("split", ["train", "val"])
def test_each_pixel_of_a_tile_is_in_one_window(
    split: str, subject: SubjectOf, on_disk: Callable[[str, str], list[str]], tmp_path: Path
) -> None:
    words = [w for w in on_disk("tiles", "segmentation") if not w.startswith("task=")]
    (config, data), model = subject(*words, "data.source.overlap=0.25")
    assert len(data[split]) > 4
    labels = extracted(config, model, data, split, False).labels
    counted = labels.sum() if split == "train" else (labels != 255).sum()
    assert counted == 90 * 100


def test_sizes_agree_with_the_files(subject: SubjectOf) -> None:
    (config, data), model = subject()
    features: Features = extracted(config, model, data, "val", False)
    assert features.map_sizes.tolist() == [[2, 2]] * 6
    assert features.label_sizes.tolist() == [[64, 64]] * 6
    assert features.features.shape == (24, model.decoder.out_channels)
    _, labels = features.of([3])
    assert np.array_equal(labels.reshape(64, 64), data["val"][3].target)
