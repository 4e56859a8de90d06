"""Calls the classes that a config names, after a check that they are allowed."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf

from pixelwise.errors import UserError
from pixelwise.runtime.own_packages import VARIABLE, own_packages

ALLOWED = (
    "pixelwise.",
    "lightning.pytorch.",
    "torch.nn.",
    "torch.optim.",
    "torchmetrics.",
    "torchvision.transforms.",
    "timm.",
    "optuna.samplers.",
    "optuna.pruners.",
)
"""Modules whose classes a config may name, in addition to the packages in PIXELWISE_PACKAGES."""


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
    for target in targets(config):
        check_target(target, key)
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


def targets(config: Any) -> Iterator[str]:
    """All values of `_target_` in nested containers."""
    if isinstance(config, Mapping | DictConfig):
        for key, value in config.items():
            if key == "_target_":
                yield str(value)
            else:
                yield from targets(value)
    elif isinstance(config, list | tuple) or OmegaConf.is_list(config):
        for value in config:
            yield from targets(value)


def check_target(target: str, key: str) -> None:
    """Refuse a target that is not a class of an allowed module: a config may come from an untrusted source.

    The module that defines the class must be allowed, so that names which an allowed module only imports are
    refused. Functions are refused because some of them run commands or unpickle files.

    Raises:
        UserError: the target is not allowed, or cannot be imported.
    """
    allowed = (*ALLOWED, *(f"{name}." for name in own_packages()))
    refused = UserError(
        f"{key}._target_: {target!r} is not allowed",
        expected="a class of " + ", ".join(name.rstrip(".") for name in allowed),
        fix=f"{VARIABLE}=NAME in the environment allows a package of your own",
    )
    if not target.startswith(allowed):
        raise refused
    try:
        imported = get_object(target)
    except Exception as error:
        raise UserError(
            f"{key}._target_: {target!r} cannot be imported",
            found=error,
            fix="correct the name; a run folder of another version needs the commit in its environment.json",
        ) from error
    if not inspect.isclass(imported) or not f"{imported.__module__}.".startswith(allowed):
        raise refused
