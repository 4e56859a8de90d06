"""Calls the classes that a config names, after a check that they are allowed."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf

from pixelwise.build.roles import plays, roles
from pixelwise.errors import UserError
from pixelwise.runtime.own_packages import VARIABLE, own_packages


def make(config: Any, key: str, **arguments: Any) -> Any:
    """Instantiate a config node, after a check of all classes that it names.

    Args:
        config: a mapping with `_target_`; its values may be such mappings, too.
        key: the config key of the node, for messages.
        **arguments: additional arguments of the class.

    Raises:
        UserError: a class is not allowed, or does not accept its arguments.
    """
    if not isinstance(config, Mapping | DictConfig) or "_target_" not in config:
        found = "null" if config is None else config
        raise UserError(
            f"{key} cannot be built: it is not a mapping with `_target_`",
            found=found,
            expected="a class as _target_, and its arguments",
        )
    outer, *inner = targets(config)
    class_of(outer, key)
    for target in inner:
        class_of(target, key, nested=True)
    try:
        return instantiate(config, _convert_="all", **arguments)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, UserError):
            raise cause from error
        if isinstance(cause, ImportError):
            raise UserError(
                f"{key}: {config['_target_']} needs a package that is missing", found=cause
            ) from error
        if isinstance(cause, TypeError | ValueError | OverflowError | AttributeError):
            raise UserError(
                f"{key}: {config['_target_']} does not accept these arguments", found=cause
            ) from error
        raise


def targets(config: Any) -> Iterator[str]:
    """All values of `_target_` in nested containers, the outermost first."""
    if isinstance(config, Mapping | DictConfig):
        if "_target_" in config:
            yield str(config["_target_"])
        for key, value in config.items():
            if key != "_target_":
                yield from targets(value)
    elif isinstance(config, list | tuple) or OmegaConf.is_list(config):
        for value in config:
            yield from targets(value)


def class_of(target: str, key: str, nested: bool = False) -> type:
    """The class that a config names, if it plays the role of the key: a config may come from a stranger.

    The module that defines the class must be allowed, so that names which an allowed module only imports are
    refused. Functions are refused because some of them run commands or unpickle files.

    Args:
        target: the value of `_target_`.
        key: the config key of the node.
        nested: whether the class is named inside the node.

    Raises:
        UserError: the class does not play the role, is not of an allowed module, or cannot be imported.
    """
    possible = roles(key)[: None if nested else 1]
    own = ("pixelwise.", *(f"{name}." for name in own_packages()))
    modules = {role: (*own, *role.modules) for role in possible}
    described = (
        f"{role.what}: a class of {', '.join(name.rstrip('.') for name in modules[role])}"
        for role in possible
    )
    refused = UserError(
        f"{key}._target_: {target!r} is not allowed",
        expected="; or ".join(described),
        fix=f"{VARIABLE}=NAME in the environment allows a package of your own",
    )
    if not target.startswith(tuple(chain.from_iterable(modules.values()))):
        raise refused
    try:
        imported = get_object(target)
    except Exception as error:
        raise UserError(
            f"{key}._target_: {target!r} cannot be imported",
            found=error,
            fix="correct the name; a run folder of another version needs the commit in its environment.json",
        ) from error
    if not inspect.isclass(imported):
        raise refused
    for role in possible:
        if f"{imported.__module__}.".startswith(modules[role]) and plays(imported, role):
            return imported
    raise refused
