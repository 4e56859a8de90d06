"""Warnings of libraries that are not useful to the user, each with the reason for hiding it."""

from __future__ import annotations

import logging
import warnings

HIDDEN_WARNINGS = {
    r"Experiment logs directory .* exists and is not empty": "the run folder holds config.yaml already",
    r"You have overridden `on_after_batch_transfer` in `LightningModule`": "intended",
    r"`isinstance\(treespec, LeafSpec\)` is deprecated": "Lightning calling PyTorch",
    r".*does not have many workers": "the log line of each epoch shows the time spent waiting for data",
    r".*[Tt]he '\w+_dataloader' does not have many workers": "see above",
    r"It is recommended to use `self.log\('(val|test)/": "values are summed over processes before logging",
    r"torch.searchsorted\(\): input value tensor is non-contiguous": "timm resampling weights",
    r"Using a non-tuple sequence for multidimensional indexing": "see above",
    r"The `srun` command is available on your system but is not used": "running on a login node is allowed",
}


def hide_warnings() -> None:
    """Hide these warnings, and info messages of Lightning and timm."""
    for pattern in HIDDEN_WARNINGS:
        warnings.filterwarnings("ignore", message=pattern)
    logging.getLogger("timm.models._helpers").setLevel(logging.WARNING)  # `Encoder` logs its weights itself
    for name in ("lightning.pytorch", "lightning.fabric"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING)  # devices and limits are in config.yaml
        logger.handlers.clear()  # the root logger prints its warnings once
        logger.propagate = True
