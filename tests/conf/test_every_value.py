"""Every key of `conf/` gets values of a wrong type or out of range; new keys are tested by themselves."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from fnmatch import fnmatch
from functools import cache, reduce
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from omegaconf import DictConfig, OmegaConf

import pixelwise
from pixelwise.build.instantiate import check_classes
from pixelwise.build.trainer import check_trainer
from pixelwise.cli.checks import check_values
from pixelwise.cli.schema import check_declared
from pixelwise.errors import UserError

CONF = Path(__file__).parents[2] / "conf"
COMMANDS = ("train", "probe", "evaluate", "predict", "export", "transfer")

WRONG: dict[str, Any] = {
    "null": None,
    "text": "foo",
    "true": True,
    "negative": -1,
    "nan": math.nan,
    "infinite": math.inf,
    "list": ["foo"],
    "mapping": {"foo": 1},
}


class Key(NamedTuple):
    """A key of a file, with the class that receives it; the same in many files is tried once."""

    path: tuple[str, ...]
    target: str | None

    def __str__(self) -> str:
        return ".".join(self.path)


def leaves(node: Any, path: tuple[str, ...], target: str | None = None) -> Iterator[Key]:
    """The keys with a value, at any depth; a table with numbers as keys is a value."""
    if isinstance(node, dict) and node and all(isinstance(name, str) for name in node):
        for name, child in node.items():
            yield from leaves(child, (*path, str(name)), node.get("_target_"))
    else:
        yield Key(path, target)


def keys_of(file: Path) -> Iterator[Key]:
    """The keys of a file, below its package."""
    raw: Any = OmegaConf.to_container(OmegaConf.load(file))
    stated = re.search(r"@package (\S+)", file.read_text())
    place = stated[1] if stated else file.relative_to(CONF).parts[0]
    package = () if place == "_global_" or file.parent == CONF else tuple(place.split("."))
    own = {name: node for name, node in raw.items() if name not in ("defaults", "hydra")}
    return leaves(own, package, own.get("_target_")) if own else iter(())


def cases() -> dict[Path, list[Key]]:
    """The keys to try with each file."""
    found: dict[Path, list[Key]] = defaultdict(list)
    seen: set[Key] = set()
    files = [CONF / f"{command}.yaml" for command in COMMANDS]
    for file in [*files, *sorted(CONF.glob("[!h]*/**/*.yaml"))]:
        new = [key for key in keys_of(file) if key not in seen]
        seen |= {*new}
        found[file] = new
    return {file: keys for file, keys in found.items() if keys}


CASES = cases()
REQUIRED = ["data.root=data", "data.classes=[a,b]"]


def composed(file: Path) -> DictConfig:
    """The config of a command that uses a file."""
    group, option = str(file.parent.relative_to(CONF)), file.stem
    words = [f"{group}={option}"]
    if group == "data/source":
        data, task = option.split("_")
        words = [f"data={data}", f"task={task}"]
    if tasks := OmegaConf.load(file).get("tasks"):
        words = [*words, f"task={tasks[0]}"]
    if group == "callbacks":
        words = [f"callbacks=[{option}]"]
    config = DictConfig({})
    for required in ([], REQUIRED[:1], REQUIRED):  # a key that the data set does not have is refused
        with suppress(UserError):
            config = config or pixelwise.compose(*(words + required if group != "." else []))
    OmegaConf.set_struct(config, False)
    if group == ".":
        own = OmegaConf.load(file)
        own = OmegaConf.masked_copy(own, [key for key in own if key not in ("defaults", "hydra")])
        views = OmegaConf.load(CONF / "views.yaml")
        config = own if option == "transfer" else OmegaConf.merge(config, views, own, {"run": "runs/1"})
        if option == "predict":
            config.update(input="a.png", output="out")
        if option == "export":
            config.update(format="onnx")
    return config


def refusal_of(config: DictConfig, command: str, plain: dict[str, Any] | None = None) -> str | None:
    """The refusal, or None; `plain` has values in place of interpolations."""
    try:
        if plain is None:
            check_values(config, command)
            plain = OmegaConf.to_container(config, resolve=True)
        check_declared(config, plain, command)
        check_classes(plain, source=config)
        check_trainer(plain.get("trainer", {}))
    except UserError as error:
        return str(error)
    return None


TABLES = r"^(data\.(known_inputs|splits|names|protocols))\..*"
"""Keys whose values are read by name or as a whole: the refusal names the table."""

OFF = "switched off, without a limit, or chosen automatically"
RIGHT: list[tuple[str, str, str]] = [
    # kind of the value, keys, why it is no mistake
    ("null", "augmentation.geometry augmentation.colour augmentation.extra", OFF),
    ("null", "callbacks.checkpoint.every_n_minutes data.train_samples data.eval_size encoder.weights", OFF),
    ("null", "trainer.limit_*_batches trainer.max_epochs trainer.check_val_every_n_epoch", OFF),
    ("null", "trainer.profiler trainer.benchmark optimizer.fused *.process_group_backend", OFF),
    (
        "null",
        "optimizer.max_grad_norm optimizer.layer_decay encoder.drop_path_rate *.class_folders data.tasks",
        OFF,
    ),
    ("null", "*.palette *.labels.remap task.scores.protocols data.source.draws.count *.split_folders", OFF),
    ("null", "logger.*.name logger.*.id logger.*.project logger.tensorboard.version", OFF),
    ("null", "formats.hub.dataset bands nodata data.eval.*", OFF),
    ("null", "auxiliary.*.maps auxiliary.*.width", "the map of the head's name; no 3×3 convolution"),
    ("text", "auxiliary.*.maps", "the name of a map, which the model knows"),
    ("list", "auxiliary.*.maps", "names of maps, which the model knows"),
    ("null", "schedule.phases.*.epochs schedule.phases.*.steps", "one of the two gives the length"),
    ("null", "schedule.phases.*.curve schedule.phases.*.warmup schedule.phases.*.freeze", OFF),
    ("null", "schedule.phases.*.crop_size schedule.phases.*.weight_decay", OFF),
    ("mapping", "schedule.phases.*.lr schedule.phases.*.warmup", "`make_plan` knows the names of the parts"),
    ("list", "schedule.phases.*.freeze", "`make_plan` knows the names of the parts"),
    ("list", "*.classes *.class_folders *.rare *.skip *.tags data.tasks", "names of any number"),
    ("list", "data.source.inputs *.paste", "names of any number"),
    ("list", "task.requires.*", "names of classes"),
    ("list", "search.gpus", "names of devices"),
    ("text", "resume split output sample formats.hub.* *.csv encoder.weights", "a path or a name"),
    ("text", "logger.*", "names"),
    ("text", "schedule.phases.*.freeze", "`make_plan` knows the names of the parts"),
    ("negative", "*.seed", "any whole number seeds a split"),
    ("negative", "nodata *.nodata *.threshold", "any number is a value of a pixel"),
    ("nan", "nodata *.nodata", "the nodata value of float rasters"),
    (
        "negative",
        "logger.tensorboard.version search.pruner.* augmentation.extra.*.transform.*",
        "arguments of other packages, which check them",
    ),
    ("true", "trainer.strategy.find_unused_parameters", "an argument of torch's DDP, chosen automatically"),
    ("negative", "trainer.devices", "-1: all devices"),
    ("list", "data.protocols.*", "names of classes, which the scores know"),
    (
        "*",
        "data.known_inputs.* data.splits.* data.names.*",
        "a table; the line that is used is checked there",
    ),
    ("*", "trainer.strategy.use_orig_params", "an argument of torch's FSDP, behind `**kwargs`"),
    ("*", "both.* classifier.* segmenter.*", "overrides of train.py, which are checked when it is composed"),
    ("*", "search.space.*", "values of other keys, which are checked in each trial"),
]
"""Every value of `WRONG` that is accepted, except a value of the type that the file has."""


def is_right(key: str, kind: str, value: Any) -> bool:
    """Whether the type of the value is that in the file, or `RIGHT` has it."""
    same = {"null": value is None, "true": isinstance(value, bool), "text": isinstance(value, str)}
    return same.get(kind, False) or any(
        fnmatch(kind, kinds) and any(fnmatch(key, pattern) for pattern in patterns.split())
        for kinds, patterns, _ in RIGHT
    )


@cache
def attempts(file: Path) -> list[tuple[str, str, Any, str | None]]:
    """Key, kind of the wrong value, right value and refusal."""
    command = file.stem if file.parent == CONF else "train"
    config = composed(file)
    assert refusal_of(config, command) is None
    resolved: Any = OmegaConf.to_container(config, resolve=True)
    tried = []
    for key in CASES[file]:
        *above, name = key.path
        node, plain = (reduce(lambda node, name: node[name], above, tree) for tree in (config, resolved))
        before, right = OmegaConf.to_container(node, resolve=False)[name], plain[name]
        for kind, value in WRONG.items():
            plain[name] = value
            message = refusal_of(config, command, resolved)
            if message is None:  # perhaps a class receives the value through an interpolation
                node[name] = value
                message = refusal_of(config, command)
                node[name] = before
            tried.append((str(key), kind, right, message))
        plain[name] = right
    return tried


@pytest.mark.parametrize("file", CASES, ids=lambda file: str(file.relative_to(CONF).with_suffix("")))
def test_a_wrong_value_is_refused_by_its_key(file: Path) -> None:
    faults = []
    for key, kind, right, line in attempts(file):
        if line is not None and "\n  expected:" not in line:
            faults.append(f"{key}: {kind} is refused without an expectation")
        if line is None and not is_right(key, kind, right):
            faults.append(f"{key}: {kind} is accepted")
        elif line is not None and re.sub(TABLES, r"\1", key) not in line:
            faults.append(f"{key}: {kind} is refused as {line}")
    assert not faults


def test_the_accepted_values_are_needed() -> None:
    used = {
        (kinds, pattern)
        for file in CASES
        for key, kind, right, line in attempts(file)
        if line is None
        for kinds, patterns, _ in RIGHT
        for pattern in patterns.split()
        if fnmatch(kind, kinds) and fnmatch(key, pattern)
    }
    assert used == {(kinds, pattern) for kinds, patterns, _ in RIGHT for pattern in patterns.split()}
