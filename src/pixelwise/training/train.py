"""Training as a plain function over built objects."""

from __future__ import annotations

import logging
from pathlib import Path

import lightning as L

from pixelwise import files, runs
from pixelwise.data.survey import survey
from pixelwise.reports.drawing import save_picture
from pixelwise.reports.run_page import write
from pixelwise.reports.schedule_figure import draw, to_json
from pixelwise.runs import checkpoints
from pixelwise.runs.data_record import compare
from pixelwise.runtime.device import device_name, name_of
from pixelwise.runtime.processes import leave_process_group, rank
from pixelwise.runtime.program import as_started
from pixelwise.schedules.freezing import parameter_counts
from pixelwise.training.callbacks import checkpoint
from pixelwise.training.evaluate import score
from pixelwise.training.failures import explain_failure
from pixelwise.training.run import Run

log = logging.getLogger(__name__)


def train(run: Run, folder: Path, start: Path | None = None) -> float:
    """Fit, then score the best weights on the test split (or on val, where there is none).

    The final scores go to the folder's `metrics.json`. However it ends, `report.html` shows how far it got.

    Args:
        run: what was built from the run folder's config.
        folder: the run folder; of several processes only the first one writes to it.
        start: a checkpoint to go on from.

    Returns:
        The validation score that chose the best epoch: what a sweep may compare, unlike a test score.
    """
    status = "failed"
    try:
        best = _fit_and_score(run, folder, start)
        status = "finished"
    finally:
        _report(folder)
        for logger in run.trainer.loggers:
            logger.finalize(status)
        leave_process_group()
    return best


def _fit_and_score(run: Run, folder: Path, start: Path | None) -> float:
    if rank() == 0:
        _describe(run, folder, start)
    try:
        run.trainer.fit(run.module, datamodule=run.data, ckpt_path=start, weights_only=True)
    except Exception as error:
        if told := explain_failure(error, run, folder, start):
            raise told from error
        raise
    folder = run.trainer.strategy.broadcast(folder)  # the first process's, where each has started by itself
    callbacks: list[L.Callback] = run.trainer.callbacks  # type: ignore[attr-defined]
    kept = next(c for c in callbacks if isinstance(c, checkpoint.Checkpoint))
    checkpoints.load_model(run.module.model, checkpoints.file_of(folder, "best"))
    log.info("best epoch: %d, with %s %.4f", kept.best_epoch + 1, kept.monitor, kept.best)
    scores = score(run, run.data.final_split)
    if run.trainer.is_global_zero:
        runs.write_scores(folder / "metrics.json", scores)
    return kept.best


def _describe(run: Run, folder: Path, start: Path | None) -> None:
    """Write down what became known once everything was built; a resumed run keeps what it wrote first."""
    if start is None:
        runs.add_to_environment(
            folder,
            device=device_name(run.trainer.strategy.root_device),
            precision=run.trainer.precision,
            memory_format=name_of(run.module.memory_format),
            parameters=parameter_counts(run.module.model),
            processes=run.trainer.world_size,
        )
        used = run.module.model.normalize
        statistics = {"mean": used.mean.tolist(), "std": used.std.tolist()}
        files.write_json(folder / "data.json", survey(run.data) | statistics)
    else:
        log.info("going on from %s", start)
        compare(run.data.fingerprint, folder / "data.json")
        _compare_processes(folder, run.trainer.world_size)
    files.write_json(folder / "plan.json", to_json(run.outline))
    save_picture(draw(run.outline), folder / "pictures/plan.png")
    environment = files.read_json(folder / "environment.json")
    for logger in run.trainer.loggers:
        logger.log_hyperparams(run.config | {"environment": environment})


def _compare_processes(folder: Path, now: int) -> None:
    """Say what another number of processes than at the start means."""
    before = files.read_json(folder / "environment.json").get("processes", now)
    if before != now:
        log.warning(
            "processes: %d when this run was started, %d now; weights stay equal up to rounding, but not "
            "with batch-norm that is not synchronised, dropout, or loss=ohem_cross_entropy and lovasz",
            before,
            now,
        )


def _report(folder: Path) -> None:
    """Write `report.html` where there is something to show; its faults must not hide how training ended."""
    if rank() == 0 and (folder / "metrics.csv").is_file():
        try:
            log.info("report: %s", write(folder))
        except OSError as error:
            log.warning("the report could not be written: %s", error)
        except Exception:
            again = as_started("python scripts/report.py")
            log.exception("the report could not be written; %s %s tries again", again, folder)
