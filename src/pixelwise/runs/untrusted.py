"""Checks of run folders, checkpoints and hub folders, which may come from a stranger: their files are data.

| checked | refused |
|---|---|
| keys of a config | keys that conf/train.yaml does not have, such as those that configure Hydra |
| its values | interpolations that read anything but other keys of the same config; control characters |
| overrides | anything but a plain `key=value` or `group=option` |
| links | those that lead out of the folder |

What the user types, and the user's own conf/, is not checked here. `pixelwise.runs.trust` and
`pixelwise.build.roles` check the classes that a config names.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pixelwise.errors import CONTROL, UserError
from pixelwise.files import RESTORE
from pixelwise.overrides import conf_folders

_REFERENCE = re.compile(r"\$\{\s*(?:(?:oc\.select|mode_of|scored)\s*:[^${}]*|[\w.\[\]-]+)\s*\}")
"""An interpolation that reads only keys of the config, without other interpolations inside."""

_KEY = r"\w[\w$-]*(?:[./]\w[\w$-]*)*"
_OVERRIDE = re.compile(
    rf"(?:\+{{0,2}}|~)(?P<key>{_KEY})(?:@(?P<package>{_KEY}))?(?:=(?P<value>.*))?", re.DOTALL
)
_NAME = r"\w[\w.-]*(?:/\w[\w.-]*)*"
_OPTION = re.compile(rf"{_NAME}|\[\s*(?:{_NAME}(?:\s*,\s*{_NAME})*)?\s*\]")
"""The name of an option, or of several in brackets; a path would lead to a file outside conf/."""


# ---------------------------------------------------------------------------------------------- configs
def check_config(config: DictConfig, file: Path, fix: str = RESTORE) -> DictConfig:
    """Return a config that was read from a file, if it is data: known keys, and values without side effects.

    Args:
        config: the config, with its interpolations.
        file: where it comes from, for messages.
        fix: what the user can do, for messages.

    Raises:
        UserError: the first key or value that is refused.
    """
    refused = f"{file} is not the config of a run"
    known = known_keys()
    if unknown := [str(key) for key in config if key not in known]:
        raise UserError(
            refused,
            found=f"the key {unknown[0]}"
            + ", which would configure Hydra" * (unknown[0] in ("hydra", "defaults")),
            expected="the keys of conf/train.yaml, the project's or your own",
            fix=fix,
        )
    for key, value in texts(OmegaConf.to_container(config, resolve=False)):
        if not is_reference(value):
            found = f"{key}: {value}, which reads more than other keys of this file"
            raise UserError(
                refused, found=found, expected="values, or references such as ${data.root}", fix=fix
            )
        in_one_line = key + value * key.startswith("data.classes")
        if CONTROL.search(key + value) or "\n" in in_one_line:
            raise UserError(refused, found=f"{key}: {value!r}", expected="no control characters", fix=fix)
    try:
        resolved = OmegaConf.to_container(config, resolve=True)
    except (OmegaConfBaseException, RecursionError) as error:
        raise UserError(refused, found=str(error) or type(error).__name__, fix=fix) from error
    for key, value in texts(resolved):
        if "${" in value:  # put together from several values, it would be resolved when an object is built
            raise UserError(refused, found=f"{key}, which becomes the interpolation {value}", fix=fix)
    return config


def known_keys() -> set[str]:
    """The keys at the top of a run's config: those of conf/train.yaml, and the groups."""
    keys = {folder.name for conf in conf_folders() for folder in conf.iterdir() if folder.is_dir()}
    for conf in conf_folders():
        if (conf / "train.yaml").is_file():
            keys |= {str(key) for key in OmegaConf.load(conf / "train.yaml")}
    return keys - {"defaults", "hydra"}


def is_reference(text: str) -> bool:
    """Whether all interpolations of a text read only keys of the config that contains it."""
    while (shorter := _REFERENCE.sub("x", text)) != text:
        text = shorter
    return "${" not in text


def texts(node: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """All (dotted key, text) pairs of nested containers; a value that is no text gives an empty text."""
    if isinstance(node, Mapping):
        for name, child in node.items():
            yield from texts(child, f"{key}.{name}" if key else str(name))
    elif isinstance(node, list):
        for index, child in enumerate(node):
            yield from texts(child, f"{key}[{index}]")
    else:
        yield key, node if isinstance(node, str) else ""


# -------------------------------------------------------------------------------------------- overrides
def check_overrides(words: Sequence[str], file: Path) -> list[str]:
    """Return the overrides of a file, if each is a plain override of a known key.

    Raises:
        UserError: the first override that is refused, such as a flag, or a key that configures Hydra.
    """
    known = known_keys()
    for word in words:
        match = _OVERRIDE.fullmatch(word)
        tops = [re.split(r"[./]", part)[0] for part in match.group("key", "package") if part] if match else []
        value = match["value"] if match else None
        value = "" if value is None and word.startswith("~") else value
        if "hydra" in tops:
            found = f"{word}, which would configure Hydra"
        elif match is None or value is None or not set(tops) <= known:
            found = word
        elif not is_reference(value) or CONTROL.search(value):
            found = repr(word)
        elif _is_group(match["key"]) and not _OPTION.fullmatch(value.strip("'\"")):
            found = f"{word}, which is not the name of an option"
        else:
            continue
        raise UserError(
            f"{file} holds an override that does not belong to a run",
            found=found,
            expected="key=value or group=option, for the keys and groups of conf/",
            fix=RESTORE,
        )
    return list(words)


def _is_group(key: str) -> bool:
    return any((folder / key).is_dir() for folder in conf_folders())


# ------------------------------------------------------------------------------------------------ links
_OF_WANDB = re.compile(r"(offline-)?run-\d+_\d+-")


def check_links(folder: Path) -> None:
    """Refuse symbolic links that lead out of a folder: files behind them would be overwritten or published.

    The folders of earlier starts of W&B, which hold links to its logs, are neither read nor written again.

    Args:
        folder: a run folder, or that of a sweep, which holds run folders.

    Raises:
        UserError: the first such link.
    """
    root = folder.resolve()
    for parent, folders, names in os.walk(root):
        for path in (Path(parent, name) for name in (*folders, *names)):
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(root):
                raise UserError(
                    f"{path} leads out of the run folder",
                    found=f"a link to {path.readlink()}",
                    expected="a file or folder",
                    fix="move what it leads to in its place, or remove it",
                )
        if Path(parent).name == "wandb" and root in (Path(parent).parent, Path(parent).parent.parent):
            folders[:] = [name for name in folders if not _OF_WANDB.match(name)]
