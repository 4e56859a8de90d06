"""Weights & Biases as a logger that resumes its run."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import psutil
from lightning.pytorch.loggers import WandbLogger


class WandbRun(WandbLogger):
    """Lightning's logger; the jobs of one sweep are a group, named as the sweep's folder.

    Args:
        save_dir: the run folder.
        group: another name for the group.
        **options: see Lightning's logger.
    """

    def __init__(self, save_dir: str, group: str | None = None, **options: Any) -> None:
        sweep = Path(save_dir).resolve().parent
        if group is None and (sweep / "multirun.yaml").is_file():  # Hydra writes it before the first job
            group = sweep.name
        leave_service_of_parents()
        super().__init__(save_dir=save_dir, group=group, **options)
        self._wandb_init.pop("anonymous", None)  # Lightning's default, which wandb warns of

    def finalize(self, status: str) -> None:
        """Finish the run at its end, if it was begun: the next job of a sweep in this process has its own.

        Lightning says "success" after fitting and after scoring, when more may follow; `train` says at last
        that the training is "finished", or that it "failed".
        """
        super().finalize(status)
        import wandb

        if status in ("finished", "failed") and isinstance(self._experiment, wandb.Run):
            self._experiment.finish(exit_code=int(status == "failed"))


def leave_service_of_parents() -> None:
    """Let this process start a W&B service of its own where it was handed that of a process above it.

    A notebook that uses wandb hands its service down to `!python train.py`. A run that is killed would stay
    "in use" there, and could not be resumed. One of `wandb beta core start` is meant to be shared, and is.
    """
    starter = re.match(r"\d+-(\d+)-", os.environ.get("WANDB_SERVICE", ""))
    if starter and int(starter[1]) in {parent.pid for parent in psutil.Process().parents()}:
        del os.environ["WANDB_SERVICE"]
