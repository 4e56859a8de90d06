"""A logger for TensorBoard whose runs can be resumed."""

from __future__ import annotations

from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only


class TensorBoardRun(TensorBoardLogger):
    """Lightning's logger, which hides the events after the checkpoint that a run is resumed from."""

    @rank_zero_only
    def truncate(self, step: int) -> None:
        """Make TensorBoard ignore earlier events from a step on; that step and later ones will run again."""
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # type: ignore[import-untyped]

        # as `purge_step` of SummaryWriter, which is created before the step is known
        writer = self.experiment.file_writer
        writer.add_event(Event(step=step, session_log=SessionLog(status=SessionLog.START)))
