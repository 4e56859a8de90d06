"""Hydra over conf/, which composes once, checks what came out, and explains what cannot be composed.

`hydra.main` composes every config twice, and no option of it puts a folder before the program's own. This is
put together from the parts that it consists of; pyproject.toml therefore keeps hydra-core below 1.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from pixelwise.cli.checks import check
from pixelwise.cli.hints import explain
from pixelwise.cli.options import options, own_folder
from pixelwise.overrides import CONF


class Loader(ConfigLoaderImpl):
    """Hydra's config loader, which keeps what the files alone gave: its keys explain a wrong one."""

    of_files: DictConfig | None = None

    def _compose_config_from_defaults_list(self, *arguments: Any, **settings: Any) -> DictConfig:
        self.of_files = super()._compose_config_from_defaults_list(*arguments, **settings)
        return self.of_files


class Application(Hydra):
    """Hydra for one command.

    Args:
        name: of the command, and so of its log file.
        folder: another one to find files in, after all others.
    """

    config_loader: Loader

    def __init__(self, name: str, folder: str | Path | None = None) -> None:
        version.setbase("1.3")
        search_path = create_config_search_path(str(CONF))
        if own := own_folder():
            search_path.prepend("own", f"file://{own}", "main")
        if folder is not None:
            search_path.prepend("command-line", f"file://{Path(folder).absolute()}", "schema")
        super().__init__(name, Loader(search_path))

    def compose_config(
        self, config_name: str | None, overrides: list[str], run_mode: RunMode, *rest: Any, **settings: Any
    ) -> DictConfig:
        """Compose; a config that one job is about to run with is checked, too.

        Raises:
            UserError: for what cannot be composed (with what was probably meant) and what `check` refuses.
        """
        try:
            config = super().compose_config(config_name, overrides, run_mode, *rest, **settings)
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            raise explain(error, overrides, self.config_loader.of_files) from error
        if run_mode == RunMode.RUN and config_name is not None:
            check(config)
        return config

    def usual(self, config_name: str, overrides: Sequence[str]) -> DictConfig:
        """What these words alone give, with Hydra's own part and unchecked: to compare with."""
        return self.config_loader.load_configuration(config_name, list(overrides), RunMode.RUN)


def default_choices(config_name: str) -> dict[str, str | None]:
    """The option of each group that `conf/<config_name>.yaml` names."""
    named = [entry for entry in OmegaConf.load(options("")[config_name]).defaults if OmegaConf.is_dict(entry)]
    return {group: option for entry in named for group, option in entry.items()}


def without_hydra(config: DictConfig) -> DictConfig:
    """A config as a job sees it, in place."""
    with open_dict(config):
        config.pop("hydra", None)
    return config


def compose_alone(config_name: str, words: Sequence[str]) -> DictConfig:
    """What a command would start from with these words: in a notebook, or within the job of another.

    Raises:
        UserError: for words that cannot be composed, with what was probably meant.
    """
    return without_hydra(
        Application("app").compose_config(config_name, list(words), RunMode.RUN, from_shell=False)
    )
