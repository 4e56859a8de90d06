"""What a multirun does around its jobs; besides `command_line` the only place that knows Hydra.

Hydra shows the first failure only, forgets what a killed sweep had done, and numbers its folders. Here each
job has a folder named after what differs, so that the same command finds what is there and does the rest.
"""

from __future__ import annotations

import atexit
import hashlib
import logging
import re
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import CompactHydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from pixelwise.files import write_json
from pixelwise.overrides import key_of
from pixelwise.runs import sweep
from pixelwise.runtime.processes import rank
from pixelwise.sweeps import summary

log = logging.getLogger(__name__)

LONGEST = 100
"""Characters of a job's name; file systems take 255 bytes."""


def job_name(overrides: Iterable[str], fixed: Iterable[str] = ()) -> str:
    """The folder of a job: `loss-dice_seed-1`, from what differs between the jobs of a sweep.

    Args:
        overrides: of this job, `key=value`.
        fixed: keys that are the same in all jobs.
    """
    choices = {key_of(o): o.partition("=")[2] for o in overrides}
    wanted = "_".join(f"{key}-{choices[key]}" for key in sorted(choices.keys() - set(fixed))) or "job"
    name = re.sub(r"[^\w.@+-]+", "-", wanted)[:LONGEST]
    if name == wanted:
        return name
    return f"{name}-{hashlib.sha1(wanted.encode()).hexdigest()[:6]}"  # a/b and a,b are two jobs


OmegaConf.register_new_resolver("job_name", job_name, replace=True)


def begun(folder: Path) -> bool:
    """Whether this is a job of a sweep that an earlier start of the sweep had begun."""
    return HydraConfig.get().mode == RunMode.MULTIRUN and (folder / "config.yaml").is_file()


class Sweep(Callback):
    """Notes what becomes of each job, and writes the sweep's tables and report after each.

    `on_multirun_end` would not do: Hydra leaves it out when a job failed, and when a sweep is killed.
    """

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Write down which jobs there are to be; show at the end what became of them."""
        folder = Path(config.hydra.sweep.dir).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        jobs = planned(config)
        write_json(folder / "jobs.json", jobs)
        atexit.register(summary.show, folder)

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """What happened to an earlier attempt no longer counts."""
        folder = Path(config.hydra.runtime.output_dir)
        multirun = HydraConfig.get().mode == RunMode.MULTIRUN
        if rank() == 0 and (multirun or (folder / "config.yaml").is_file()):  # nobody else's file
            (folder / sweep.OUTCOME).unlink(missing_ok=True)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Report a failure where it happens, and let the other jobs run."""
        if HydraConfig.get().mode != RunMode.MULTIRUN or rank() > 0:
            return
        folder = Path(config.hydra.runtime.output_dir)
        if job_return.status == JobStatus.FAILED:
            why = _told(job_return._return_value)
            log.error("%s failed: %s", folder.name, why)
            sweep.note(folder, "failed", why)
            # Hydra ends with the first failure: its error was told above
            job_return.return_value = CompactHydraException(f"\n{folder.name} failed; see {folder}")
        summary.write(folder.parent)


def planned(config: DictConfig) -> dict[str, list[str]]:
    """The overrides of each job that a sweep's command asks for, by the job's name."""
    params = [f"{key}={value}" for key, value in (config.hydra.sweeper.get("params") or {}).items()]
    parser = OverridesParser.create(GlobalHydra.instance().config_loader())
    parsed = parser.parse_overrides([*params, *config.hydra.overrides.task])
    (jobs,) = BasicSweeper.split_arguments(parsed, None)
    fixed = config.hydra.job.config.override_dirname.exclude_keys
    return {job_name(job, fixed): job for job in jobs}


def _told(error: BaseException) -> str:
    """A user's mistake in its own words, any other error with its traceback."""
    if isinstance(error, CompactHydraException):
        return str(error).strip().removeprefix("error: ")
    return "".join(traceback.format_exception(error)).strip()
