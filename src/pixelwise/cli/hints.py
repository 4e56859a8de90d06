"""What was typed wrongly is answered with the nearest name, before Hydra and torch do anything."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import product
from typing import Any, NoReturn

from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException

from pixelwise.errors import UserError, guess, nearest
from pixelwise.overrides import CONF, key_of, nodes, quoted

PLUGINS = {"hydra/launcher": "pip install 'pixelwise[processes,slurm]' brings joblib's and submitit's"}
"""How to come by options that are not files of conf/."""


def stop(error: UserError) -> NoReturn:
    """Say it and leave, as the shell expects of a command that was typed wrongly."""
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)


def check(config_name: str, arguments: Sequence[str]) -> None:
    """Compose as Hydra is about to, to answer a typo with the nearest name.

    Raises:
        UserError: something was typed wrongly, or left out.
    """
    flags = get_args_parser().parse_args(list(arguments))
    if flags.help or flags.hydra_help or flags.shell_completion or flags.info:
        return
    place = quoted(f"file://{flags.config_dir}")
    directory = [f"hydra.searchpath=[{place}]"] if flags.config_dir else []
    with initialize_config_dir(str(CONF), version_base="1.3"):
        overrides: list[str] = []
        try:
            for overrides in alternatives(flags.overrides, flags.multirun):
                config = compose(flags.config_name or config_name, [*overrides, *directory])
                if missing := [key for key, node in nodes(config) if node._is_missing()]:
                    fix = f"add {missing[0]}=… to the command"
                    raise UserError("must be given: " + ", ".join(missing), fix=fix)
                check_references(config)
        except (HydraException, OmegaConfBaseException) as error:
            if overrides and flags.multirun:
                print("job that cannot be composed:", " ".join(overrides), file=sys.stderr)
            raise explain(error, usual(config_name, overrides, directory)) from error
        except UserError:
            raise
        except ValueError as error:  # Hydra's, where a group is neither a name nor a list of them
            nothing = [o for o in overrides if o.endswith("=null") and (CONF / key_of(o)).is_dir()]
            names = sorted(file.stem for o in nothing[:1] for file in (CONF / key_of(o)).glob("*.yaml"))
            what = f"{', '.join(nothing)}: something must be chosen" if nothing else str(error)
            raise UserError(what, expected=", ".join(names) or None) from error


def check_references(config: DictConfig) -> None:
    """Refuse a value that names a key which does not exist, as data.split=NAME does one of data.splits."""
    try:
        OmegaConf.resolve(config.copy())
    except InterpolationKeyError as error:
        named = re.search(r"Interpolation key '([^']+)'", str(error))
        node: Any = config
        for name in named[1].split(".") if named else ():
            if name not in node:
                options = [str(option) for option in node]
                raise UserError(
                    f"{named[1] if named else name}: there is no {name}",
                    expected=", ".join(options),
                    fix=guess("did you mean …?", name, options),
                ) from error
            node = node[name]
        raise


def alternatives(overrides: Sequence[str], multirun: bool) -> Iterator[list[str]]:
    """The overrides of each job; of a sweep first those that differ in one key, which show most mistakes."""
    if not multirun:
        yield list(overrides)
        return
    choices = []
    loader = GlobalHydra.instance().config_loader()  # for glob(*)
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
    yield from map(list, product(*choices))


def usual(config_name: str, overrides: Iterable[str], directory: Sequence[str]) -> DictConfig:
    """The config of the groups' files that were chosen, or of none of them where one does not exist."""
    chosen = [o for o in overrides if (CONF / key_of(o)).is_dir()]
    with suppress(HydraException, OmegaConfBaseException):
        return compose(config_name, [*chosen, *directory])
    return compose(config_name, list(directory))


def explain(error: Exception, usual: DictConfig) -> UserError:
    """Say what was probably meant, from the keys of the usual config."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        options = list(error.options or ())
        return UserError(
            f"{group or 'config'}={option}: there is no such option",
            expected=", ".join(options) or None,
            fix=guess(f"did you mean {group}=…?", option, options) or PLUGINS.get(group),
        )
    text = str(error)
    said = f"{text} {error.__cause__}"
    unknown = re.findall(r"(?:Could not override|full_key:|Key) '?([\w.@/]+)'?", said)
    if unknown and ("Could not override" in text or "not in struct" in text):
        key = max(unknown, key=len)
        known = [*(name for name, _ in nodes(usual)), *(p.name for p in CONF.iterdir() if p.is_dir())]
        known.sort(key=lambda name: -name.count("."))
        leaves = {name.rsplit(".", 1)[-1]: name for name in known}  # of equal ones the least deep
        near = nearest(key, known, 1) or [leaves[n] for n in nearest(key.rsplit(".", 1)[-1], leaves, 1)]
        return UserError(
            f"{key}: there is no such key",
            fix=(f"did you mean {near[0]}? " if near else "") + f"To add a new key, write +{key}=…",
        )
    if isinstance(error, OverrideParseException):
        key, _, value = error.override.partition("=")
        return UserError(
            f"{error.override}: Hydra cannot read this",
            found=text.strip().splitlines()[0],
            fix=f'a value with such characters in quotes of its own: "{key}={quoted(value)}"',
        )
    return UserError(text.strip())


def check_choice(key: str, name: str, options: Iterable[str]) -> None:
    """Stop with the nearest option where `key=name` names none."""
    if name not in (options := list(options)):
        fix = guess(f"did you mean {key}=…?", name, options)
        stop(UserError(f"{key}={name}: there is no such {key}", expected=", ".join(options), fix=fix))


def check_views(config: DictConfig) -> None:
    """Stop where `tta` names what is none of conf/views.yaml."""
    for name in [config.tta] if isinstance(config.tta, str) else config.tta or []:
        check_choice("tta", name, config.views)
