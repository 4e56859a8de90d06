"""Calls the classes that a config names, after a check that they are allowed."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, Literal

from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig

from pixelwise import checks
from pixelwise.build.roles import plays, roles
from pixelwise.errors import UserError
from pixelwise.overrides import origin
from pixelwise.runtime.own_packages import VARIABLE, own_packages

OF_HYDRA = {
    "_partial_": checks.Option(bool, False),
    "_convert_": checks.Option(Literal["none", "partial", "object", "all"], "all"),
    "_recursive_": checks.Option(bool, True),
}
"""Keys beside `_target_` that Hydra itself reads."""


def make(config: Any, key: str, **arguments: Any) -> Any:
    """Instantiate a config node, after a check of all classes that it names.

    Args:
        config: a mapping with `_target_`; its values may be such mappings, too.
        key: the config key of the node, for messages.
        **arguments: additional arguments of the class.

    Raises:
        UserError: a class is not allowed, does not accept its arguments, or its annotations do not admit a
            value; in this order, and before any class is called.
    """
    if not checks.is_target(config):
        found = "null" if config is None else config
        raise UserError(
            f"{key} cannot be built: it is not a mapping with `_target_`",
            found=found,
            expected="a class as _target_, and its arguments",
        )
    check_classes(config, key)
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
                f"{key}: {config['_target_']} does not accept these arguments",
                found=cause,
                fix="correct them; a run folder of another version needs the commit in its environment.json",
            ) from error
        raise


def check_classes(config: Any, key: str = "", source: DictConfig | None = None) -> None:
    """Refuse a class that is not allowed, and a value that the annotation of its argument does not admit.

    Args:
        config: containers in which mappings with `_target_` are searched.
        key: the config key of the containers.
        source: the whole config with its interpolations, to say where a wrong value comes from.

    Raises:
        UserError: the first of them.
    """
    if isinstance(config, Mapping):
        if "_target_" in config:
            options = checks.arguments(class_of(str(config["_target_"]), key)) | OF_HYDRA
            for name in [name for name in config if name in options]:
                if found := checks.of_option(f"{key}.{name}", config[name], options[name]):
                    raise checks.refusal(found, "" if source is None else origin(source, found.key))
        for name, value in config.items():
            check_classes(value, f"{key}.{name}".lstrip("."), source)
    elif isinstance(config, Sequence) and not isinstance(config, str):
        for value in config:
            check_classes(value, key, source)


def class_of(target: str, key: str) -> type:
    """The class that a config names, if it plays the role of the key: a config may come from a stranger.

    The module that defines the class must be allowed, so that names which an allowed module only imports are
    refused. Functions are refused because some of them run commands or unpickle files.

    Args:
        target: the value of `_target_`.
        key: the config key of the node that names it.

    Raises:
        UserError: the class does not play the role, is not of an allowed module, or cannot be imported.
    """
    possible = roles(key)
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
