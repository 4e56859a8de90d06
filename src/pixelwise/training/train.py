"""Training as a plain function of built objects."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable
from pathlib import Path

import lightning as L

from pixelwise import files, runs
from pixelwise.data.survey import survey
from pixelwise.errors import UserError
from pixelwise.reports.drawing import save_picture
from pixelwise.reports.run_page import write
from pixelwise.reports.schedule_figure import draw, to_json
from pixelwise.runs import checkpoints, records
from pixelwise.runs.data_record import compare
from pixelwise.runtime.device import device_name, name_of
from pixelwise.runtime.processes import leave_process_group, rank
from pixelwise.runtime.program import as_started
from pixelwise.schedules.freezing import parameter_counts
from pixelwise.training.callbacks import checkpoint
from pixelwise.training.callbacks.ending import EarlyEnd, Ending
from pixelwise.training.evaluate import score
from pixelwise.training.failures import explained
from pixelwise.training.loggers.metrics_csv import MetricsCSVLogger
from pixelwise.training.loggers.tensorboard import TensorBoardRun
from pixelwise.training.run import Run
from pixelwise.types import IGNORE

log = logging.getLogger(__name__)


class Begin(L.Callback):
    """Calls a function once a checkpoint, if there is one, is restored completely.

    Args:
        begin: the function; only the first process calls it.
    """

    def __init__(self, begin: Callable[[], None]) -> None:
        self.begin = begin
        self.has_begun = False

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Call the function."""
        if trainer.is_global_zero and not self.has_begun:
            self.begin()
        self.has_begun = True

    def on_fit_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Call the function if all steps were done before."""
        self.on_train_start(trainer, module)


def train(
    run: Run, folder: Path, start: Path | None = None, accept: Callable[[], None] | None = None
) -> float:
    """Train, then score the best weights on the test split (or on val, if there is no test split).

    The final scores are written to `metrics.json` in the run folder. `report.html` is written even if the
    training fails or is interrupted. A resumed run that cannot begin stays as it is.

    Args:
        run: the objects that were built from the config of the run folder.
        folder: the run folder; only the first process writes to it.
        start: the checkpoint to resume from.
        accept: writes the changed settings of a resumed run to its folder, once it can go on.

    Returns:
        The best validation score. A sweep compares these scores: test scores must not select a model.

    Raises:
        UserError: the training failed for a known reason, such as a full disk.
    """

    def begin() -> None:
        if accept is not None:
            accept()
        for logger in run.trainer.loggers if start is not None else ():
            if isinstance(logger, MetricsCSVLogger | TensorBoardRun):
                logger.truncate(run.trainer.global_step)
        files.write_json(folder / "plan.json", to_json(run.outline))
        save_picture(draw(run.outline), folder / "pictures/plan.png")

    status, beginning = "failed", Begin(begin)
    run.trainer.callbacks.insert(0, beginning)  # type: ignore[attr-defined]
    try:
        with explained(run, folder, start):
            best = _fit_and_score(run, folder, start)
        status = "finished"
    finally:
        if beginning.has_begun:
            _report(run, folder, status)
        _finalize(run, status)
        leave_process_group()
    return best


def _fit_and_score(run: Run, folder: Path, start: Path | None) -> float:
    callbacks: list[L.Callback] = run.trainer.callbacks  # type: ignore[attr-defined]
    kept = next(callback for callback in callbacks if isinstance(callback, checkpoint.Checkpoint))
    if rank() == 0:
        _describe(run, folder, start)
    run.trainer.fit(run.module, datamodule=run.data, ckpt_path=start, weights_only=True)
    early = next(callback.early for callback in callbacks if isinstance(callback, Ending))
    if early is not None:
        log.info("the training ended early: %s", early.why)
        if kept.best_epoch < 0:
            raise UserError(
                "the training ended before its first validation", found=early.why, fix=_go_on(early, folder)
            )
    # the folder of the first process: with torchrun each process has its own
    folder = run.trainer.strategy.broadcast(folder)
    checkpoints.load_model(run.module.model, checkpoints.file_of(folder, "best"))
    log.info("best epoch: %d, with %s %.4f", kept.best_epoch + 1, kept.monitor, kept.best)
    scores = score(run, run.data.final_split)
    if run.trainer.is_global_zero:
        runs.write_scores(folder / "metrics.json", scores)
    if early is not None:
        log.info("%s; to go on: %s", early.why, _go_on(early, folder))
    return kept.best


def _finalize(run: Run, status: str) -> None:
    """Write what the loggers have not written yet; if the training failed, its error is the one to show."""
    for logger in run.trainer.loggers:
        try:
            logger.finalize(status)
        except OSError as error:
            if status == "finished":
                raise
            log.warning("the last values of %s could not be written: %s", type(logger).__name__, error)


def _go_on(early: EarlyEnd, folder: Path) -> str:
    return f"{as_started('python train.py')} resume={folder} {early.fix}"


def _describe(run: Run, folder: Path, start: Path | None) -> None:
    """Record the data and the environment; a resumed run keeps these records."""
    if name := run.data.protocol.name:
        cost = run.data.evaluation_cost("val")
        log.info("every validation is by %s (%s): %s", name, run.data.protocol, cost)
    if start is None:
        runs.add_to_environment(
            folder,
            device=device_name(run.trainer.strategy.root_device),
            precision=run.trainer.precision,
            memory_format=name_of(run.module.memory_format),
            parameters=parameter_counts(run.module.model),
            processes=run.trainer.world_size,
        )
        normalize = run.module.model.normalize
        statistics = {"mean": normalize.mean.tolist(), "std": normalize.std.tolist()}
        surveyed = survey(run.data)
        check_labels(run)
        files.write_json(folder / "data.json", surveyed | statistics)
    else:
        log.info("resuming from %s", start)
        compare(run.data.fingerprint, folder / "data.json")
        _compare_processes(folder, run.trainer.world_size)
    environment = records.read(folder / "environment.json", records.Environment)
    for logger in run.trainer.loggers:
        logger.log_hyperparams(run.config | {"environment": environment})


def check_labels(run: Run) -> None:
    """Refuse a training without a label in the train split, or in the val split that selects the best epoch.

    A test split without labels is predicted, but not scored.
    """
    unlabelled = [name for name, histogram in run.data.histograms.items() if not histogram.pixels.any()]
    found = f"only pixels or images without a label (index {IGNORE})"
    if "train" in unlabelled:
        raise UserError(
            "train: no image has a label", found=found, fix="correct data.source.labels or the masks"
        )
    monitor = run.config["task"]["monitor"]
    if "val" in unlabelled and monitor in checkpoint.own_scores(run.module):
        fix = "another val split, or task.monitor=val/… of your own that needs no labels"
        raise UserError(
            f"val: no image has a label, so {monitor} cannot select an epoch", found=found, fix=fix
        )


def _compare_processes(folder: Path, now: int) -> None:
    """Warn if the number of processes differs from that at the start of the run."""
    before = records.read(folder / "environment.json", records.Environment).get("processes", now)
    if before != now:
        log.warning(
            "processes: %d when this run was started, %d now; weights stay equal up to rounding, except with "
            "batch-norm that is not synchronised, dropout, loss=ohem_cross_entropy or loss=lovasz",
            before,
            now,
        )


def _report(run: Run, folder: Path, status: str) -> None:
    """Write where the training stopped, if it did, and `report.html`.

    Errors of the report must not hide how the training ended.
    """
    if rank() == 0:
        try:
            step = run.trainer.global_step
            if step and (status == "failed" or step < run.plan.steps):
                files.write_json(folder / "plan.json", to_json(run.outline) | {"stopped_at": step})
            log.info("report: %s", write(folder))
        except OSError as error:
            log.warning("the report could not be written: %s", error)
        except Exception:
            again = f"{as_started('python scripts/report.py')} {shlex.quote(str(folder))}"
            log.exception("the report could not be written; try again with %s", again)
