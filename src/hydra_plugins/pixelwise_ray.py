"""`hydra/launcher=ray`: run each job of a sweep as a Ray task; Ray decides when and where it runs.

Hydra finds launchers only in this namespace and imports all its modules, therefore Ray is imported on use.
hydra-ray-launcher 1.2.2 cannot be used: it requires cloudpickle below 3, joblib requires 3 or later.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, filter_overrides, run_job, setup_globals
from hydra.errors import CompactHydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

log = logging.getLogger(__name__)

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # send no usage statistics
    "RAY_DEDUP_LOGS": "0",  # show the log lines of every job, though they are similar
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # a task without GPU request sees the GPUs of its node
}


class RayLauncher(Launcher):
    """Submits the jobs to Ray and waits for all of them.

    Args:
        init: arguments of `ray.init`, which connects to Ray or starts it.
        task: arguments of `ray.remote`, such as the resources of each job.
    """

    def __init__(self, init: Mapping[str, Any], task: Mapping[str, Any]) -> None:
        self.init = init
        self.task = task

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Store the config and the function that all jobs use."""
        self.common = (hydra_context, config, task_function)
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs; if the process of a job dies, its result is a failure and the others continue."""
        os.environ |= {name: value for name, value in QUIET.items() if name not in os.environ}
        try:
            import ray
        except ImportError as error:
            raise CompactHydraException(
                f"\nerror: hydra/launcher=ray needs a package that is missing\n  found:    {error}\n"
                "  fix:      pip install 'pixelwise[ray]'"
            ) from error
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        Path(self.config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
        ray.init(**_plain(self.init))
        try:
            shared = ray.put((*self.common, Singleton.get_state(), Path.cwd()))
            task = ray.remote(**_plain(self.task))(execute)
            references = []
            for index, overrides in enumerate(job_overrides, start=initial_job_idx):
                log.info("#%d to Ray: %s", index, " ".join(filter_overrides(overrides)))
                references.append(task.remote(index, overrides, shared))
            return [
                _outcome(reference, overrides)
                for reference, overrides in zip(references, job_overrides, strict=True)
            ]
        finally:
            ray.shutdown()


def execute(index: int, overrides: Sequence[str], shared: tuple[Any, ...]) -> JobReturn:
    """Run one job in a process of Ray, in the working directory of the sweep."""
    hydra_context, config, task_function, singletons, folder = shared
    os.chdir(folder)
    setup_globals()
    Singleton.set_state(singletons)
    config = hydra_context.config_loader.load_sweep_config(config, list(overrides))
    with open_dict(config):
        config.hydra.job.id = f"{config.hydra.job.name}_{index}"
        config.hydra.job.num = index
    HydraConfig.instance().set_config(config)
    return run_job(
        hydra_context=hydra_context,
        config=config,
        task_function=task_function,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )


def _outcome(reference: Any, overrides: Sequence[str]) -> JobReturn:
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        log.error("%s: Ray lost the job: %s", " ".join(overrides), error)
        lost = CompactHydraException(f"\n{' '.join(overrides)}: Ray lost the job")
        return JobReturn(overrides=overrides, status=JobStatus.FAILED, _return_value=lost)


def _plain(settings: Any) -> Any:
    return OmegaConf.to_container(settings, resolve=True) if OmegaConf.is_config(settings) else settings


ConfigStore.instance().store(
    group="hydra/launcher", name="ray_tasks", node={"_target_": f"{__name__}.{RayLauncher.__name__}"}
)
