"""The run folder: the record of a run, complete enough to resume it on another machine.

| file | content |
|---|---|
| `config.yaml` | the composed config, without interpolations that depend on time or machine |
| `overrides.yaml` | the overrides as typed |
| `environment.json`, `uncommitted.diff` | command, git commit, package versions, device |
| `checkpoints/{best,last,previous}.ckpt` | weights (best); the whole training state (last, previous) |
| `checkpoints/best_before_stop.ckpt` | best weights before a stop within an epoch, for `resume=` |
| `metrics.csv`, `metrics.json` | scores over time; final scores by flat name |
| `plan.json` | the phases and their learning rates; the step at which the training stopped before its end |
| `speed.csv` | images/s, waiting and memory by epoch |
| `confusion.json`, `samples.json` | the last evaluation: confusion matrix; best, median, worst samples |
| `train.log`, `pictures/` | printed lines; figures |
| `run.lock` | while it is trained: host and number of the process |
| `problems.txt` | if the data prevented the start: every item that cannot be used |
| `report.html` | all of this as a page; `python scripts/report.py RUN` writes it again |
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.base import Node
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from pixelwise.errors import UserError
from pixelwise.files import RESTORE, write_json, write_text
from pixelwise.overrides import key_of, typed
from pixelwise.runs import records
from pixelwise.runs.environment import _git, environment
from pixelwise.runs.untrusted import check_config, check_links, check_overrides, is_reference


def create(folder: Path, config: DictConfig, overrides: Sequence[str]) -> Path:
    """Create a run folder and record the config, the overrides and the environment.

    Raises:
        UserError: the folder already holds a run, or the config or the overrides could not be read again.
    """
    if (folder / "config.yaml").exists():
        raise UserError(f"{folder} already holds a run", fix="omit hydra.run.dir, or name a new folder")
    fix = "another name, below one of these keys; or add the key to a conf/train.yaml of your own"
    frozen = check_config(freeze_interpolations(config), folder / "config.yaml", fix)
    check_overrides(_frozen(overrides, frozen), folder / "overrides.yaml")
    folder.mkdir(parents=True, exist_ok=True)
    check_links(folder)
    write_json(folder / "environment.json", environment())
    if diff := _git("diff", "HEAD"):
        write_text(folder / "uncommitted.diff", diff + "\n")
    write_choices(folder, frozen, overrides)  # last: from here on the folder holds a run
    _point_latest(folder)
    return folder


def write_choices(folder: Path, config: DictConfig, overrides: Sequence[str]) -> None:
    """Write `overrides.yaml`, then `config.yaml`: a folder that has the second has both."""
    words = OmegaConf.create(_frozen(overrides, config))
    write_text(folder / "overrides.yaml", OmegaConf.to_yaml(words))
    write_text(folder / "config.yaml", OmegaConf.to_yaml(config, resolve=False))


def _frozen(overrides: Sequence[str], config: DictConfig) -> list[str]:
    """The overrides, with the values of the config in those that read more than other keys."""
    return [
        word
        if is_reference(word)
        else f"{word.partition('=')[0]}={typed(OmegaConf.select(config, key_of(word)))}"
        for word in overrides
    ]


def freeze_interpolations(config: DictConfig) -> DictConfig:
    """Copy a config without references to the clock, the environment or relative paths.

    `encoder.weights=runs/latest` becomes the run that the link points to before this run is created.
    """
    config = config.copy()
    _freeze_volatile(config)
    for key in ("data.root", "encoder.weights"):
        path = OmegaConf.select(config, key)
        if path is not None:
            OmegaConf.update(config, key, str(Path(path).expanduser().resolve()))
    return config


def _freeze_volatile(node: Any) -> None:
    """Replace interpolations that read more than other keys by their values, in place."""
    keys = range(len(node)) if OmegaConf.is_list(node) else list(node)
    for key in keys:
        child: Node | None = node._get_node(key)
        if OmegaConf.is_config(child) and not OmegaConf.is_interpolation(node, key):
            _freeze_volatile(child)
        elif isinstance(raw := child._value() if child is not None else None, str) and not is_reference(raw):
            node[key] = node[key]


def open_run(folder: str | Path, key: str = "run") -> Path:
    """Check that the folder given for a config key holds a run, and return its absolute path."""
    if not str(folder).strip():
        raise UserError(f"{key}= is empty", expected="the folder that train.py printed")
    folder = Path(folder).expanduser()
    try:
        is_run = (folder / "config.yaml").is_file()
    except PermissionError as error:
        raise UserError(f"{key}={folder} cannot be read", found=error.strerror) from error
    if not is_run:
        state = "a folder without config.yaml" if folder.is_dir() else "no such folder"
        raise UserError(
            f"{key}={folder} is not a run folder", found=state, expected="the folder that train.py printed"
        )
    check_links(folder)
    config = load_config(folder)
    if missing := [key for key in records.RunConfig.__annotations__ if key not in config]:
        found = f"no key {', '.join(missing)}"
        raise UserError(f"{folder / 'config.yaml'} is not the config of a run", found=found, fix=RESTORE)
    records.check(folder / "config.yaml", OmegaConf.to_container(config, resolve=True), records.RunConfig)
    return folder.resolve()


def load_config(folder: Path) -> DictConfig:
    """Read the config of a run."""
    config = _load(folder / "config.yaml")
    if not isinstance(config, DictConfig):
        raise UserError(f"{folder / 'config.yaml'} is not the config of a run", found="a list", fix=RESTORE)
    return check_config(config, folder / "config.yaml")


def load_overrides(folder: Path) -> list[str]:
    """Read the overrides of a run, as typed."""
    overrides = _load(folder / "overrides.yaml")
    if not OmegaConf.is_list(overrides):
        raise UserError(f"{folder / 'overrides.yaml'} is not a list of overrides", fix=RESTORE)
    words = [str(overrides._get_node(index)) for index in range(len(overrides))]
    return check_overrides(words, folder / "overrides.yaml")


def _load(file: Path) -> Any:
    try:
        return OmegaConf.load(file)
    except (OmegaConfBaseException, YAMLError, ValueError, OSError) as error:
        raise UserError(f"{file} cannot be read", found=error, fix=RESTORE) from error


def write_scores(file: Path, scores: Mapping[str, float]) -> None:
    """Write scores by flat name as standard JSON: undefined scores become null."""
    write_json(
        file, {name: value if math.isfinite(value) else None for name, value in sorted(scores.items())}
    )


def read_scores(file: Path) -> dict[str, float]:
    """Read scores written by `write_scores`; null becomes NaN."""
    scores = records.read(file, records.Scores)
    return {name: math.nan if value is None else value for name, value in scores.items()}


def _point_latest(folder: Path) -> None:
    """Point the link `latest`, next to the run folders, to the newest run."""
    link, temporary = folder.parent / "latest", folder.parent / f".latest.{os.getpid()}"
    if link.exists() and not link.is_symlink():
        return
    try:
        temporary.symlink_to(folder.name, target_is_directory=True)
        temporary.replace(link)
    except OSError:
        temporary.unlink(missing_ok=True)  # the file system has no links
