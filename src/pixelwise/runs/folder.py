"""The run folder: everything a run was, enough to go on from on another machine.

| file | content |
|---|---|
| `config.yaml` | the composed config; inner interpolations kept, nothing of the moment or the machine left |
| `overrides.yaml` | what was typed |
| `environment.json`, `uncommitted.diff` | command, git commit, package versions, device |
| `checkpoints/{best,last,previous}.ckpt` | weights (best); the whole training state (last, previous) |
| `metrics.csv`, `metrics.json` | scores over time; final scores by flat name |
| `plan.json`, `speed.csv` | the phases and their learning rates; images/s, waiting and memory by epoch |
| `confusion.json`, `samples.json` | the last evaluation: confusion matrix; best, median, worst samples |
| `train.log`, `pictures/` | what was printed; what was drawn |
| `problems.txt` | where data stopped the start: every item that cannot be used |
| `report.html` | all of this to look at; `python scripts/report.py RUN` makes it again |
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.base import Node
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from pixelwise.errors import UserError
from pixelwise.files import RESTORE, read_json, write_json, write_text
from pixelwise.overrides import key_of
from pixelwise.runs.environment import _git, environment

PARTS = ("data", "encoder", "decoder", "task", "trainer", "schedule")
"""What every run's config has, among others."""

VOLATILE = re.compile(r"\$\{(hydra|now|oc\.env)[:.]")
"""Interpolations whose value belongs to the moment or the machine of the first start."""


def create(folder: Path, config: DictConfig, overrides: Sequence[str]) -> Path:
    """Make a fresh run folder and write down what is about to happen.

    Raises:
        UserError: when the folder already holds a run.
    """
    if (folder / "config.yaml").exists():
        raise UserError(
            f"{folder} already holds a run", fix="leave hydra.run.dir alone, or name a folder that is new"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "environment.json", environment())
    if diff := _git("diff", "HEAD"):
        write_text(folder / "uncommitted.diff", diff + "\n")
    write_choices(
        folder, freeze_interpolations(config), overrides
    )  # last: from here on the folder holds a run
    _point_latest(folder)
    return folder


def write_choices(folder: Path, config: DictConfig, overrides: Sequence[str]) -> None:
    """What was typed, and what it led to; a folder with a `config.yaml` has both."""
    write_text(folder / "overrides.yaml", OmegaConf.to_yaml(OmegaConf.create(list(overrides))))
    write_text(folder / "config.yaml", OmegaConf.to_yaml(config, resolve=False))


def freeze_interpolations(config: DictConfig) -> DictConfig:
    """A copy that means the same tomorrow and elsewhere: no clock, no environment, no relative path.

    `encoder.weights=runs/latest` becomes the run that it leads to now, before this one.
    """
    config = config.copy()
    _freeze_passing(config)
    for key in ("data.root", "encoder.weights"):
        path = OmegaConf.select(config, key)
        if path is not None:
            OmegaConf.update(config, key, str(Path(path).expanduser().resolve()))
    return config


def _freeze_passing(node: Any) -> None:
    """Replace interpolations of the moment by their values, in place."""
    keys = range(len(node)) if OmegaConf.is_list(node) else list(node)
    for key in keys:
        child: Node | None = node._get_node(key)
        if OmegaConf.is_config(child) and not OmegaConf.is_interpolation(node, key):
            _freeze_passing(child)
        elif isinstance(raw := child._value() if child is not None else None, str) and VOLATILE.search(raw):
            node[key] = node[key]


def open_run(folder: str | Path, key: str = "run") -> Path:
    """Check that a folder, typed as the value of a key, holds a run."""
    folder = Path(folder).expanduser()
    if not (folder / "config.yaml").is_file():
        looks = "a folder without config.yaml" if folder.is_dir() else "no such folder"
        raise UserError(
            f"{key}={folder} is not a run folder", found=looks, expected="the folder that train.py printed"
        )
    config = load_config(folder)
    if missing := [part for part in PARTS if part not in config]:
        found = f"nothing below {', '.join(missing)}"
        raise UserError(f"{folder / 'config.yaml'} is no run's config", found=found, fix=RESTORE)
    if steering := [str(key) for key in config if key in ("defaults", "hydra")]:
        found = f"{' and '.join(steering)}, which would steer Hydra"
        raise UserError(f"{folder / 'config.yaml'} is no run's config", found=found, fix=RESTORE)
    return folder.resolve()


def load_config(folder: Path) -> DictConfig:
    """The config of a run."""
    config = _load(folder / "config.yaml")
    if not isinstance(config, DictConfig):
        raise UserError(f"{folder / 'config.yaml'} is no run's config", found="a list", fix=RESTORE)
    return config


def load_overrides(folder: Path) -> list[str]:
    """What was typed for a run."""
    overrides = _load(folder / "overrides.yaml")
    if not OmegaConf.is_list(overrides):
        raise UserError(f"{folder / 'overrides.yaml'} is no list of overrides", fix=RESTORE)
    words = list(map(str, overrides))
    if steering := [word for word in words if key_of(word).split(".")[0].split("/")[0] == "hydra"]:
        found = f"{steering[0]}, which would steer Hydra"
        raise UserError(
            f"{folder / 'overrides.yaml'} holds more than a run's choices", found=found, fix=RESTORE
        )
    return words


def _load(file: Path) -> Any:
    try:
        return OmegaConf.load(file)
    except (OmegaConfBaseException, YAMLError, ValueError, OSError) as error:
        raise UserError(f"{file} cannot be read", found=error, fix=RESTORE) from error


def write_scores(file: Path, scores: Mapping[str, float]) -> None:
    """Scores by flat name, as JSON that any parser reads: undefined ones become null."""
    write_json(
        file, {name: value if math.isfinite(value) else None for name, value in sorted(scores.items())}
    )


def read_scores(file: Path) -> dict[str, float]:
    """What `write_scores` wrote, null becoming NaN again."""
    scores = read_json(file)
    return {name: math.nan if value is None else value for name, value in scores.items()}


def _point_latest(folder: Path) -> None:
    """Let `latest`, beside the runs, lead to the newest."""
    link, temporary = folder.parent / "latest", folder.parent / f".latest.{os.getpid()}"
    if link.exists() and not link.is_symlink():
        return
    try:
        temporary.symlink_to(folder.name, target_is_directory=True)
        temporary.replace(link)
    except OSError:
        temporary.unlink(missing_ok=True)  # a file system without links
