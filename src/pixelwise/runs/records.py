"""The files that a run leaves for reports and later commands: their keys, types and the way to read them.

A file that is damaged, or of another version, gives one error that names it. A reader that can do without the
file uses `tolerant`, which logs the error instead.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict, TypeVar

from pixelwise import checks, files
from pixelwise.errors import UserError
from pixelwise.kinds import Colour, Count, NonNegative, Positive, Where, Whole

log = logging.getLogger(__name__)

Made = TypeVar("Made")


# --------------------------------------------------------------------------------------- kinds of files
class Phase(TypedDict):
    """A phase in `plan.json`."""

    name: str
    start: Whole
    stop: Whole


class _Plan(TypedDict):
    steps: Count
    steps_per_epoch: Positive
    phases: Sequence[Phase]
    at: Sequence[Whole]
    lr: Mapping[str, Sequence[NonNegative]]


class _StoppedPlan(_Plan, total=False):
    stopped_at: Whole


class SplitRecord(TypedDict):
    """A split in `data.json`."""

    images: Whole
    shares: Mapping[str, NonNegative]


class _Data(TypedDict):
    classes: Sequence[str]
    train: SplitRecord
    val: SplitRecord


class Data(_Data, total=False):
    """`data.json`: the fingerprint of the data, and the shares of the classes."""

    test: SplitRecord


class EarlyEnd(TypedDict):
    """Why a training ended early."""

    key: str
    why: str
    fix: str


class _Environment(TypedDict):
    started: str
    command: str


class Environment(_Environment, total=False):
    """`environment.json`: how and where the run was started."""

    commit: str | None
    uncommitted_changes: bool
    device: str
    precision: str
    memory_format: str
    parameters: Mapping[str, Whole]
    processes: Count
    early_end: EarlyEnd | None


class Sample(TypedDict):
    """A sample in `samples.json`."""

    key: str
    kind: str
    score: float | None
    pictures: Mapping[str, str]


class _Samples(TypedDict):
    split: str
    classes: Sequence[str]
    colours: Sequence[Colour]
    samples: Sequence[Sample]


class _Confusion(TypedDict):
    split: str
    counted: str
    classes: Sequence[str]
    matrix: Sequence[Sequence[NonNegative]]


class Outcome(TypedDict):
    """`outcome.json` of a job: how its last attempt ended."""

    state: Literal["failed", "pruned"]
    why: str


class Prediction(TypedDict):
    """`prediction.json` in a folder of predictions: the weights and settings that they were made with."""

    weights: str


class _ConfigData(TypedDict):
    classes: Sequence[Any]


class _ConfigTask(TypedDict):
    monitor: str
    mode: Literal["max", "min"]


class JobConfig(TypedDict):
    """The keys of a `config.yaml` that the comparison of a sweep needs."""

    data: _ConfigData
    task: _ConfigTask


class _RunData(_ConfigData):
    source: Mapping[str, Any]
    batch_size: Count
    crop_size: Any


class _RunTask(_ConfigTask):
    name: str


class RunConfig(TypedDict):
    """The keys that the `config.yaml` of every run has."""

    seed: int
    data: _RunData
    encoder: Mapping[str, Any]
    decoder: Any
    task: _RunTask
    loss: Mapping[str, Any]
    optimizer: Mapping[str, Any]
    trainer: Mapping[str, Any]
    schedule: Mapping[str, Any]


Scores = Mapping[str, float | None]
"""`metrics.json`: final scores by flat name; null for undefined ones."""
Jobs = Mapping[str, Sequence[str]]
"""`jobs.json` of a sweep: the overrides of each job by its name."""
Plan = Annotated[
    _StoppedPlan,
    Where(
        lambda v: all(len(rates) == len(v["at"]) > 0 for rates in v["lr"].values()),
        "a learning rate for each step",
    ),
]
"""`plan.json`: phases and learning rates."""
Samples = Annotated[
    _Samples,
    Where(lambda v: len(v["colours"]) == len(v["classes"]), "a colour for each class"),
]
"""`samples.json`: samples of the last evaluation, with the paths of their pictures."""
Confusion = Annotated[
    _Confusion,
    Where(
        lambda v: [len(row) for row in v["matrix"]] == [len(v["classes"])] * len(v["classes"]),
        "a matrix with a row and a column for each class",
    ),
]
"""`confusion.json`: the confusion matrix of the last evaluation."""

LOGGED = ("step",)
"""Columns in each row of `metrics.csv`."""
SPEED = ("step", "seconds", "images_per_s", "waiting", "memory_gb")
"""Columns in each row of `speed.csv`."""


# ------------------------------------------------------------------------------------------- reading
def read(file: Path, kind: Any) -> dict[str, Any]:
    """The content of a JSON file; {} if the file does not exist.

    Args:
        file: the file.
        kind: one of the kinds above.

    Raises:
        UserError: the file is damaged, or keys and values are not of this kind.
    """
    content = files.read_json(file)
    if file.is_file():
        check(file, content, kind)
    return content


def check(file: Path, content: Any, kind: Any) -> None:
    """Raise `UserError` if the content that was read from a file is not of a kind."""
    if found := checks.misfit("", content, kind):
        value = checks.shown(found.value)
        raise UserError(
            f"{file} is damaged, or of another version of pixelwise",
            found=f"{found.key + ': ' if found.key else ''}{value if len(value) < 80 else f'{value[:79]}…'}",
            expected=checks.describe(found.kind),
            fix=files.RESTORE,
        )


def tolerant(read: Callable[[], Made]) -> Made | None:
    """What a function returns; None if it refuses a damaged file, whose error is logged."""
    try:
        return read()
    except UserError as error:
        log.warning("%s", error)
        return None
