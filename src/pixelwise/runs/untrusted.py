"""Checks of run folders, checkpoints and hub folders, which may come from a stranger: their files are data.

| checked | refused |
|---|---|
| keys of a config | keys that conf/train.yaml does not have, such as those that configure Hydra |
| its values | interpolations that read anything but other keys of the same config; control characters |
| overrides | anything but a plain `key=value` or `group=option` |
| classes | for a training, callbacks, loggers and strategies that conf/ does not name |
| links | those that lead out of the folder |

What the user types, and the user's own conf/, is not checked here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pixelwise.errors import CONTROL, UserError
from pixelwise.files import RESTORE
from pixelwise.overrides import conf_folders, key_of
from pixelwise.runtime.own_packages import own_packages

TRUSTED = "PIXELWISE_TRUSTED_RUNS"
"""The environment variable that names the user's own run folders, or folders above them, as PATH does."""

_REFERENCE = re.compile(r"\$\{\s*(?:(?:oc\.select|mode_of)\s*:[^${}]*|[\w.\[\]-]+)\s*\}")
"""An interpolation that reads only keys of the config, without other interpolations inside."""

_KEY = r"\w[\w$-]*(?:[./]\w[\w$-]*)*"
_OVERRIDE = re.compile(
    rf"(?:\+{{0,2}}|~)(?P<key>{_KEY})(?:@(?P<package>{_KEY}))?(?:=(?P<value>.*))?", re.DOTALL
)
_OPTION = re.compile(r"null|[\w.-]*\w[\w.-]*|\[\s*[\w-]*(?:\s*,\s*[\w-]+)*\s*\]")
"""The name of an option, or of several in brackets; a path would lead to a file outside conf/."""

_UPLOADS_TO = "entity"
"""Key of a logger that names the account to which the run is uploaded."""


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
    if unknown := [str(key) for key in config if key not in known_keys()]:
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
    for word in words:
        match = _OVERRIDE.fullmatch(word)
        tops = [re.split(r"[./]", part)[0] for part in match.group("key", "package") if part] if match else []
        value = (match and match["value"]) or ""
        if "hydra" in tops:
            found = f"{word}, which would configure Hydra"
        elif not match or not set(tops) <= known_keys() or not is_reference(value) or CONTROL.search(word):
            found = word
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


# ---------------------------------------------------------------------------------------------- classes
def check_classes(config: DictConfig, folder: Path, typed: Iterable[str], groups: Iterable[str]) -> None:
    """Refuse classes from outside the project that neither conf/ nor the user names, in groups of a config.

    Some callbacks and loggers write to any place or send data to any address. In a new training they are the
    user's choice; in a run folder they may be a stranger's.

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
        expected="classes, and options of loggers, that a file of conf/ names",
        fix=f"repeat {key}=… in this command; or {TRUSTED}={folder} in the environment, if the run is yours",
    )


# ------------------------------------------------------------------------------------------------ links
def check_links(folder: Path) -> None:
    """Refuse symbolic links that lead out of a folder: files behind them would be overwritten or published.

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
