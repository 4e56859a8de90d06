"""Compare segmenters trained from scratch and from a classifier.

    python scripts/transfer.py
    python scripts/transfer.py both.encoder=resnet50 output=runs/resnet50
    python scripts/transfer.py 'masks=[16,64]' steps=1000

Trains for each seed one classifier, and for each number of masks two segmenters
with the same settings: one from scratch, one that starts from the encoder of
the classifier (encoder.weights=). Writes the folders of all runs, and the mIoU
by the number of masks to transfer.md, .png and .json. The same command again
keeps the finished runs.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from omegaconf import DictConfig, OmegaConf

from pixelwise.cli.application import compose_alone
from pixelwise.cli.command import command


@command("transfer")
def main(config: DictConfig) -> None:
    """Train the missing runs and write the comparison."""
    from pixelwise.sweeps.transfer import Study, run_study

    plain: Any = OmegaConf.to_container(config, resolve=True)
    study = Study(**{key: plain[key] for key in ("seeds", "masks", "both", "classifier", "segmenter")})
    run_study(study, config.output, partial(compose_alone, "train"))
