"""Helpers for Hydra's overrides and for the keys of a config."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

_HERE = Path(__file__).parent
CONF = _HERE / "conf" if (_HERE / "conf").is_dir() else _HERE.parents[1] / "conf"
"""The folder of the project's config files: in the installed package, or at the root of a clone."""


def quoted(value: str) -> str:
    """The text in quotes, so that Hydra reads special characters such as commas and brackets as text."""
    return "'" + value.replace("'", r"\'") + "'"


def key_of(override: str) -> str:
    """The key of an override: data.root for `+data.root=x` and for `~data.root`."""
    return override.split("=", 1)[0].lstrip("+~")


def nodes(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """All (dotted key, node) pairs of a config; interpolations are not followed."""
    for key in config:
        node = config._get_node(key)
        yield f"{prefix}{key}", node
        if OmegaConf.is_dict(node) and not (
            node._is_none() or node._is_missing() or node._is_interpolation()
        ):
            yield from nodes(node, f"{prefix}{key}.")
