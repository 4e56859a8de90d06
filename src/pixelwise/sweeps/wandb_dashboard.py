"""Dashboard of a Weights & Biases project: panels for all values that a run logs, under the same names.

The names come from the objects that a run is built from, so that the dashboard follows the classes, phases,
losses and scores of the config.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from pixelwise import build
from pixelwise.build.class_weights import drop_auto
from pixelwise.cli import checks
from pixelwise.errors import UserError
from pixelwise.metrics.confusion import ConfusionMetric
from pixelwise.models import PixelHead
from pixelwise.protocols import ScoreName
from pixelwise.schedules.freezing import parameter_counts
from pixelwise.training.callbacks.throughput import SPEED
from pixelwise.training.callbacks.wandb_media import CONFUSION, CONFUSION_FIELDS, PLAN, SAMPLES, STEP, TRUTH

try:
    import wandb
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws
except ImportError as error:
    raise UserError(
        "a dashboard needs a package that is missing", found=error, fix="pip install 'pixelwise[wandb]'"
    ) from error

CHOICES = ("encoder", "decoder", "loss", "schedule", "augmentation", "mixing", "optimizer")
"""Config groups that the jobs of a sweep are compared by, in the order of the axes."""

NUMBERS = ("optimizer.lr", "data.crop_size", "seed")
"""Config keys on the axes after those groups."""


@dataclass(frozen=True)
class Logged:
    """Names of the values that a run logs.

    Attributes:
        monitor: the score that chooses the best epoch, with its split.
        final: the split that the best weights are scored on.
        parts_of_loss: names of the losses that are summed in any phase; none for a single loss.
        means: scores over all classes, without the split.
        by_class: score → its names for each class, without the split.
        parts: parts of the model that have weights.
        phases: names of the phases of the schedule.
        confusion: whether there is a confusion matrix.
        masks: whether the ground truth of a sample is a mask.
    """

    monitor: str
    final: str
    parts_of_loss: list[str]
    means: list[str]
    by_class: dict[str, list[str]]
    parts: list[str]
    phases: list[str]
    confusion: bool
    masks: bool


def logged(config: DictConfig) -> Logged:
    """Names of the values that a training with this config logs.

    Lists the data set for its splits, and builds the model without weights (on PyTorch's meta device).
    """
    config = build.without_downloads(config)
    OmegaConf.resolve(config)
    drop_auto(config)
    data = build.data(config)
    with torch.device("meta"):
        model = build.model(config)
    losses = [list(loss.parts) for loss in build.phase_losses(config)]
    scores = build.make(config.task.scores, "task.scores", classes=data.classes)
    means, by_class = [], dict[str, list[str]]()
    prefix = f"{data.protocol.name}/" if data.protocol.name else ""
    for name in [prefix + name for name in scores.names()]:
        parsed = ScoreName.parse(f"val/{name}", data.classes)
        if parsed.class_name is None:
            means.append(name)
        else:
            by_class.setdefault(parsed.kind, []).append(name)
    return Logged(
        monitor=config.task.monitor,
        final=data.final_split,
        parts_of_loss=list(dict.fromkeys(chain.from_iterable(names for names in losses if len(names) > 1))),
        means=means,
        by_class=by_class,
        parts=[part for part, count in parameter_counts(model).items() if count],
        phases=list(checks.phases(config)),
        confusion=isinstance(scores, ConfusionMetric),
        masks=isinstance(model.head, PixelHead),
    )


def workspace(config: DictConfig) -> ws.Workspace:
    """Build the dashboard for runs of this config, without network access."""
    names = logged(config)
    sections: dict[str, Callable[[Logged], list[Any]]] = {
        "Learning curves": learning_curves,
        "Scores of each class": classes,
        "Phases and learning rates": phases,
        "Samples": samples,
        "Speed": speed,
        "Sweep comparison": comparison,
    }
    return ws.Workspace(
        entity=config.logger.wandb.entity or "",
        project=config.logger.wandb.project,
        name=f"pixelwise: {config.task.name} of {', '.join(map(str, config.data.classes))}"[:100],
        sections=[
            ws.Section(name=title, panels=panels(names), is_open=True) for title, panels in sections.items()
        ],
        settings=ws.WorkspaceSettings(x_axis=STEP),
    )


def save(dashboard: ws.Workspace) -> str:
    """Save a dashboard as a new view of its project and return its address.

    Raises:
        UserError: there is no login (checked before any network access), or W&B refuses.
    """
    if not wandb.login(prompt=False, verify=False):
        raise UserError(
            "saving a dashboard needs a login to Weights & Biases",
            expected="a key saved by `wandb login`, or WANDB_API_KEY",
            fix="wandb login; or logger.wandb.offline=true writes the specification to a file",
        )
    try:
        dashboard.entity = dashboard.entity or wandb.Api().default_entity or ""
        return dashboard.save_as_new_view().url
    except (wandb.Error, ValueError) as error:
        raise UserError(
            f"W&B did not save the dashboard of {dashboard.entity}/{dashboard.project}",
            found=error,
            fix="if W&B can be reached, logger.wandb.{entity,project} must be yours to write to",
        ) from error


def specification(dashboard: ws.Workspace) -> str:
    """The specification of the dashboard that is sent to W&B, as JSON."""
    view = dashboard._to_model()  # there is no public method
    return view.spec.model_dump_json(by_alias=True, exclude_none=True, indent=1)


KINDS = {
    wr.CustomChart: "confusion matrix",
    wr.ParameterImportancePlot: "importance of each choice",
    wr.RunComparer: "run comparer",
}
"""Names of panels without a title."""


def outline(dashboard: ws.Workspace) -> dict[str, list[str]]:
    """The titles of the panels of each section."""
    return {
        section.name: [getattr(panel, "title", None) or KINDS[type(panel)] for panel in section.panels]
        for section in dashboard.sections
    }


# --------------------------------------------------------------------------------------- the sections
def learning_curves(names: Logged) -> list[Any]:
    """The monitored score, losses, other means, and the final scores of the best weights."""
    parts = {part: [f"{split}/loss/{part}" for split in ("train", "val")] for part in names.parts_of_loss}
    return [
        lines(names.monitor, [names.monitor]),
        lines("loss", ["train/loss", "val/loss"]),
        *(lines(f"part of the loss: {part}", y) for part, y in parts.items()),
        lines("means over the classes", [f"val/{name}" for name in names.means]),
        bars(f"{names.final}: means over the classes", [f"{names.final}/{name}" for name in names.means]),
    ]


def classes(names: Logged) -> list[Any]:
    """For each score, a line for each class over the training and a bar for its final value."""
    panels = []
    for kind, of_class in names.by_class.items():
        panels += [
            lines(f"val: {kind} of each class", [f"val/{name}" for name in of_class]),
            bars(f"{names.final}: {kind} of each class", [f"{names.final}/{name}" for name in of_class]),
        ]
    return panels


def phases(names: Logged) -> list[Any]:
    """Learning rates, phases and the figure of the schedule."""
    return [
        lines("learning rate", [f"lr/{part}" for part in names.parts], log_y=True),
        lines("phase", [f"phase/{phase}" for phase in names.phases]),
        media("plan", PLAN),
    ]


def samples(names: Logged) -> list[Any]:
    """Fixed validation samples over time (with logger.log_images=true), and the confusion matrix."""
    confusion = wr.CustomChart(
        query={
            "summaryTable": {"tableKey": f"{names.final}/confusion_table"}
        },  # wandb's name for the table of a plot
        chart_name=CONFUSION,
        chart_fields=dict(CONFUSION_FIELDS),
        chart_strings={"title": f"{names.final}: confusion matrix"},
    )
    return [media("samples of val", *([TRUTH] * names.masks), SAMPLES), *[confusion] * names.confusion]


def speed(names: Logged) -> list[Any]:
    """Throughput, waiting time and memory."""
    return [lines(name.replace("_", " "), [f"speed/{name}"]) for name in SPEED]


def comparison(names: Logged) -> list[Any]:
    """Scores by the choices of the runs: validation scores, because the test split is not for choosing."""
    score = wr.SummaryMetric(names.monitor)
    keys = {f"environment.choices.{group}": group for group in CHOICES} | {key: key for key in NUMBERS}
    axes = [
        wr.ParallelCoordinatesPlotColumn(
            metric=wr.Config(key), display_name=label, log=key == "optimizer.lr" or None
        )
        for key, label in keys.items()
    ]
    axes.append(wr.ParallelCoordinatesPlotColumn(metric=score, display_name=names.monitor))
    return [
        wr.ParallelCoordinatesPlot(title=f"choices and {names.monitor}", columns=axes),
        *(
            bars(f"{names.monitor} by {group}", [names.monitor], groupby=f"environment.choices.{group}")
            for group in CHOICES
        ),
        wr.ScatterPlot(
            title=f"learning rate and {names.monitor}", x=wr.Config("optimizer.lr"), y=score, log_x=True
        ),
        wr.ParameterImportancePlot(with_respect_to=names.monitor),
        wr.RunComparer(diff_only="split"),
    ]


# ----------------------------------------------------------------------------------------- the panels
def lines(title: str, y: Sequence[str], **options: Any) -> Any:
    """Lines over the optimizer steps."""
    return wr.LinePlot(title=title, x=STEP, y=list(y), **options)


def bars(title: str, metrics: Sequence[str], groupby: str | None = None) -> Any:
    """Last values of each run, or mean and standard deviation by the value of a config key."""
    grouped: dict[str, Any] = {}
    if groupby:
        grouped = {"groupby": wr.Config(groupby), "groupby_aggfunc": "mean", "groupby_rangefunc": "stddev"}
    return wr.BarPlot(title=title, metrics=list(metrics), **grouped)


def media(title: str, *keys: str) -> Any:
    """Images with a slider over the steps."""
    return wr.MediaBrowser(title=title, media_keys=list(keys), mode="gallery", gallery_axis="step")
