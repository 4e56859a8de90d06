"""Refuses keys that nothing reads, such as +lr_scheduler=cosine.

A class refuses an argument that it does not have. Keys that are read by name are those of `cli.schema`.
"""

from __future__ import annotations

import re
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from pixelwise.cli.options import groups, options
from pixelwise.cli.schema import Data, Logger, Schedule, Sweep, Task
from pixelwise.errors import UnknownName, nearest
from pixelwise.runs.untrusted import texts

SECTIONS = {"data": Data, "task": Task, "schedule": Schedule, "sweep": Sweep, "logger": Logger}
"""Groups whose keys are read by name. (The keys of other groups are arguments of classes.)"""


def check_known(config: DictConfig, command: str) -> None:
    """Refuse a key that the project does not read and no value of the config refers to by `${key}`.

    Args:
        config: the composed config of any command.
        command: the name of its file in conf/.

    Raises:
        UnknownName: the first such key.
    """
    raw: Any = OmegaConf.to_container(config, resolve=False)
    raw.pop("hydra", None)
    referring = "\n".join(text for _, text in texts(raw) if "${" in text)
    evaluated = ConfigStore.instance().load("run_config.yaml").node if "run" in config else {}
    commands = [file for name, file in options("").items() if "run" in config or name in ("train", command)]
    top = [str(key) for file in commands for key in OmegaConf.load(file)]
    known = {"": {*top, *(group.split("/")[0] for group in groups())}}
    known |= {group: set(section.__annotations__) for group, section in SECTIONS.items()}
    for group, names in known.items():
        node, given = (raw.get(group), evaluated.get(group)) if group else (raw, evaluated)
        for key in node if isinstance(node, dict) else ():
            path = f"{group}.{key}".lstrip(".")
            used = key in (*names, *(given or ())) or (group == "logger" and isinstance(node[key], dict))
            if not used and not re.search(rf"[.{{:]{re.escape(str(key))}\b", referring):
                near = [f"{group}.{name}".lstrip(".") for name in nearest(str(key), names, 1)]
                fix = f"did you mean {near[0]}?" if near else f"remove it, or refer to it: ${{{path}}}"
                raise UnknownName(f"{path} has no effect: nothing reads this key", fix=fix)
