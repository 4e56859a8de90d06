"""Which callbacks, loggers, strategies and weights a run folder may choose for a training on this machine.

In a new training they are the user's choice. In a run folder they may be a stranger's, and some of them write
to any place or send data to any address.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
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
    keys = [key_of(word) for word in typed]
    for option in _DOWNLOADS_FROM if "encoder" in groups else ():
        if config.encoder.get(option) and not any(key.startswith(f"encoder.{option}") for key in keys):
            raise _not_named(f"encoder.{option}={config.encoder[option]}", f"encoder.{option}", folder)
    for group in groups:
        named = _named_in_conf(group)
        plain: Any = OmegaConf.to_container(config.get(group) or {}, resolve=True)
        for name, node in plain.items() if isinstance(plain, Mapping) else ():
            key = f"{group}.{name}"
            if key in keys or not isinstance(node, Mapping):
                continue
            for part, target in texts(node, key):
                is_class = part.endswith("._target_")
                if is_class and f"{target}." not in named and not target.startswith(_own()):
                    raise _not_named(f"{part}={target}", key, folder)
            usual = named.get(f"{node.get('_target_')}.", {})
            if group == "logger":
                for option in node:
                    if option not in usual and f"{key}.{option}" not in keys:
                        raise _not_named(f"{key}.{option}={node[option]}", f"{key}.{option}", folder)
                account, yours = (
                    node.get(_UPLOADS_TO),
                    (usual.get(_UPLOADS_TO), os.environ.get("WANDB_ENTITY")),
                )
                if account not in (None, *yours) and f"{key}.{_UPLOADS_TO}" not in keys:
                    raise _not_named(f"{key}.{_UPLOADS_TO}={account}", f"{key}.{_UPLOADS_TO}", folder)


def is_trusted(folder: Path) -> bool:
    """Whether a folder, or one above it, is named in the environment variable."""
    trusted = [
        Path(path).expanduser().resolve() for path in os.environ.get(TRUSTED, "").split(os.pathsep) if path
    ]
    return any(folder.resolve().is_relative_to(path) for path in trusted)


def trust(folder: Path) -> None:
    """Trust a folder in this process and in those that it starts, such as the other ones of a training."""
    os.environ[TRUSTED] = os.pathsep.join([str(folder.resolve()), *filter(None, [os.environ.get(TRUSTED)])])


def _own() -> tuple[str, ...]:
    return ("pixelwise.", *(f"{name}." for name in own_packages()))


def _named_in_conf(group: str) -> dict[str, Mapping[str, Any]]:
    """The nodes of conf/<group>/ that name a class, by this class with a dot at its end."""
    found: dict[str, Mapping[str, Any]] = {}

    def visit(node: Any) -> None:
        if isinstance(node, Mapping):
            if "_target_" in node:
                found[f"{node['_target_']}."] = node
            for child in node.values():
                visit(child)

    for conf in conf_folders():
        for file in sorted((conf / group).glob("*.yaml")):
            visit(OmegaConf.to_container(OmegaConf.load(file), resolve=False))
    return found


def _not_named(found: str, key: str, folder: Path) -> UserError:
    return UserError(
        f"{folder / 'config.yaml'}: {key} is not used, as the run may come from somebody else",
        found=found,
        expected="classes, and options of loggers and encoders, that a file of conf/ names",
        fix=f"repeat {key}=… in this command; or {TRUSTED}={folder} in the environment, if the run is yours",
    )
