"""Error messages for a wrong command line, with the nearest name as a suggestion."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NoReturn

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from pixelwise.cli.options import groups, is_group, options
from pixelwise.errors import UserError, guess, nearest
from pixelwise.overrides import key_of, nodes, quoted
from pixelwise.runtime.program import as_started

PLUGINS = {
    "hydra/launcher": "pip install 'pixelwise[processes,slurm]' adds the launchers of joblib and submitit"
}
"""How to install the options of a group that are not files of conf/."""


def stop(error: UserError) -> NoReturn:
    """Print the error and exit with status 2, the usual status of a wrong command line."""
    print(as_started(f"error: {error}"), file=sys.stderr)
    sys.exit(2)


def alternatives(overrides: Sequence[str], loader: ConfigLoader) -> Iterator[list[str]]:
    """The overrides of the jobs of a sweep that differ from its first job in at most one key.

    They contain every single value of the sweep, and their number grows with the number of values instead of
    the number of combinations.

    Args:
        overrides: the overrides of the command line.
        loader: the config loader that expands `glob(*)`.
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
    """Turn an error of Hydra into a message that suggests the nearest name.

    Args:
        error: the error that Hydra raised while it composed the config.
        overrides: the overrides of the command line.
        composed: the config of the chosen files, before overrides; None if one of the files does not exist.
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
            fix=f'put quotes around the value and around the argument: "{key}={quoted(value)}"',
        )
    if not isinstance(error, HydraException | OmegaConfBaseException):  # a group is neither a name nor a list
        empty = [o for o in overrides if o.endswith("=null") and is_group(key_of(o))]
        what = f"{', '.join(empty)}: an option must be chosen" if empty else str(error)
        return UserError(what, expected=", ".join(options(key_of(empty[0]))) if empty else None)
    if isinstance(error.__cause__, ConfigAttributeError | ConfigKeyError):
        key_part = str(error.__cause__.full_key)  # for optimzer.lr it is optimzer
        whole = [key for key in map(key_of, overrides) if key.startswith(f"{key_part}.")]
        return _unknown_key((whole or [key_part])[0], composed)
    return UserError(str(error).strip())


def _unknown_key(key: str, composed: DictConfig | None) -> UserError:
    """The error for an unknown key, with the option that would add it or the most similar known key."""
    group, name = [*key.split("."), ""][:2]
    file = options(group).get(name) if is_group(group) else None
    keys_of_file: Any = OmegaConf.load(file) if file else {}
    if name in keys_of_file or name in keys_of_file.get(
        group, {}
    ):  # callbacks.ema.decay without callbacks=ema
        choice = f"'{group}=[default,{name}]'" if "default" in options(group) else f"{group}={name}"
        return UserError(f"{key}: the option {group}={name} is not chosen", fix=f"add {choice}")
    keys = [name for name, _ in nodes(composed)] if composed is not None else []
    known = [*(name for name in keys if not name.startswith("hydra.")), *groups()]
    known.sort(key=lambda name: -name.count("."))
    leaves = {name.rsplit(".", 1)[-1]: name for name in known}  # the least nested key of each name
    exact = [leaves[key]] if key in leaves else []  # optimizer.lr for lr
    near = exact or nearest(key, known, 1) or [leaves[n] for n in nearest(key.rsplit(".", 1)[-1], leaves, 1)]
    return UserError(
        f"{key}: there is no such key",
        fix=(f"did you mean {near[0]}? " if near else "") + f"To add a new key, write +{key}=…",
    )


def check_choice(key: str, name: str, options: Iterable[str]) -> None:
    """Exit with an error that suggests the nearest option, unless `name` is one of the options of `key`."""
    if name not in (options := list(options)):
        fix = guess(f"did you mean {key}=…?", name, options)
        stop(UserError(f"{key}={name}: there is no such {key}", expected=", ".join(options), fix=fix))


def check_views(config: DictConfig) -> None:
    """Exit with an error if `tta` contains a name that is not in conf/views.yaml."""
    for name in [config.tta] if isinstance(config.tta, str) else config.tta or []:
        check_choice("tta", name, config.views)
