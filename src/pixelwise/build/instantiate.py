"""The only place where a class that a config names is called, after a look at which class it is."""

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
"""Modules whose classes a config may name, besides those of the packages in PIXELWISE_PACKAGES."""


def make(config: Any, key: str, **arguments: Any) -> Any:
    """Instantiate one config node, after checking every class that it names.

    Args:
        config: a node with `_target_`, or a mapping of such.
        key: its place in the config, for messages.
        **arguments: what the config does not say.

    Raises:
        UserError: for a class that may not be named, and for arguments that it does not take.
    """
    if not isinstance(config, Mapping | DictConfig) or "_target_" not in config:
        found = "null" if config is None else config
        raise UserError(
            f"{key} is nothing to build", found=found, expected="a class as _target_, and its options"
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
            raise UserError(f"{key}: {config['_target_']} does not take this", found=cause) from error
        raise


def targets(config: Any) -> Iterator[str]:
    """Every `_target_` in a tree of containers."""
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
    """A config may come from elsewhere: it may name our classes and our libraries', nothing else.

    The module in which the class was defined counts, so that no allowed module lends its imports; and
    a function is refused, for some of them run commands or unpickle files.
    """
    allowed = (*ALLOWED, *(f"{name}." for name in own_packages()))
    refused = UserError(
        f"{key}._target_: {target!r} is not allowed",
        expected="a class of " + ", ".join(name.rstrip(".") for name in allowed),
        fix=f"{VARIABLE}=NAME in the environment admits a package of your own",
    )
    if not target.startswith(allowed):
        raise refused
    try:
        found = get_object(target)
    except Exception as error:
        raise UserError(f"{key}._target_: {target!r} cannot be imported", found=error) from error
    if not inspect.isclass(found) or not f"{found.__module__}.".startswith(allowed):
        raise refused
