"""Score a finished run again.

    python evaluate.py run=RUN                         the split that training ended with
    python evaluate.py run=RUN split=val data.root=DIR
    python evaluate.py run=RUN output=scores.json      and write the scores to a file
    python evaluate.py run=RUN tta=d4                  under test-time augmentation

RUN is the folder that train.py printed, wherever it lies now. Single values of its config can be
overridden; `checkpoint=last` takes other weights than the best, and `averaged=false` the weights
themselves of a run that kept their moving average.
"""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from pixelwise.cli.command import command
from pixelwise.cli.hints import check_views


@command("evaluate", starts_from="run")
def main(config: DictConfig) -> None:
    """Build everything from the run folder, score its best weights."""
    check_views(config)

    from pixelwise import build, runs
    from pixelwise.runtime.processes import rank
    from pixelwise.training.evaluate import evaluate

    folder = runs.open_run(config.run)
    if rank() == 0:
        print(f"run folder: {folder}, weights {config.checkpoint}")
    run = build.evaluation(config, folder)
    run.module.views = build.views(config)
    scores = evaluate(run, folder, config.split, config.checkpoint, config.averaged)
    if config.output is not None and rank() == 0:
        runs.write_scores(Path(config.output), scores)
