"""Train a model.

Typical commands:

    python train.py                                             toy cats and dogs, segmented
    python train.py task=segmentation loss=dice
    python train.py task=classification                         the same encoder with a pooling head
    python train.py data=folder data.root=DIR 'data.classes=[background,road]'
    python train.py data=potsdam data.root=DIR                  aerial tiles of any size; task=tagging, too
    python train.py schedule=freeze_then_finetune augmentation=strong encoder.name=convnext_tiny
    python train.py -m loss=cross_entropy,dice,ce_dice seed=1,2 one run for each combination
    python scripts/search.py search=loss_and_rate               let Optuna choose
    python train.py debug=one_batch                             does it run at all?
    python scripts/plan.py schedule=three_phase                 draw a schedule without training
    python train.py resume=runs/latest                          go on with the newest run
    python evaluate.py run=RUN      python predict.py run=RUN input=FILES output=DIR
    python export.py run=RUN format=onnx                        python scripts/report.py RUN_OR_SWEEP
"""

from __future__ import annotations

import logging

from omegaconf import DictConfig

from pixelwise.cli.command import command
from pixelwise.cli.job import check_mode, choices, differences, output_folder, overrides

log = logging.getLogger(__name__)


@command("train", starts_from="resume")
def main(config: DictConfig) -> float | None:
    """Make the run folder or go on in one, build everything, train; returns what a sweep compares."""
    from pixelwise import runs
    from pixelwise.cli.checks import check_choices
    from pixelwise.runs import resume
    from pixelwise.runtime import program
    from pixelwise.runtime.processes import rank
    from pixelwise.sweeps import hydra_callback

    check_mode(config)
    check_choices(config, overrides())
    folder = output_folder()
    resuming = config.resume is not None or hydra_callback.begun(folder)
    changed = differences("train", config)  # before the clock and the machine are written into it
    if resuming:
        going_on = resume.reopen(folder, config, overrides())
        if going_on is None:
            return None
        config = going_on
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
    program.replace_arguments([f"resume='{folder}'"])  # what Lightning's further processes start with
    best = train(build.run(config, folder), folder, start)
    log.info("run folder: %s", folder)
    return best
