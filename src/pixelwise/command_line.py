"""What stands between the shell and Hydra: quick answers, nearest names for typos, errors in one piece.

Imports neither torch nor Lightning, so that `--help`, `--cfg job` and a typo are answered at once.
"""

from __future__ import annotations

import functools
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from itertools import product
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import CompactHydraException, HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException

from pixelwise import run_folder
from pixelwise.errors import UserError, nearest
from pixelwise.processes import rank

CONF = Path(__file__).parents[2] / "conf"
PLUGINS = {"hydra/launcher": "pip install 'pixelwise[processes,slurm]' brings joblib's and submitit's"}
"""How to come by options that are not files of conf/."""

Job = Callable[[DictConfig], Any]


def command(config_name: str, *settings: str) -> Callable[[Job], Callable[[], None]]:
    """Make a root script's function a command that `conf/<config_name>.yaml` configures.

    A config that has a `run` key starts from that run folder's own `config.yaml`.

    Args:
        config_name: a file of conf/, without suffix.
        *settings: overrides that always hold for this command.
    """
    typed: list[str] = []

    def decorate(job: Job) -> Callable[[], None]:
        @functools.wraps(job)
        def guarded(config: DictConfig) -> Any:
            sys.argv[:] = typed  # what a launcher of further processes repeats, and what the run folder notes
            try:
                return job(config)
            except UserError as error:
                raise CompactHydraException(f"\nerror: {error}") from error

        def main() -> None:
            typed[:] = sys.argv
            arguments = [*typed[1:], *settings]
            content = (CONF / f"{config_name}.yaml").read_text()
            if "\nrun: ???" in content:
                arguments = start_from_run(arguments, job.__globals__["__doc__"])
            elif "\nresume: null" in content:
                arguments = go_on_from_run(arguments)
            if rank() > 0:
                arguments = quietly(arguments)
            check(config_name, arguments)
            sys.argv[1:] = name_by_difference(arguments)
            hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(guarded)()

        return main

    return decorate


def start_from_run(arguments: list[str], usage: str) -> list[str]:
    """Let Hydra find the run's `config.yaml`; without a run say how the command is used."""
    if {"-sc", "--shell-completion"} & set(arguments):
        return complete_from_run(arguments)
    run = next((a.split("=", 1)[1] for a in arguments if a.startswith("run=")), None)
    if run is None or {"-h", "--help"} & set(arguments):
        wanted = {"-h", "--help"} & set(arguments)
        print(usage.strip(), file=sys.stdout if wanted else sys.stderr)
        sys.exit(0 if wanted else 2)
    folder = run_argument("run", run)
    groups = {path.name for path in CONF.iterdir() if path.is_dir()} - {"hydra"}
    for argument in arguments:
        if (name := argument.split("=")[0]) in groups:
            stop(
                UserError(
                    f"{argument}: a run keeps the {name} that it was trained with",
                    fix=f"single values can be overridden, as in {name}.KEY=VALUE",
                )
            )
    return ["--config-dir", str(folder), *arguments]


def complete_from_run(arguments: list[str]) -> list[str]:
    """While the shell completes a line, the run is in that line; before it is there, `run=` comes first."""
    words = os.environ.get("COMP_LINE", "").split()
    runs = [word.removeprefix("run=") for word in words if word.startswith("run=")]
    if words and not runs:
        print("run=")
        sys.exit(0)
    folder = Path(runs[0]).expanduser() if runs else Path()
    return ["--config-dir", str(folder), *arguments] if (folder / "config.yaml").is_file() else arguments


def go_on_from_run(arguments: list[str]) -> list[str]:
    """`resume=RUN` repeats what was typed for that run, in its folder; what is typed now comes on top."""
    run = next((a.split("=", 1)[1] for a in arguments if a.startswith("resume=")), None)
    if run is None:
        return arguments
    folder = run_argument("resume", run)
    for flag in ("-m", "--multirun"):
        if flag in arguments:
            stop(UserError(f"resume={run} goes on with one run", fix=f"leave {flag} out"))
    flags = [a for a in arguments if a.startswith("-")]
    overrides = [*OmegaConf.load(folder / "overrides.yaml"), *(a for a in arguments if a not in flags)]
    by_key = {key_of(str(override)): str(override) for override in overrides}  # the last one counts
    return [*flags, *by_key.values(), f"hydra.run.dir='{folder}'"]


def run_argument(key: str, value: str) -> Path:
    """A run folder as it was typed, or the end with status 2."""
    try:
        return run_folder.open_run(value.strip("'\""), key)
    except UserError as error:
        stop(error)


def quietly(arguments: Sequence[str]) -> list[str]:
    """For all processes of a training but the first: no log, and no folder of its own."""
    folder = [] if any(key_of(a) == "hydra.run.dir" for a in arguments) else ["hydra.run.dir=."]
    logging = ["hydra/job_logging=none", "hydra/hydra_logging=none"]
    return [*(a for a in arguments if key_of(a) != "hydra.job.name"), *folder, *logging]


def key_of(override: str) -> str:
    """The key that an override is about: `+data.root=x` and `~data.root` are about data.root."""
    return override.split("=", 1)[0].lstrip("+~")


def check(config_name: str, arguments: Sequence[str]) -> None:
    """Compose as Hydra is about to, to answer a typo with the nearest name and exit status 2."""
    flags = get_args_parser().parse_args(list(arguments))
    if flags.help or flags.hydra_help or flags.shell_completion or flags.info:
        return
    directory = [f"hydra.searchpath=[file://{flags.config_dir}]"] if flags.config_dir else []
    with initialize_config_dir(str(CONF), version_base="1.3"):
        overrides: list[str] = []
        try:
            for overrides in alternatives(flags.overrides, flags.multirun):
                config = compose(flags.config_name or config_name, [*overrides, *directory])
                missing = [key for key, node in nodes(config) if node._is_missing()]
                if missing:
                    stop(
                        UserError(
                            "must be given: " + ", ".join(missing), fix=f"add {missing[0]}=… to the command"
                        )
                    )
                check_references(config)
        except (HydraException, OmegaConfBaseException) as error:
            if overrides and flags.multirun:
                print("job that cannot be composed:", " ".join(overrides), file=sys.stderr)
            stop(explain(error, compose(config_name, directory)))


def check_references(config: DictConfig) -> None:
    """Stop where a value names a key that does not exist, as data.split=NAME does one of data.splits."""
    try:
        OmegaConf.resolve(config.copy())
    except InterpolationKeyError as error:
        named = re.search(r"Interpolation key '([^']+)'", str(error))
        node: Any = config
        for name in named[1].split(".") if named else ():
            if name not in node:
                options = [str(option) for option in node]
                near = nearest(name, options, 1)
                stop(
                    UserError(
                        f"{named[1] if named else name}: there is no {name}",
                        expected=", ".join(options),
                        fix=f"did you mean {near[0]}?" if near else None,
                    )
                )
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


def name_by_difference(arguments: Sequence[str]) -> list[str]:
    """Say which keys all jobs of a sweep share, so that their folders are named after the others."""
    flags = get_args_parser().parse_args(list(arguments))
    if not flags.multirun:
        return list(arguments)
    parsed = OverridesParser.create().parse_overrides(flags.overrides)
    shared = ", ".join(f"'{key_of(o.input_line or '')}'" for o in parsed if not o.is_sweep_override())
    return [*arguments, f"hydra.job.config.override_dirname.exclude_keys=[{shared}]"]


def explain(error: Exception, usual: DictConfig) -> UserError:
    """Say what was probably meant, from the keys of the usual config."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        options = list(error.options or ())
        near = nearest(option, options, 1)
        return UserError(
            f"{group or 'config'}={option}: there is no such option",
            expected=", ".join(options) or None,
            fix=f"did you mean {group}={near[0]}?" if near else PLUGINS.get(group),
        )
    text = str(error)
    unknown = re.search(r"(?:Could not override|full_key:|Key) '?([\w.@/]+)'?", text)
    if unknown and ("Could not override" in text or "not in struct" in text):
        key = unknown[1]
        known = [*(name for name, _ in nodes(usual)), *(p.name for p in CONF.iterdir() if p.is_dir())]
        known.sort(key=lambda name: -name.count("."))
        leaves = {name.rsplit(".", 1)[-1]: name for name in known}  # of equal ones the least deep
        near = nearest(key, known, 1) or [leaves[n] for n in nearest(key.rsplit(".", 1)[-1], leaves, 1)]
        return UserError(
            f"{key}: there is no such key",
            fix=(f"did you mean {near[0]}? " if near else "") + f"To add a new key, write +{key}=…",
        )
    return UserError(text.strip())


def nodes(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every (dotted key, node) of a config; interpolations are not followed."""
    for key in config:
        node = config._get_node(key)
        yield f"{prefix}{key}", node
        if OmegaConf.is_dict(node) and not (
            node._is_none() or node._is_missing() or node._is_interpolation()
        ):
            yield from nodes(node, f"{prefix}{key}.")


def differences(config_name: str, config: DictConfig) -> list[str]:
    """What this job does otherwise than `conf/<config_name>.yaml` alone: choices, then single values."""
    # several files of a group, as in logger=[wandb,tensorboard], are no choice in Hydra's eyes
    changed = [o for o in overrides() if "=[" in o and (CONF / key_of(o)).is_dir()]
    for inner in (False, True):  # what a schedule chose for its phases follows from the schedule
        usual = compose(config_name, changed, return_hydra_config=True).hydra.runtime.choices
        changed += [
            f"{group}={option}"
            for group, option in HydraConfig.get().runtime.choices.items()
            if ("@" in group) == inner and "/" not in group and group not in ("experiment", "debug")
            if usual.get(group) != option
        ]
    default = dict(nodes(compose(config_name, changed)))
    typed = {key_of(override) for override in overrides()}
    for key, node in nodes(config):
        same = key in default and (
            default[key] == node or (_of_the_moment(default[key]) and key not in typed)
        )
        if not OmegaConf.is_dict(node) and not same:
            changed.append(f"{key}={_as_typed(node)}")
    return changed


def _of_the_moment(node: Any) -> bool:
    """Whether a default differs from start to start, such as the name of a sweep."""
    return "${now:" in str(node._value())


def _as_typed(node: Any) -> str:
    """A value as one would write it on the command line."""
    value = OmegaConf.to_container(node, resolve=False) if OmegaConf.is_list(node) else node._value()
    text = json.dumps(value, ensure_ascii=False).replace('"', "").replace(", ", ",")
    return text if len(text) < 60 else text[:59] + "…"


def check_choice(key: str, name: str, options: Iterable[str]) -> None:
    """Stop with the nearest option where `key=name` names none."""
    if name not in (options := list(options)):
        near = nearest(name, options, 1)
        stop(
            UserError(
                f"{key}={name}: there is no such {key}",
                expected=", ".join(options),
                fix=f"did you mean {key}={near[0]}?" if near else None,
            )
        )


def check_views(config: DictConfig) -> None:
    """Stop where `tta` names what is none of conf/views.yaml."""
    for name in [config.tta] if isinstance(config.tta, str) else config.tta or []:
        check_choice("tta", name, config.views)


def stop(error: UserError) -> NoReturn:
    """Say it and leave, as the shell expects of a command that was typed wrongly."""
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)


def output_folder() -> Path:
    """The folder that Hydra made for this job."""
    return Path(HydraConfig.get().runtime.output_dir)


def overrides() -> list[str]:
    """What was typed for this job, one choice of each sweep."""
    return list(HydraConfig.get().overrides.task)


def choice(group: str) -> str:
    """Which file of a group of conf/ this job runs with."""
    return str(HydraConfig.get().runtime.choices[group])


def choices() -> dict[str, str]:
    """Which file of each group of conf/ this job runs with."""
    return {
        group: option
        for group, option in HydraConfig.get().runtime.choices.items()
        if option and "@" not in group and "/" not in group
    }


def compose_alone(config_name: str, words: Sequence[str]) -> DictConfig:
    """What a root script would start from with these words: in a notebook, or within the job of another.

    Raises:
        UserError: for words that cannot be composed, with what was probably meant.
    """
    within = GlobalHydra.instance().is_initialized()
    with nullcontext() if within else initialize_config_dir(str(CONF), version_base="1.3"):
        try:
            config = compose(config_name, list(words))
        except (HydraException, OmegaConfBaseException) as error:
            raise explain(error, compose(config_name)) from error
    return config
