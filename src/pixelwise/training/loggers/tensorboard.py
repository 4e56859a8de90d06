"""A logger for TensorBoard whose runs can be resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from pixelwise.errors import UserError


class TensorBoardRun(TensorBoardLogger):
    """Lightning's logger, which hides the events after the checkpoint that a run is resumed from.

    Args:
        save_dir: the run folder, which the events stay in.
        **options: arguments of `lightning.pytorch.loggers.TensorBoardLogger`.

    Raises:
        UserError: the name or the version leads out of the run folder.
    """

    def __init__(self, save_dir: str, **options: Any) -> None:
        super().__init__(save_dir, **options)
        if not Path(self.log_dir).resolve().is_relative_to(Path(save_dir).resolve()):
            raise UserError(
                "logger.tensorboard.name and logger.tensorboard.version lead out of the run folder",
                found=self.log_dir,
                expected=f"a folder below {save_dir}",
            )

    @rank_zero_only
    def truncate(self, step: int) -> None:
        """Make TensorBoard ignore earlier events from a step on; that step and later ones will run again."""
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # type: ignore[import-untyped]

        # as `purge_step` of SummaryWriter, which is created before the step is known
        writer = self.experiment.file_writer
        writer.add_event(Event(step=step, session_log=SessionLog(status=SessionLog.START)))
