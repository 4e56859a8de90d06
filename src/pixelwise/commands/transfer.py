"""Does a classifier's encoder help a segmenter that has few labelled masks?

    python scripts/transfer.py
    python scripts/transfer.py both.encoder=resnet50 'masks=[16,64]' steps=1000 output=runs/resnet50

For each seed trains a classifier, then for each number of masks two segmenters by the same command: one from
scratch, one with `encoder.weights=` the classifier's. Writes every run's folder, and transfer.{md,png,json}
with mIoU against the number of masks. Started again, it keeps the runs that are finished.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from omegaconf import DictConfig, OmegaConf

from pixelwise.cli.application import compose_alone
from pixelwise.cli.command import command


@command("transfer")
def main(config: DictConfig) -> None:
    """Train what is missing, show what came out."""
    from pixelwise.sweeps.transfer import Study, run_study

    plain: Any = OmegaConf.to_container(config, resolve=True)
    study = Study(**{key: plain[key] for key in ("seeds", "masks", "both", "classifier", "segmenter")})
    run_study(study, config.output, partial(compose_alone, "train"))
