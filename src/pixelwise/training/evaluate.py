"""Scoring a finished run again, as a plain function over built objects."""

from __future__ import annotations

import logging
from pathlib import Path

from pixelwise import runs
from pixelwise.errors import UserError
from pixelwise.runs import checkpoints
from pixelwise.runs.data_record import compare
from pixelwise.runtime.terminal import score_table, show
from pixelwise.training.run import Run

log = logging.getLogger(__name__)


def evaluate(
    run: Run, folder: Path, split: str | None = None, weights: str = "best", averaged: bool = True
) -> dict[str, float]:
    """Score a run's weights again and say whether its own scores came out.

    Args:
        run: built from the folder's config.
        folder: the run folder.
        split: "val" or "test"; None takes the one that training ended with.
        weights: name of the checkpoint.
        averaged: False takes the weights themselves, where the run kept their moving average.
    """
    split = split or run.data.final_split
    if split not in ("val", "test") or not run.data.splits[split]:
        raise UserError("split", found=split, expected="one of the run's splits, val or test")
    compare(run.data.fingerprint, folder / "data.json")
    checkpoints.load_model(run.module.model, checkpoints.file_of(folder, weights), averaged)
    scores = score(run, split)
    recorded = folder / "metrics.json"
    if recorded.is_file():
        before = runs.read_scores(recorded)
        changed = [name for name, value in before.items() if str(scores.get(name)) != str(value)]
        if before.keys() != scores.keys():
            log.info("not comparable with %s, which holds other scores", recorded)
        elif changed:
            log.info("differs from %s in %s", recorded, ", ".join(changed))
        else:
            log.info("equal to %s to the last digit", recorded)
    return scores


log = logging.getLogger(__name__)


def score(run: Run, split: str) -> dict[str, float]:
    """Score the module's weights on "val" or "test", print the table, return it by flat name."""
    if split == "val" and run.data.final_split == "val":
        log.info("there is no test split: the best epoch is scored on val, which it was chosen on")
    evaluate = {"test": run.trainer.test, "val": run.trainer.validate}[split]
    evaluate(run.module, datamodule=run.data, verbose=False)
    facts = [f"{split}: {run.module.summary}"]
    if tiling := run.data[split].tiling:
        facts.append(f"windows of {tiling.window} pixels, overlap {tiling.overlap}")
    facts += [f"seen through {type(view).__name__}" for view in run.module.views]
    show(score_table(run.module.results, "; ".join(facts), run.data.classes))
    return dict(run.module.results)
