"""Which callbacks, loggers, strategies and weights a run folder may choose for a training on this machine.

In a new training they are the user's choice. In a run folder they may be a stranger's, and some of them write
to any place or send data to any address.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from pixelwise.errors import UserError
from pixelwise.overrides import conf_folders, key_of
from pixelwise.runs.untrusted import texts
from pixelwise.runtime.own_packages import own_packages

TRUSTED = "PIXELWISE_TRUSTED_RUNS"
"""The environment variable that names the user's own run folders, or folders above them, as PATH does."""

_UPLOADS_TO = "entity"
"""Key of a logger that names the account to which the run is uploaded."""

_Named = dict[str, Mapping[str, Any]]

_DOWNLOADS_FROM = ("pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path")
"""Keys of an encoder that name the address or the file of timm's weights."""


def check_classes(config: DictConfig, folder: Path, typed: Iterable[str], groups: Sequence[str]) -> None:
    """Refuse classes from outside the project that neither conf/ nor the user names, in groups of a config.

    Args:
        config: the config that was read from the run folder.
        folder: the run folder.
        typed: the overrides that the user typed now.
        groups: top keys of the config whose objects are going to be built.

    Raises:
        UserError: the first class, argument of a logger, or account that is refused.
    """
    if is_trusted(folder):
        return
    chosen = [(f"encoder.{option}", config.encoder.get(option)) for option in _DOWNLOADS_FROM]
    refused = [(key, value) for key, value in chosen if "encoder" in groups and value]
    for group in groups:
        named, node = _named_in_conf(group), config.get(group)
        nodes: Any = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else {}
        for name, child in nodes.items():
            if isinstance(child, Mapping):
                refused += _foreign_classes(f"{group}.{name}", child, named)
                refused += _foreign_options(f"{group}.{name}", child, named) if group == "logger" else ()
    for key, value in refused:
        if not _is_typed(key, typed):
            raise UserError(
                f"{folder / 'config.yaml'}: {key} is not used, as the run may come from somebody else",
                found=f"{key}={value}",
                expected="classes, and options of loggers and encoders, that a file of conf/ names",
                fix=f"repeat it in this command; or {TRUSTED}={folder} in the environment, if it is yours",
            )


def _is_typed(key: str, words: Iterable[str]) -> bool:
    """Whether an override sets a key, by itself or in the mapping of a callback, logger or strategy."""
    name = key.rpartition(".")[2]
    for word in words:
        typed = key_of(word)
        if typed == key or ("." in typed and key.startswith(f"{typed}.") and f"{name}:" in word):
            return True
    return False


def _foreign_classes(key: str, node: Mapping[str, Any], named: _Named) -> Iterator[tuple[str, str]]:
    """The keys of the classes in a node that are neither the project's nor the user's, nor in conf/."""
    own = ("pixelwise.", *(f"{name}." for name in own_packages()))
    for part, target in texts(node):
        if part.endswith("_target_") and target not in named and not target.startswith(own):
            yield f"{key}.{part}", target


def _foreign_options(key: str, node: Mapping[str, Any], named: _Named) -> Iterator[tuple[str, Any]]:
    """The options of a logger that conf/ does not name, and an account that is not the user's."""
    usual = named.get(str(node.get("_target_")), {})
    for option, value in node.items():
        yours = (None, usual.get(option), os.environ.get("WANDB_ENTITY"))
        if option not in usual or (option == _UPLOADS_TO and value not in yours):
            yield f"{key}.{option}", value


def is_trusted(folder: Path) -> bool:
    """Whether a folder, or one above it, is named in the environment variable."""
    trusted = [
        Path(path).expanduser().resolve() for path in os.environ.get(TRUSTED, "").split(os.pathsep) if path
    ]
    return any(folder.resolve().is_relative_to(path) for path in trusted)


def trust(folder: Path) -> None:
    """Trust a folder in this process and in those that it starts, such as the other ones of a training."""
    os.environ[TRUSTED] = os.pathsep.join([str(folder.resolve()), *filter(None, [os.environ.get(TRUSTED)])])


def _named_in_conf(group: str) -> _Named:
    """The nodes of conf/<group>/ that name a class, by this class."""
    found: _Named = {}

    def visit(node: Any) -> None:
        if isinstance(node, Mapping):
            if "_target_" in node:
                found[node["_target_"]] = node
            for child in node.values():
                visit(child)

    for conf in conf_folders():
        for file in sorted((conf / group).glob("*.yaml")):
            visit(OmegaConf.to_container(OmegaConf.load(file), resolve=False))
    return found
