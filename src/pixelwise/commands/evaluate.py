"""Compute the scores of a finished run again.

    python evaluate.py run=RUN                     as at the end of training
    python evaluate.py run=RUN split=val           another split
    python evaluate.py run=RUN data.root=DIR       data in another folder
    python evaluate.py run=RUN output=scores.json  and write scores.json
    python evaluate.py run=RUN tta=d4              with test-time augmentation
    python evaluate.py run=RUN data.eval.window=512 data.eval.stride=341
                                                   in sliding windows

RUN is the run folder that train.py printed; it may have been moved. Single
values of its config can be overridden. checkpoint=last uses the last weights
instead of the best. averaged=false uses the trained weights instead of their
moving average (callbacks=ema).
"""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from pixelwise.cli.command import command
from pixelwise.cli.hints import check_views


@command("evaluate", starts_from="run")
def main(config: DictConfig) -> None:
    """Build the run from its folder and score the chosen weights."""
    check_views(config)

    from pixelwise import build, runs
    from pixelwise.runtime.processes import rank
    from pixelwise.training.evaluate import evaluate

    folder = runs.open_run(config.run)
    if rank() == 0:
        print(f"run folder: {folder}, weights {config.checkpoint}")
    run = build.evaluation(config, folder)
    run.module.evaluated.views = build.views(config)
    scores = evaluate(run, folder, config.split, config.checkpoint, config.averaged)
    if config.output is not None and rank() == 0:
        runs.write_scores(Path(config.output), scores)
