"""Helpers for Hydra's overrides and for the keys of a config."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from pixelwise.protocols.evaluation import scored

_HERE = Path(__file__).parent
CONF = _HERE / "conf" if (_HERE / "conf").is_dir() else _HERE.parents[1] / "conf"
"""The folder of the project's config files: in the installed package, or at the root of a clone."""

OF_RUNS = ("config.yaml", "jobs.json", "multirun.yaml", "study.db")
"""Files of run folders, sweeps and searches."""


def own_folder() -> Path | None:
    """The user's own conf/ in the current folder, or None; its files extend or replace the project's files.

    A conf/ beside the files of a run is not used: that folder may come from an untrusted source, and the
    files of conf/ decide which classes are called.
    """
    folder = Path.cwd() / "conf"
    is_own = folder.is_dir() and folder.resolve() != CONF and not any(Path(name).exists() for name in OF_RUNS)
    return folder if is_own else None


def conf_folders() -> list[Path]:
    """The folders in increasing priority: of two files with the same name, the last one is used."""
    return [CONF, *([own] if (own := own_folder()) else [])]


def mode_of(monitor: str, of: str = "", mode: str = "max") -> str:
    """Whether the largest or the smallest value of a score is the best: "max" or "min".

    Losses, such as val/loss and val/loss/dice, are minimised, and all other scores are maximised. In
    conf/ this is `${mode_of:${.monitor}}`.

    Args:
        monitor: the flat name of the score.
        of: the name of a score whose mode is given.
        mode: the mode of that score.
    """
    if monitor == of:
        return mode
    return "min" if monitor.split("/")[1:2] == ["loss"] else "max"


OmegaConf.register_new_resolver("mode_of", mode_of, replace=True)
OmegaConf.register_new_resolver("scored", scored, replace=True)


def quoted(value: str) -> str:
    """The text in quotes, so that Hydra reads special characters such as commas and brackets as text."""
    return "'" + value.replace("'", r"\'") + "'"


def typed(value: Any) -> str:
    """A value, or nested containers of values, in the syntax of an override."""
    if OmegaConf.is_dict(value):
        return "{" + ",".join(f"{key}:{typed(child)}" for key, child in value.items()) + "}"
    if OmegaConf.is_list(value):
        return "[" + ",".join(map(typed, value)) + "]"
    return quoted(value) if isinstance(value, str) else json.dumps(value)


def key_of(override: str) -> str:
    """The key of an override: data.root for `+data.root=x` and for `~data.root`."""
    return override.split("=", 1)[0].lstrip("+~")


def origin(config: Any, key: str) -> str:
    """Where the value of a key comes from: " (read from ${data.crop_size})", or "" if it has its own."""
    node = config
    for name in key.split("."):
        node = node._get_node(name) if OmegaConf.is_dict(node) else None
        if node is not None and node._is_interpolation():
            return f" (read from {node._value()})"
    return ""


def nodes(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """All (dotted key, node) pairs of a config; interpolations are not followed."""
    for key in config:
        node = config._get_node(key)
        yield f"{prefix}{key}", node
        if OmegaConf.is_dict(node) and not (
            node._is_none() or node._is_missing() or node._is_interpolation()
        ):
            yield from nodes(node, f"{prefix}{key}.")
