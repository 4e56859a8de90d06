"""Train a model.

Typical commands:

    python train.py                                segment drawn cats and dogs
    python train.py task=segmentation loss=dice    choose a task and a loss
    python train.py task=classification            one label per image
    python train.py data=potsdam data.root=DIR     aerial tiles; or task=tagging
    python train.py data=folder data.root=DIR 'data.classes=[background,road]'
    python train.py schedule=freeze_then_finetune encoder.name=convnext_tiny
    python train.py -m loss=dice,focal seed=1,2    one run per combination
    python train.py debug=one_batch                check that everything runs
    python train.py resume=runs/latest             resume the newest run

Before and after training (each has its own --help):

    python scripts/audit.py data=folder data.root=DIR 'data.classes=[sky,road]'
    python scripts/probe.py encoder.name=resnet50  probe features, do not train
    python scripts/plan.py schedule=three_phase    draw a schedule, do not train
    python scripts/search.py search=loss_and_rate  Optuna hyperparameter search
    python scripts/report.py RUN_OR_SWEEP          write report.html again

    python evaluate.py run=RUN                     compute the scores again
    python predict.py run=RUN input=FILES output=DIR
    python export.py run=RUN format=onnx           for other programs
"""

from __future__ import annotations

import logging
import os
from contextlib import nullcontext
from pathlib import Path

from omegaconf import DictConfig

from pixelwise.cli.command import command
from pixelwise.cli.job import check_mode, choices, differences, output_folder, overrides

log = logging.getLogger(__name__)


@command("train", starts_from="resume")
def main(config: DictConfig) -> float | None:
    """Create or resume a run folder and train; returns the best monitored score, which sweeps compare."""
    from pixelwise.cli.checks import check_choices
    from pixelwise.runs.lock import locked
    from pixelwise.runtime.processes import rank

    check_mode(config)
    check_choices(config, overrides())
    folder = output_folder()
    with locked(folder) if rank() == 0 else nullcontext():  # the other processes belong to the first one
        return _run(config, folder)


def _run(config: DictConfig, folder: Path) -> float | None:
    """Train in a folder that this process holds."""
    from pixelwise import runs
    from pixelwise.runs import resume, trust
    from pixelwise.runtime.processes import RUN, rank
    from pixelwise.sweeps import hydra_callback

    resuming = config.resume is not None or hydra_callback.begun(folder)
    changed = differences("train", config)  # before the run folder adds times and the machine
    resumed = None
    if resuming:
        resumed = resume.reopen(folder, config, overrides())
        if resumed is None:
            return None
        config = resumed.config
    elif rank() == 0:
        runs.create(folder, config, overrides())
        runs.add_to_environment(folder, choices=choices())
        config = runs.load_config(folder)
    log.info("run folder: %s", folder)
    log.info("differs from the defaults in: %s", " ".join(changed) or "nothing")

    from pixelwise import build
    from pixelwise.runs import checkpoints  # torch is imported from here on
    from pixelwise.training.train import train

    start = checkpoints.newest(folder) if resuming else None
    trust.trust(folder)  # what it may use has been checked
    os.environ[RUN] = str(folder)  # for the processes that Lightning starts with the same command
    best = train(build.run(config, folder), folder, start, resumed and resumed.accept)
    log.info("run folder: %s", folder)
    return best
