"""Fixtures that compose, train and run the smallest real setups."""

from __future__ import annotations

import importlib.util
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run in several processes, whose threads would compete

import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from statistics import mean
from zlib import crc32

import numpy as np
import pytest
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from tests.data.layouts import write_pets
from tests.data.public_layouts import BENCHMARKS
from tests.forked import Done, forked

import pixelwise

ROOT = Path(__file__).parents[1]


CASES_OF_FAST = 3
"""`pytest -m fast` runs this many cases of a parametrized test; `make test` runs all of them."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run files with long tests first, so that no process has to finish a long one alone at the end.

    `-m fast` keeps few cases of each test: always the same, and from the whole range of its parameters.
    """
    if config.option.markexpr == "fast":
        cases: dict[tuple[Path, str], list[pytest.Item]] = defaultdict(list)
        for item in items:
            if item.get_closest_marker("fast"):
                cases[item.path, item.nodeid.partition("[")[0]].append(item)
        for group in cases.values():
            group.sort(key=lambda item: crc32(item.nodeid.encode()))
        kept = {item for group in cases.values() for item in group[:CASES_OF_FAST]}
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = [item for item in items if item in kept]
        return
    quick: dict[Path, list[bool]] = defaultdict(list)
    for item in items:
        quick[item.path].append(item.get_closest_marker("fast") is not None)
    items.sort(key=lambda item: mean(quick[item.path]))


TINY = (
    "encoder=test_resnet",
    "epochs=2",
    "data.crop_size=32",
    "data.batch_size=4",
    "trainer.accelerator=cpu",
)
SCENES = "data.source.counts={train:8,val:4,test:6}"
SCENES_OF_FOUR = "data.source.counts={train:4,val:4,test:4}"


@pytest.fixture(scope="session")
def tiny() -> list[str]:
    """Overrides of a run of about two seconds, with six drawn test scenes."""
    return [*TINY, SCENES]


@pytest.fixture(scope="session")
def compose() -> Callable[..., DictConfig]:
    """`compose(*overrides)` returns the config of `python train.py OVERRIDES`."""

    def compose(*overrides: str) -> DictConfig:
        config = pixelwise.compose(*overrides)
        OmegaConf.set_struct(config, False)
        return config

    return compose


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[str]]:
    """`folders(task)` returns overrides for a small image folder on disk, without a test split."""
    base = tmp_path_factory.mktemp("folders")
    rng = np.random.default_rng(0)

    def draw(file: Path, array: np.ndarray) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(file)

    for split, count in {"train": 4, "val": 3}.items():
        for i in range(count):
            height, width = 40 + 4 * (i % 2), 48
            image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
            for task in ("segmentation", "tagging"):
                draw(base / f"{task}/{split}/images/{i}.png", image)
                draw(base / f"{task}/{split}/masks/{i}.png", (image[..., 0] > 128).astype(np.uint8))
            draw(base / f"classification/{split}/{'background' if i % 2 else 'road'}/{split}{i}.png", image)

    def overrides(task: str) -> list[str]:
        root = base / task
        return [
            "data=folder",
            f"task={task}",
            f"data.root={root}",
            "data.classes=[background,road]",
            "data.num_workers=0",
        ]

    return overrides


@pytest.fixture(scope="session")
def on_disk(
    folders: Callable[[str], list[str]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], list[str]]:
    """`on_disk(data, task)` returns overrides for a tiny data set of any kind on disk."""
    base = tmp_path_factory.mktemp("on_disk")

    def potsdam() -> list[str]:
        # imported here, so that pytest itself starts without torch
        from pixelwise.drawn.city.potsdam_release import draw_release

        draw_release(base / "potsdam", ["2_10", "2_11", "7_7"], 96, parts=["RGB", "label"])
        return ["data.source.split={train:[2_10],val:[2_11],test:[7_7]}", *_CROPS]

    def potsdam_synthetic() -> list[str]:
        split = "data.source.split={train:[2_10],val:[2_11],test:[2_12]}"
        return ["data.source.size=96", split, *_CROPS]

    def tiles() -> list[str]:
        rng = np.random.default_rng(0)
        for split in ("train", "val"):
            image = rng.integers(0, 256, (90, 100, 3), dtype=np.uint8)
            for kind, array in {"images": image, "masks": (image[..., 0] > 128).astype(np.uint8)}.items():
                (base / f"tiles/{kind}/{split}").mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(base / f"tiles/{kind}/{split}/a.tif")
        return ["data.classes=[background,road]", "data.source.window=64", "data.source.draws.count=8"]

    def pets() -> list[str]:
        if not (base / "pets").exists():
            write_pets(base / "pets", per_breed=6)
        return []

    makers = {f.__name__: f for f in (potsdam, potsdam_synthetic, tiles, pets)}

    def overrides(data: str, task: str) -> list[str]:
        root = base / data
        if data in BENCHMARKS:
            if not root.exists():
                BENCHMARKS[data](root)
            return [f"data={data}", f"task={task}", f"data.root={root}"]
        if data in makers:
            return [f"data={data}", f"task={task}", f"data.root={root}", *makers[data]()]
        if importlib.util.find_spec(f"tests.data.draw_{data}"):  # draws a data set of the user's own
            words = importlib.import_module(f"tests.data.draw_{data}").draw(root)
            return [f"data={data}", f"task={task}", f"data.root={root}", *words]
        return folders(task) if data == "folder" else [f"data={data}", f"task={task}", SCENES_OF_FOUR]

    return overrides


_CROPS = ["data.source.draws.count=8", "data.source.window=64"]


def run_script(
    cwd: Path, name: str, *arguments: str, python: tuple[str, ...] = (), env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a script of the repository root like a user, in another working directory."""
    unset = ("HYDRA_FULL_ERROR", "WANDB_SERVICE")  # not set in the shell of a user
    environment = {k: v for k, v in os.environ.items() if k not in unset} | dict(env or {})
    command = [sys.executable, *python, str(ROOT / name), *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(autouse=True)
def stop_wandb() -> Iterator[None]:
    """Stop wandb in this process after a test, so that child processes do not inherit its service."""
    yield
    if (wandb := sys.modules.get("wandb")) is not None:
        wandb.finish()  # teardown alone would leave a run that accepts no more data
        wandb.teardown()


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`script("train.py", *arguments)` runs a script in an empty folder."""
    return partial(run_script, tmp_path)


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., Done]:
    """`command("train", *arguments)` runs a command in a fork of this process, in an empty folder."""
    return partial(forked, tmp_path)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny: list[str]) -> Path:
    """The run folder of a tiny segmenter, made by `python train.py`. Tests must not write to it."""
    folder = tmp_path_factory.mktemp("runs") / "segmenter"
    done = run_script(folder.parent, "train.py", *tiny, f"hydra.run.dir={folder}")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def trained_classifier(tmp_path_factory: pytest.TempPathFactory, folders: Callable[[str], list[str]]) -> Path:
    """The run folder of a tiny classifier of images on disk, without a test split."""
    folder = tmp_path_factory.mktemp("runs") / "classifier"
    done = run_script(folder.parent, "train.py", *folders("classification"), *TINY, f"hydra.run.dir={folder}")
    assert done.returncode == 0, done.stderr
    return folder
