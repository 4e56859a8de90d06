"""Hydra callback that records the state of each job of a sweep and writes the tables of the sweep.

Hydra itself shows only the first failure, cannot resume a killed sweep, and numbers the folders of the jobs.
Here the folder of a job is named after its overrides, so that the same command finds finished jobs and runs
the rest.
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

from pixelwise.errors import FolderInUse
from pixelwise.files import write_json
from pixelwise.overrides import key_of
from pixelwise.runs import sweep
from pixelwise.runtime.processes import rank
from pixelwise.sweeps import summary

log = logging.getLogger(__name__)

LONGEST = 100
"""Largest number of characters of a job's name; file systems allow 255 bytes."""


def job_name(overrides: Iterable[str], fixed: Iterable[str] = ()) -> str:
    """The name of a job's folder, such as `loss-dice_seed-1`, from the overrides that differ between jobs.

    Args:
        overrides: overrides of this job, `key=value`.
        fixed: keys with the same value in all jobs.
    """
    choices = {key_of(o): o.partition("=")[2] for o in overrides}
    readable = "_".join(f"{key}-{choices[key]}" for key in sorted(choices.keys() - set(fixed))) or "job"
    name = re.sub(r"[^\w.@+-]+", "-", readable)[:LONGEST]
    if name == readable:
        return name
    return f"{name}-{hashlib.sha1(readable.encode()).hexdigest()[:6]}"  # keeps a/b and a,b apart


OmegaConf.register_new_resolver("job_name", job_name, replace=True)


def begun(folder: Path) -> bool:
    """Whether this job of a sweep was started by an earlier command."""
    return HydraConfig.get().mode == RunMode.MULTIRUN and (folder / "config.yaml").is_file()


class Sweep(Callback):
    """Records the state of each job, and writes the tables and the report of the sweep after each job.

    `on_multirun_end` is not used: Hydra does not call it if a job failed or the sweep was killed.
    """

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Record the planned jobs; at exit, print their states and scores."""
        folder = Path(config.hydra.sweep.dir).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        jobs = planned(config)
        write_json(folder / "jobs.json", jobs)
        atexit.register(summary.show, folder)

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Delete the record of an earlier failed attempt."""
        folder = Path(config.hydra.runtime.output_dir)
        multirun = HydraConfig.get().mode == RunMode.MULTIRUN
        if rank() == 0 and (multirun or (folder / "config.yaml").is_file()):  # only in the folder of a run
            (folder / sweep.OUTCOME).unlink(missing_ok=True)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Log and record a failure, so that the other jobs run; update the tables."""
        if HydraConfig.get().mode != RunMode.MULTIRUN or rank() > 0:
            return
        folder = Path(config.hydra.runtime.output_dir)
        if job_return.status == JobStatus.FAILED:
            why = _reason(job_return._return_value)
            log.error("%s failed: %s", folder.name, why)
            if not isinstance(job_return._return_value.__cause__, FolderInUse):  # by a start that goes on
                sweep.note(folder, "failed", why)
            # Hydra raises the first failure at the end; its error is logged above
            job_return.return_value = CompactHydraException(f"\n{folder.name} failed; see {folder}")
        try:
            summary.write(folder.parent)
        except OSError as error:
            log.warning("the tables of the sweep could not be written: %s", error)


def planned(config: DictConfig) -> dict[str, list[str]]:
    """The overrides of each job of a sweep's command, by the job's name."""
    params = [f"{key}={value}" for key, value in (config.hydra.sweeper.get("params") or {}).items()]
    parser = OverridesParser.create(GlobalHydra.instance().config_loader())
    parsed = parser.parse_overrides([*params, *config.hydra.overrides.task])
    (jobs,) = BasicSweeper.split_arguments(parsed, None)
    fixed = config.hydra.job.config.override_dirname.exclude_keys
    return {job_name(job, fixed): job for job in jobs}


def _reason(error: BaseException) -> str:
    """The message of a `UserError`, or the traceback of any other error."""
    if isinstance(error, CompactHydraException):
        return str(error).strip().removeprefix("error: ")
    return "".join(traceback.format_exception(error)).strip()
