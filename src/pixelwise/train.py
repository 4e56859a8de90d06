"""Training as a plain function over built objects."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.loggers import CSVLogger

from pixelwise import checkpoint, run_folder
from pixelwise.build import Run
from pixelwise.data.survey import survey
from pixelwise.errors import UserError
from pixelwise.hardware import device_name
from pixelwise.terminal import score_table, show

log = logging.getLogger(__name__)


def train(run: Run, folder: Path) -> float:
    """Fit, then score the best weights on the test split (or on val, where there is none).

    The final scores go to the folder's `metrics.json`.

    Returns:
        The validation score that chose the best epoch: what a sweep may compare, unlike a test score.
    """
    status = 1
    try:
        best = _fit_and_score(run, folder)
        status = 0
    finally:
        _finish_wandb(status)
    return best


def _fit_and_score(run: Run, folder: Path) -> float:
    run_folder.add_to_environment(folder, device=device_name(run.trainer.strategy.root_device))
    run_folder.write_json(folder / "data.json", survey(run.data))
    for logger in run.trainer.loggers:
        if not isinstance(logger, CSVLogger):  # the run folder has its own config.yaml
            logger.log_hyperparams(run.config)
    try:
        run.trainer.fit(run.module, datamodule=run.data)
    except (torch.OutOfMemoryError, RuntimeError) as error:
        raise out_of_memory(run, error) from error
    callbacks: list[L.Callback] = run.trainer.callbacks  # type: ignore[attr-defined]
    kept = next(c for c in callbacks if isinstance(c, checkpoint.Checkpoint))
    checkpoint.load_model(run.module.model, checkpoint.path(run.trainer, "best"))
    log.info("best epoch: %d, with %s %.4f", kept.best_epoch + 1, kept.monitor, kept.best)
    run_folder.write_scores(folder / "metrics.json", score(run, run.data.final_split))
    return kept.best


def _finish_wandb(status: int) -> None:
    """End the run that W&B keeps for this process, or the next job of a sweep would write to it."""
    wandb = sys.modules.get("wandb")  # imported by its logger, if at all
    if wandb is not None and wandb.run is not None:
        wandb.finish(exit_code=status)


def score(run: Run, split: str) -> dict[str, float]:
    """Score the module's weights on "val" or "test", print the table, return it by flat name."""
    if split == "val" and run.data.final_split == "val":
        log.info("there is no test split: the best epoch is scored on val, which it was chosen on")
    evaluate = {"test": run.trainer.test, "val": run.trainer.validate}[split]
    evaluate(run.module, datamodule=run.data, verbose=False)
    show(score_table(run.module.results, f"{split}: {run.module.summary}"))
    return dict(run.module.results)


def out_of_memory(run: Run, error: Exception) -> Exception:
    """Turn running out of device memory into advice; leave any other error as it is."""
    if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
        return error
    size, accumulate = run.data.batch_size, run.trainer.accumulate_grad_batches
    half = max(1, size // 2)
    return UserError(
        f"out of memory with data.batch_size={size}",
        found=str(error).splitlines()[0],
        fix=f"data.batch_size={half} trainer.accumulate_grad_batches={accumulate * size // half} keeps the "
        "effective batch; a smaller data.crop_size helps too",
    )
