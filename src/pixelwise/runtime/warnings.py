"""Library messages that a user can do nothing about, each with the reason why it is not shown."""

from __future__ import annotations

import logging
import warnings

HIDDEN_WARNINGS = {
    r"Experiment logs directory .* exists and is not empty": "the run folder holds config.yaml already",
    r"You have overridden `on_after_batch_transfer` in `LightningModule`": "meant so",
    r"`isinstance\(treespec, LeafSpec\)` is deprecated": "Lightning calling PyTorch",
    r".*does not have many workers": "the epoch's line says how much time waiting for data takes",
    r".*[Tt]he '\w+_dataloader' does not have many workers": "likewise",
    r"It is recommended to use `self.log\('(val|test)/": "summed over processes before they are logged",
    r"torch.searchsorted\(\): input value tensor is non-contiguous": "timm resampling weights",
    r"Using a non-tuple sequence for multidimensional indexing": "likewise",
    r"The `srun` command is available on your system but is not used": "a cluster's login node is no mistake",
}


def hide_warnings() -> None:
    """Hide the messages above, and the remarks of Lightning and timm about themselves."""
    for pattern in HIDDEN_WARNINGS:
        warnings.filterwarnings("ignore", message=pattern)
    logging.getLogger("timm.models._helpers").setLevel(logging.WARNING)  # "Loaded": the encoder says more
    for name in ("lightning.pytorch", "lightning.fabric"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING)  # what it says of devices and limits stands in config.yaml
        logger.handlers.clear()  # root prints its warnings once
        logger.propagate = True
