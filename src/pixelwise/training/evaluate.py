"""Evaluation of a finished run, as a plain function of built objects."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path

from pixelwise import runs
from pixelwise.errors import UserError
from pixelwise.protocols import ScoreName
from pixelwise.runs import checkpoints, records
from pixelwise.runs.data_record import compare
from pixelwise.runtime.terminal import score_table, show
from pixelwise.training.callbacks.evaluation import batches_of, loader_of
from pixelwise.training.failures import explained
from pixelwise.training.run import Run

log = logging.getLogger(__name__)


def evaluate(
    run: Run, folder: Path, split: str | None = None, weights: str = "best", averaged: bool = True
) -> dict[str, float]:
    """Score the weights of a run and log whether the scores equal those in its `metrics.json`.

    Args:
        run: the objects that were built from the config of the run.
        folder: the run folder.
        split: "val" or "test"; None for the split of the final scores.
        weights: name of the checkpoint, such as "best".
        averaged: whether to use the moving average of the weights, if the run has one.

    Returns:
        The scores by flat name.

    Raises:
        UserError: the split does not exist, or the checkpoint cannot be read or does not fit.
    """
    split = split or run.data.final_split
    if split not in ("val", "test") or not run.data.splits[split]:
        raise UserError("split", found=split, expected="one of the run's splits, val or test")
    compare(run.data.fingerprint, folder / "data.json")
    checkpoints.load_model(run.module.model, checkpoints.file_of(folder, weights), averaged)
    with explained(run):
        scores = score(run, split)
    if (recorded := folder / "metrics.json").is_file():
        records.tolerant(lambda: _compare(scores, recorded, run.data.classes))
    return scores


def _compare(scores: dict[str, float], recorded: Path, classes: Sequence[str]) -> None:
    """Log whether the scores are those of the run."""
    before = runs.read_scores(recorded)
    changed = [name for name, value in before.items() if str(scores.get(name)) != str(value)]
    now, then = (
        {parsed.evaluation for name in names if not (parsed := ScoreName.parse(name, classes)).is_loss}
        for names in (scores, before)
    )
    if now != then:
        other = ", ".join(name or "unchanged images" for name in then)
        log.info(
            "%s has the scores of another evaluation protocol (%s); do not compare them", recorded, other
        )
    elif before.keys() != scores.keys():
        log.info("%s cannot be compared: it has different score names", recorded)
    elif changed:
        log.info("the scores differ from %s in %s", recorded, ", ".join(changed))
    else:
        log.info("the scores are equal to %s to the last digit", recorded)


def score(run: Run, split: str) -> dict[str, float]:
    """Score the current weights on "val" or "test", print a table and return the scores by flat name."""
    if split == "val" and run.data.final_split == "val":
        log.info(
            "there is no test split: the final scores are those of val, which also selected the best epoch"
        )
    evaluate = {"test": run.trainer.test, "val": run.trainer.validate}[split]
    evaluate(run.module, datamodule=run.data, verbose=False)
    if all(math.isnan(value) for value in run.module.results.values()):
        log.warning("%s: no image has a label, so it is predicted, but not scored", split)
        return dict(run.module.results)
    facts = [f"{split}: {run.module.summary}"]
    done, total = batches_of(run.trainer, split), len(loader_of(run.trainer, split))
    if done < total:
        facts.append(f"only the first {done} of {total} batches, as trainer.limit_{split}_batches says")
    if tiling := run.data[split].tiling:
        facts.append(f"windows of {tiling.window} pixels, overlap {tiling.overlap}")
    facts += filter(None, [str(run.module.evaluated.protocol)])
    facts += [f"test-time augmentation {type(view).__name__}" for view in run.module.evaluated.views]
    show(score_table(run.module.results, "; ".join(facts), run.data.classes))
    return dict(run.module.results)
