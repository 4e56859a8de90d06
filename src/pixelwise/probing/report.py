"""Table and plot of the probes of one encoder, side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.figure import Figure
from rich import box
from rich.table import Table

from pixelwise.probing.probe import HEADS, NEIGHBOURS, Result

TITLES = {"classification": "images", "tagging": "images (several labels)", "segmentation": "pixels"}
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")


def table(results: Sequence[Result], encoder: str) -> Table:
    """Return a table with a column for each probe."""
    made = Table(title=f"probes of {encoder}", box=box.SIMPLE_HEAD, title_justify="left")
    made.add_column("")
    columns = [_cells(result) for result in results]
    for result in results:
        made.add_column(f"{TITLES[result.task]}\n{result.score.replace('_', ' ')}", justify="right")
    for name in dict.fromkeys(name for cells in columns for name in cells):
        made.add_row(name, *(cells.get(name, "") for cells in columns))
    return made


def final_scores(results: Sequence[Result]) -> dict[str, float]:
    """Return the scores of the best trials by flat name: "test/pixels/miou", "val/neighbours/accuracy"."""
    found: dict[str, float] = {}
    for result in results:
        for name, trials in result.trials.items():
            kind = "neighbours" if name == NEIGHBOURS else TITLES[result.task].partition(" ")[0]
            best = trials[result.best[name]]
            for split, scores in {"val": best.val, "test": best.test or {}}.items():
                found |= {f"{split}/{kind}/{score}": value for score, value in scores.items()}
    return found


def _cells(result: Result) -> dict[str, str]:
    """The cells of one probe by the name of the row."""
    cells: dict[str, str] = {}
    for name, trials in result.trials.items():
        best = trials[result.best[name]]
        for split, scores in {"val": best.val, "test": best.test}.items():
            if scores is not None:
                cells[f"{name}: {split}"] = f"{scores[result.score]:.4f}"
        words = ", ".join(best.settings).replace("_", " ")
        cells[f"  {words}"] = ", ".join(f"{value:g}" for value in best.settings.values())
    count = len(result.trials[HEADS])
    share = result.epoch_seconds / result.encoder_seconds if result.encoder_seconds else math.nan
    return cells | {
        "features": result.features,
        f"images: {' '.join(result.images)}": " ".join(f"{count:,}" for count in result.images.values()),
        "encoder, one pass": f"{result.encoder_seconds:.1f} s",
        f"{count} heads, one epoch": f"{result.epoch_seconds:.2f} s = {share:.1%}",
    }


def plot(results: Sequence[Result], encoder: str) -> Figure:
    """Draw the scores of all heads on val against the learning rate, a panel for each probe."""
    figure = Figure(figsize=(5 * len(results), 4), dpi=150, layout="constrained")
    figure.suptitle(encoder)
    for axes, result in zip(figure.subplots(1, len(results), squeeze=False)[0], results, strict=True):
        best = {name: trials[result.best[name]] for name, trials in result.trials.items()}
        heads = [(*trial.settings.values(), trial.val[result.score]) for trial in result.trials[HEADS]]
        for number, decay in enumerate(dict.fromkeys(decay for _, decay, _ in heads)):
            points = sorted((rate, score) for rate, other, score in heads if other == decay)
            style = {"color": COLOURS[number % len(COLOURS)], "ms": 4, "label": f"weight decay {decay:g}"}
            axes.plot(*zip(*points, strict=True), "o-", **style)
        rate, head = best[HEADS].settings["learning_rate"], best[HEADS]
        axes.plot(rate, head.val[result.score], "o", ms=11, mfc="none", mec="black")
        if near := best.get(NEIGHBOURS):
            label = f"{near.settings['neighbours']:g} nearest neighbours"
            axes.axhline(near.val[result.score], color="#777777", ls="--", label=label)
        tested = f"; best head on test: {head.test[result.score]:.3f}" if head.test else ""
        axes.set_title(f"{TITLES[result.task]}{tested}", size=10)
        axes.set_xscale("log")
        axes.set_xlabel("learning rate")
        axes.set_ylabel(f"{result.score.replace('_', ' ')} on val")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
    return figure
