"""Hydra on conf/: composes a config once, checks it, and explains why a config cannot be composed.

`hydra.main` composes every config twice and has no option that puts a folder before the program's own search
path. This module therefore uses parts of Hydra's internals, and pyproject.toml requires hydra-core below 1.4.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from pixelwise.cli.options import options
from pixelwise.cli.places import check_places
from pixelwise.overrides import CONF, own_folder
from pixelwise.runtime.processes import rank


class Loader(ConfigLoaderImpl):
    """Hydra's config loader; it keeps the config before overrides, to suggest keys for an unknown key."""

    of_files: DictConfig | None = None

    def _compose_config_from_defaults_list(self, *arguments: Any, **settings: Any) -> DictConfig:
        self.of_files = super()._compose_config_from_defaults_list(*arguments, **settings)
        return self.of_files


class Application(Hydra):
    """Hydra for one command.

    Args:
        name: the name of the command, also of its log file.
    """

    config_loader: Loader

    def __init__(self, name: str) -> None:
        version.setbase("1.3")
        search_path = create_config_search_path(str(CONF))
        if own := own_folder():
            search_path.prepend("own", f"file://{own}", "main")
        super().__init__(name, Loader(search_path))

    def compose_config(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        with_log_configuration: bool = False,
        *rest: Any,
        **settings: Any,
    ) -> DictConfig:
        """Compose a config, and check it if a single job is going to use it.

        Hydra configures its log only if a job starts; then the places that the job writes to are checked.

        Raises:
            UserError: the config cannot be composed (the message suggests the nearest name), or a check
                refuses it.
        """
        try:
            config = super().compose_config(
                config_name, overrides, run_mode, with_log_configuration, *rest, **settings
            )
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            raise explain(error, overrides, self.config_loader.of_files) from error
        if run_mode == RunMode.RUN and config_name is not None:
            check(config, config_name)
        if with_log_configuration and config_name is not None and rank() == 0:
            check_places(config, config_name, run_mode)
        return config

    def usual(self, config_name: str, overrides: Sequence[str]) -> DictConfig:
        """The unchecked config of these overrides alone, with Hydra's own node, to compare with."""
        return self.config_loader.load_configuration(config_name, list(overrides), RunMode.RUN)


def default_choices(config_name: str) -> dict[str, str | None]:
    """The option of each group in the defaults list of `conf/<config_name>.yaml`."""
    entries = [e for e in OmegaConf.load(options("")[config_name]).defaults if OmegaConf.is_dict(e)]
    return {group: option for entry in entries for group, option in entry.items()}


def without_hydra(config: DictConfig) -> DictConfig:
    """Remove Hydra's own node from a config, in place, as Hydra does for a job."""
    with open_dict(config):
        config.pop("hydra", None)
    return config


def compose_alone(config_name: str, words: Sequence[str]) -> DictConfig:
    """The config of a command with these overrides, for a notebook or for the job of another command.

    Raises:
        UserError: the overrides cannot be composed; the message suggests the nearest name.
    """
    return without_hydra(
        Application("app").compose_config(config_name, list(words), RunMode.RUN, from_shell=False)
    )
