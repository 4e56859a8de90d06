"""The schedule of a training as a figure, a table and JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory
from rich import box
from rich.table import Table

from pixelwise.schedules.schedule import Phase, Plan

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00")
"""Colours of the parts, distinct for colour-blind readers too (Okabe & Ito, 2008)."""

BANDS = ("#e8eef7", "#fbf1e0", "#e6f4ea", "#f6e9f2", "#f1f1f1")
"""Background colours of the phases."""

BLOCKS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class ScheduleOutline:
    """A plan with its settings in words.

    Attributes:
        plan: the phases.
        augmentations, crops, losses: descriptions, one for each phase.
        weights: number of weights in each part.
        scales: lowest and highest factor on the learning rate of each part, from layer decay.
    """

    plan: Plan
    augmentations: Sequence[str]
    crops: Sequence[str]
    losses: Sequence[str]
    weights: Mapping[str, int]
    scales: Mapping[str, tuple[float, float]]

    @property
    def parts(self) -> list[str]:
        """The parts that have weights."""
        return [part for part, count in self.weights.items() if count]


# --------------------------------------------------------------------------------------- the picture
def draw(outline: ScheduleOutline) -> Figure:
    """Draw phases as cards, the learning rate of each part over the steps, and which parts are frozen.

    Args:
        outline: the schedule to draw.

    Returns:
        A figure without a window; `savefig` writes it.
    """
    figure = Figure(figsize=(10, 6), dpi=150, layout="constrained")
    cards, rates, parts = figure.subplots(3, height_ratios=[1.5, 4, 0.35 * len(outline.parts)], sharex=True)
    _draw_cards(cards, outline)
    _draw_rates(rates, outline)
    _draw_parts(parts, outline)
    parts.set_xlim(0, outline.plan.steps)
    parts.set_xlabel(f"optimizer step ({outline.plan.steps_per_epoch} an epoch)")
    return figure


def _draw_cards(axes: Axes, outline: ScheduleOutline) -> None:
    """Draw a card for each phase, all of equal width, connected to the steps of the phase."""
    plan, count = outline.plan, len(outline.plan.phases)
    axes.axis("off")
    axes.set_ylim(0, 1)
    for index, phase in enumerate(plan.phases):
        left, right = plan.steps * index / count, plan.steps * (index + 1) / count
        outer = [(left, 1), (right, 1), (right, 0.22), (phase.stop, 0), (phase.start, 0), (left, 0.22)]
        axes.fill(*zip(*outer, strict=True), color=BANDS[index % len(BANDS)], lw=0)
        middle = (left + right) / 2
        axes.text(middle, 0.95, phase.name, ha="center", va="top", weight="bold", fontsize=11)
        name, rest, _ = outline.augmentations[index].partition(":")
        frozen = ", ".join(part for part in outline.parts if part in phase.freeze)
        lines = [
            f"{frozen} frozen" if frozen else "all parts train",
            f"augmentation: {name if rest else 'own'}",
            f"{outline.losses[index]}  ·  {outline.crops[index]} px",
        ]
        size = 8.5 if count <= 4 else 7
        axes.text(middle, 0.77, "\n".join(lines), ha="center", va="top", fontsize=size, linespacing=1.25)


def _draw_rates(axes: Axes, outline: ScheduleOutline) -> None:
    """Draw learning rates on a logarithmic axis; line widths differ so that equal rates stay visible."""
    plan = outline.plan
    _shade(axes, plan)
    peaks: list[float] = []
    for number, part in enumerate(outline.parts):
        low, high = outline.scales[part]
        label = part if low == high else f"{part}, its layers ×{low:.2g} to {high:.2g}"
        style: dict[str, Any] = {"color": COLOURS[number % len(COLOURS)], "solid_capstyle": "butt"}
        for phase in plan.phases:
            steps = sample(phase)
            line = np.array([phase.rate(part, step) for step in steps])
            if not line.any():
                continue
            peaks += [line.max() * high, line.max() * low]
            line = np.where(line > 0, line, np.nan)
            edges = [*steps, phase.stop]  # a rate is constant until the next step
            axes.step(
                edges, [*line * high, line[-1] * high], where="post", label=label,
                lw=max(1.4, 4 - 1.3 * number), **style,
            )  # fmt: skip
            label = "_again"
            if low < high:
                axes.fill_between(steps, line * low, line * high, color=style["color"], alpha=0.18, lw=0)
    axes.set_yscale("log")
    axes.set_ylim(min(peaks, default=1e-3) / 100, max(peaks, default=1e-3) * 1.7)
    axes.set_ylabel("learning rate")
    axes.grid(axis="y", color="white", lw=0.8)
    if peaks:  # without a rate above 0 there is no line
        axes.legend(loc="lower left", fontsize=8.5)


def _draw_parts(axes: Axes, outline: ScheduleOutline) -> None:
    """Draw a bar for each part: coloured if it trains, hatched if it is frozen."""
    for row, part in enumerate(outline.parts):
        for phase in outline.plan.phases:
            frozen = part in phase.freeze
            axes.broken_barh(
                [(phase.start, phase.stop - phase.start)], (row - 0.36, 0.72),
                facecolor="#dddddd" if frozen else COLOURS[row % len(COLOURS)],
                hatch="////" if frozen else None, edgecolor="white", lw=0.8,
            )  # fmt: skip
            if frozen and phase.stop - phase.start > 0.07 * outline.plan.steps:
                middle = (phase.start + phase.stop) / 2
                axes.text(middle, row, "frozen", ha="center", va="center", fontsize=8, color="#444444")
    names = [f"{part} {_count(outline.weights[part])}" for part in outline.parts]
    axes.set_yticks(range(len(names)), names, fontsize=8.5)
    axes.invert_yaxis()
    axes.spines[["top", "right", "left"]].set_visible(False)


def _count(weights: int) -> str:
    return f"{weights / 1e6:.2f} M" if weights >= 1e4 else f"{weights:,}"


def _shade(axes: Axes, plan: Plan) -> None:
    """Draw phases as bands, and up to 100 epochs as ticks."""
    for index, phase in enumerate(plan.phases):
        axes.axvspan(phase.start, phase.stop, color=BANDS[index % len(BANDS)], lw=0, zorder=0)
    if plan.epochs <= 100:
        place = blended_transform_factory(axes.transData, axes.transAxes)
        for step in range(plan.steps_per_epoch, plan.steps, plan.steps_per_epoch):
            axes.plot([step, step], [0, 0.02], color="#888888", lw=0.8, transform=place)


def sample(phase: Phase, most: int = 1000) -> list[int]:
    """Steps of a phase to draw, with its first and last step and both steps at the end of each warm-up."""
    steps = np.linspace(phase.start, phase.stop - 1, min(most, phase.stop - phase.start)).round()
    ends = {phase.start + length for length in phase.warmup.values()}
    edges = [step for end in ends for step in (end - 1, end) if step >= phase.start]
    return sorted({int(step) for step in [*steps, *edges]})


# ----------------------------------------------------------------------------------------- the table
def table(outline: ScheduleOutline) -> Table:
    """A column for each phase: its length, the learning rates of the parts, and its other settings."""
    plan = outline.plan
    epochs = f"{plan.steps / plan.steps_per_epoch:g}"
    title = f"{plan.steps} steps, {epochs} epochs of {plan.steps_per_epoch} steps"
    grid = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    grid.add_column("")
    for phase in plan.phases:
        grid.add_column(phase.name)
    grid.add_row("steps", *[_length(phase, plan) for phase in plan.phases])
    for part in outline.parts:
        low, high = outline.scales[part]
        layers = "" if low == high else f"\n×{low:.2g} … {high:.2g}"
        grid.add_row(part + layers, *[_rate(phase, part) for phase in plan.phases])
    grid.add_row("curve", *[str(phase.curve) for phase in plan.phases])
    warmups = [_warmup(phase, outline.parts) for phase in plan.phases]
    if any(warmups):
        grid.add_row("warm-up", *warmups)
    if any(phase.weight_decay is not None for phase in plan.phases):
        decays = [phase.weight_decay for phase in plan.phases]
        grid.add_row("weight decay", *["optimizer's" if d is None else f"{d:g}" for d in decays])
    grid.add_row("augmentation", *outline.augmentations)
    grid.add_row("crop", *[f"{crop} px" for crop in outline.crops])
    grid.add_row("loss", *outline.losses)
    return grid


def _length(phase: Phase, plan: Plan) -> str:
    epochs = (phase.stop - phase.start) / plan.steps_per_epoch
    return f"{phase.start} … {phase.stop - 1}, {epochs:.3g} epochs"


def _warmup(phase: Phase, parts: Sequence[str]) -> str:
    """Steps of the warm-up: one number, or one for each part that has a warm-up if they differ."""
    lengths = {part: phase.warmup[part] for part in parts if part not in phase.freeze}
    if len({*lengths.values()}) == 1:
        length = next(iter(lengths.values()))
        return f"{length} steps" if length else ""
    return "\n".join(f"{part} {length} steps" for part, length in lengths.items() if length)


def _rate(phase: Phase, part: str) -> str:
    """A sparkline of the learning rate of a part over the phase, and its largest value."""
    if part in phase.freeze:
        return "frozen"
    steps = np.linspace(phase.start, phase.stop - 1, min(16, phase.stop - phase.start)).round()
    rates = [phase.rate(part, int(step)) for step in steps]
    peak = max(phase.rate(part, step) for step in sample(phase))
    if not peak:
        return "0"
    return "".join(BLOCKS[round(7 * min(rate / peak, 1))] for rate in rates) + f" {peak:.3g}"


# --------------------------------------------------------------------------------------- the numbers
def to_json(outline: ScheduleOutline) -> dict[str, Any]:
    """Phases of a plan, and learning rates at evenly spread steps and at the ends of each phase."""
    plan, most = outline.plan, 240
    ends = {step for phase in plan.phases for step in (phase.start, phase.stop - 1)}
    steps = sorted(ends | {round(i * (plan.steps - 1) / most) for i in range(most + 1)})
    return {
        "steps": plan.steps,
        "steps_per_epoch": plan.steps_per_epoch,
        "phases": [
            {"name": p.name, "start": p.start, "stop": p.stop, "frozen": sorted(p.freeze)}
            for p in plan.phases
        ],
        "at": steps,
        "lr": {
            part: [plan.phases[plan.index_at(step)].rate(part, step) for step in steps]
            for part in outline.weights
        },
    }


# ----------------------------------------------------------------------------------------- the words
def describe_augmentation(
    config: Mapping[str, Any], presets: Mapping[str, Any], mixing: Mapping[str, Any] | None = None
) -> str:
    """Describe an augmentation from its config, with the mixing of batches after it.

    Args:
        config: the resolved config of the augmentation.
        presets: configs of conf/augmentation by name; `size` is ignored in the comparison.
        mixing: the resolved config of the mixing.
    """
    plain = {key: value for key, value in config.items() if key != "size"}
    name = next((n for n, c in presets.items() if {k: v for k, v in c.items() if k != "size"} == plain), None)
    if "geometry" not in config and "colour" not in config:
        words = [str(config.get("_target_", "")).rsplit(".", 1)[-1]]
    else:
        geometry = {k: v for k, v in (config.get("geometry") or {}).items() if k != "_target_"}
        neutral = (0, [1, 1], "log")
        words = [f"{key} {_range(value)}" for key, value in geometry.items() if value not in neutral]
        words += ["colour"] * bool(config.get("colour"))
        words += [str(extra) for extra, value in (config.get("extra") or {}).items() if value]
    words += [str(name) for name, value in ((mixing or {}).get("choices") or {}).items() if value]
    text = ", ".join(words) or "nothing but the crop"
    return f"{name}: {text}" if name else text


def describe_loss(config: Mapping[str, Any]) -> str:
    """Names of the parts of a loss, or the name of its class."""
    if "parts" in config:
        return " + ".join(config["parts"])
    return str(config.get("_target_", "")).rsplit(".", 1)[-1]


def _range(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "–".join(f"{v:g}" for v in value) if isinstance(value, list) else f"{value:g}"
