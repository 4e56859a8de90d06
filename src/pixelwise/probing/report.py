"""Table and plot of the probes of one encoder, side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.figure import Figure
from rich import box
from rich.table import Table

from pixelwise.probing.probe import Result, Trial

TITLES = {"classification": "images", "tagging": "images (several labels)", "segmentation": "pixels"}
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")


def table(results: Sequence[Result], encoder: str) -> Table:
    """Return a table with a column for each probe."""
    made = Table(title=f"probes of {encoder}", box=box.SIMPLE_HEAD, title_justify="left")
    made.add_column("")
    rows: dict[str, list[str]] = {}
    for result in results:
        made.add_column(f"{TITLES[result.task]}\n{result.score.replace('_', ' ')}", justify="right")
        for name, cell in _cells(result).items():
            rows.setdefault(name, [""] * len(results))[results.index(result)] = cell
    for name, cells in rows.items():
        made.add_row(name, *cells)
    return made


def _cells(result: Result) -> dict[str, str]:
    """The cells of one probe by the name of the row."""
    best = result.best(result.linear)
    share = result.epoch_seconds / result.encoder_seconds if result.encoder_seconds else math.nan
    cells = _scores(result, "linear head", best)
    rate, decay = best.settings.values()
    cells["  learning rate, decay"] = f"{rate:g}, {decay:g}"
    if result.neighbours:
        nearest = result.best(result.neighbours)
        cells |= _scores(result, "nearest neighbours", nearest)
        cells["  neighbours"] = f"{nearest.settings['neighbours']:g}"
    return cells | {
        "features": result.shape,
        " ".join(("images:", *result.images)): " ".join(f"{n:,}" for n in result.images.values()),
        "encoder, one pass": f"{result.encoder_seconds:.1f} s",
        f"{len(result.linear)} heads, one epoch": f"{result.epoch_seconds:.2f} s = {share:.1%}",
    }


def _scores(result: Result, name: str, trial: Trial) -> dict[str, str]:
    cells = {f"{name}: val": f"{trial.val[result.score]:.4f}"}
    return cells | ({f"{name}: test": f"{trial.test[result.score]:.4f}"} if trial.test else {})


def plot(results: Sequence[Result], encoder: str) -> Figure:
    """Draw the validation scores of all heads against the learning rate, a panel for each probe."""
    figure = Figure(figsize=(5 * len(results), 4), dpi=150, layout="constrained")
    figure.suptitle(encoder)
    for axes, result in zip(figure.subplots(1, len(results), squeeze=False)[0], results, strict=True):
        by_decay: dict[float, list[tuple[float, float]]] = {}
        for trial in result.linear:
            rate, decay = trial.settings.values()
            by_decay.setdefault(decay, []).append((rate, trial.val[result.score]))
        for number, (decay, points) in enumerate(by_decay.items()):
            colour = COLOURS[number % len(COLOURS)]
            axes.plot(
                *zip(*sorted(points), strict=True), "o-", color=colour, ms=4, label=f"weight decay {decay:g}"
            )
        best = result.best(result.linear)
        axes.plot(best.settings["learning_rate"], best.val[result.score], "o", ms=11, mfc="none", mec="black")
        for trial in [result.best(result.neighbours)] if result.neighbours else []:
            label = f"{trial.settings['neighbours']:g} nearest neighbours"
            axes.axhline(trial.val[result.score], color="#777777", ls="--", label=label)
        tested = f"; best on test {best.test[result.score]:.3f}" if best.test else ""
        axes.set_title(f"{TITLES[result.task]}{tested}", size=10)
        axes.set_xscale("log")
        axes.set_xlabel("learning rate")
        axes.set_ylabel(f"{result.score.replace('_', ' ')} on val")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
    return figure
