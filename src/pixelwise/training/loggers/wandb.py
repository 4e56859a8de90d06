"""A logger for Weights & Biases whose runs can be resumed."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
from lightning.pytorch.loggers import WandbLogger


class WandbRun(WandbLogger):
    """Lightning's logger, which puts the jobs of a sweep into a group named after the folder of the sweep.

    Args:
        save_dir: the run folder.
        group: name of the group; None for the name of the sweep's folder.
        **options: arguments of `lightning.pytorch.loggers.WandbLogger`.
    """

    def __init__(
        self,
        save_dir: str,
        group: str | None = None,
        entity: str | None = None,
        tags: Sequence[str] = (),
        **options: Any,
    ) -> None:
        sweep = Path(save_dir).resolve().parent
        if group is None and (sweep / "multirun.yaml").is_file():  # Hydra writes it before the first job
            group = sweep.name
        leave_service_of_parents()
        super().__init__(save_dir=save_dir, group=group, entity=entity, tags=list(tags), **options)
        self._wandb_init.pop("anonymous", None)  # set by Lightning; wandb warns about it

    def finalize(self, status: str) -> None:
        """Finish the W&B run, if it was started: the next job of a sweep in this process needs its own run.

        Lightning calls this with "success" after fitting and after scoring, when more can follow. At the end,
        `train` calls it with "finished" or "failed".
        """
        super().finalize(status)
        import wandb

        if status in ("finished", "failed") and isinstance(self._experiment, wandb.Run):
            self._experiment.finish(exit_code=int(status == "failed"))


def leave_service_of_parents() -> None:
    """Make this process start its own W&B service instead of using that of a parent process.

    `!python train.py` in a notebook that uses wandb inherits the service of the notebook. A killed run would
    stay "in use" in that service and could not be resumed. A service of `wandb beta core start` is kept, as
    it is meant to be shared.
    """
    starter = re.match(r"\d+-(\d+)-", os.environ.get("WANDB_SERVICE", ""))
    if starter and int(starter[1]) in {parent.pid for parent in psutil.Process().parents()}:
        del os.environ["WANDB_SERVICE"]
