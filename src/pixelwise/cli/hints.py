"""What was typed wrongly is answered with the nearest name, before Hydra and torch do anything."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import NoReturn

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from pixelwise.cli.options import groups, is_group, options
from pixelwise.errors import UserError, guess, nearest
from pixelwise.overrides import key_of, nodes, quoted
from pixelwise.runtime.program import as_started

PLUGINS = {"hydra/launcher": "pip install 'pixelwise[processes,slurm]' brings joblib's and submitit's"}
"""How to come by options that are not files of conf/."""


def stop(error: UserError) -> NoReturn:
    """Say it and leave, as the shell expects of a command that was typed wrongly."""
    print(as_started(f"error: {error}"), file=sys.stderr)
    sys.exit(2)


def alternatives(overrides: Sequence[str], loader: ConfigLoader) -> Iterator[list[str]]:
    """The overrides of those jobs of a sweep that differ from the first one in one key at most.

    They show nearly all mistakes, and there are as many of them as values, not as products of values.

    Args:
        overrides: what was typed.
        loader: that expands `glob(*)`.
    """
    choices = []
    for override in OverridesParser.create(loader).parse_overrides(list(overrides)):
        if override.is_sweep_override():
            key = override.get_key_element()
            choices.append([f"{key}={value}" for value in override.sweep_string_iterator()])
        else:
            choices.append([override.input_line or ""])
    yield [choice[0] for choice in choices]
    for position, choice in enumerate(choices):
        for value in choice[1:]:
            yield [value if i == position else other[0] for i, other in enumerate(choices)]


def explain(error: Exception, overrides: Sequence[str], composed: DictConfig | None) -> UserError:
    """Say what was probably meant.

    Args:
        error: of Hydra, on composing.
        overrides: what was typed.
        composed: what the chosen files alone gave; None where one of them does not exist.
    """
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        names = list(error.options or ())
        return UserError(
            f"{group or 'config'}={option}: there is no such option",
            expected=", ".join(names) or None,
            fix=guess(f"did you mean {group}=…?", option, names) or PLUGINS.get(group),
        )
    if isinstance(error, OverrideParseException):
        key, _, value = error.override.partition("=")
        return UserError(
            f"{error.override}: Hydra cannot read this",
            found=str(error).strip().splitlines()[0],
            fix=f'a value with such characters in quotes of its own: "{key}={quoted(value)}"',
        )
    if not isinstance(error, HydraException | OmegaConfBaseException):  # a group is neither a name nor a list
        empty = [o for o in overrides if o.endswith("=null") and is_group(key_of(o))]
        what = f"{', '.join(empty)}: something must be chosen" if empty else str(error)
        return UserError(what, expected=", ".join(options(key_of(empty[0]))) if empty else None)
    if isinstance(error.__cause__, ConfigAttributeError | ConfigKeyError):
        key_part = str(error.__cause__.full_key)  # for optimzer.lr it is optimzer
        whole = [key for key in map(key_of, overrides) if key.startswith(f"{key_part}.")]
        return _unknown_key((whole or [key_part])[0], composed)
    return UserError(str(error).strip())


def _unknown_key(key: str, composed: DictConfig | None) -> UserError:
    """Name the key that looks most like an unknown one."""
    keys = [name for name, _ in nodes(composed)] if composed is not None else []
    known = [*(name for name in keys if not name.startswith("hydra.")), *groups()]
    known.sort(key=lambda name: -name.count("."))
    leaves = {name.rsplit(".", 1)[-1]: name for name in known}  # of equal ones the least deep
    near = nearest(key, known, 1) or [leaves[n] for n in nearest(key.rsplit(".", 1)[-1], leaves, 1)]
    return UserError(
        f"{key}: there is no such key",
        fix=(f"did you mean {near[0]}? " if near else "") + f"To add a new key, write +{key}=…",
    )


def check_choice(key: str, name: str, options: Iterable[str]) -> None:
    """Stop with the nearest option where `key=name` names none."""
    if name not in (options := list(options)):
        fix = guess(f"did you mean {key}=…?", name, options)
        stop(UserError(f"{key}={name}: there is no such {key}", expected=", ".join(options), fix=fix))


def check_views(config: DictConfig) -> None:
    """Stop where `tta` names what is none of conf/views.yaml."""
    for name in [config.tta] if isinstance(config.tta, str) else config.tta or []:
        check_choice("tta", name, config.views)
