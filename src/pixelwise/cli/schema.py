"""The keys of a config that no class receives: their types and ranges.

All other keys are arguments of the class in `_target_`, whose annotations say the same.
`pixelwise.build.instantiate` compares them, as that needs torch. A config may have more keys than these.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypedDict

from omegaconf import DictConfig

from pixelwise import checks
from pixelwise.kinds import Colour, Count, Fraction, Nodata, NonNegative, Positive, Range, Size, Where, Whole
from pixelwise.overrides import origin
from pixelwise.schedules.schedule import PhaseSettings

Devices = Annotated[
    int | str | Sequence[Whole],
    Where(
        lambda v: (
            v == -1 or v > 0
            if isinstance(v, int)
            else v == "auto" or not re.search(r"[^\d ,-]", str(v)[1:-1])
        ),
        "a number from 1, -1 for all, auto, or a list of indices",
    ),
]
Batches = Annotated[
    int | float,
    Where(
        lambda v: v >= 1 if isinstance(v, int) else 0 < v <= 1,
        "a number of batches from 1, a share such as 0.1",
    ),
]
Duration = Annotated[
    str | Mapping[str, NonNegative],
    Where(
        lambda v: (
            re.fullmatch(r"(\d+:)?\d+:\d\d:\d\d", v.strip())
            if isinstance(v, str)
            else v and v.keys() <= {"weeks", "days", "hours", "minutes", "seconds", "milliseconds"}
        ),
        "HH:MM:SS or DD:HH:MM:SS (in quotes in a YAML file), or {hours: 5}",
    ),
]
Weights = Literal["best", "last", "previous"]


class Strategy(TypedDict, total=False):
    """Lightning passes this argument on to torch without an annotation."""

    find_unused_parameters: bool | None


class Trainer(TypedDict, total=False):
    """Lightning's own annotations say the types of its other arguments."""

    accelerator: str
    devices: Devices
    num_nodes: Count
    strategy: str | Annotated[Strategy, Where(checks.is_target, "a mapping with _target_")]
    precision: str | Literal[16, 32, 64]
    max_epochs: Count | None
    max_steps: Count | None
    max_time: Duration | None
    min_epochs: Count | None
    min_steps: Count | None
    limit_train_batches: Batches | None
    limit_val_batches: Batches | None
    limit_test_batches: Batches | None
    accumulate_grad_batches: Count
    sync_batchnorm: bool
    gradient_clip_val: NonNegative | None
    check_val_every_n_epoch: Count | None
    val_check_interval: Batches | None
    log_every_n_steps: Whole
    deterministic: bool | Literal["warn"]


class Data(TypedDict, total=False):
    """All keys of `data`; `Any`: an argument of the data module, or a value that `${…}` refers to."""

    _target_: str
    batch_size: Any
    num_workers: Any
    verify: Any
    cache: Any
    train_samples: Any
    balance: Any
    rare: Any
    rare_share: Any
    target: Any
    prepared: Any
    rescale: Any
    label: Any
    names: Any
    inputs: Any
    known_inputs: Any
    split: Any
    splits: Any
    protocols: Any
    root: str | None
    classes: Sequence[str]
    palette: Sequence[Colour] | None
    channels: Count
    mean: Sequence[float] | None
    std: Sequence[Positive] | None
    crop_size: Size
    eval_size: Size | None
    eval: Mapping[str, Any] | None
    source: Mapping[str, Any]
    monitor: str


class Card(TypedDict, total=False):
    """Names on the Hugging Face hub."""

    pipeline_tag: str
    metrics: Mapping[str, str]


class Task(TypedDict, total=False):
    """All keys of `task`; `Any`: a class and its arguments."""

    head: Any
    scores: Any
    prediction: Any
    name: str
    monitor: str
    mode: Literal["max", "min"]
    card: Card
    requires: Mapping[str, Sequence[Any]] | None


class Auxiliary(TypedDict, total=False):
    """One head of `auxiliary`; null leaves one out."""

    maps: str | Sequence[str] | None
    weight: NonNegative
    width: Count | None
    dropout: Fraction
    loss: Annotated[Mapping[str, Any], Where(checks.is_target, "a mapping with _target_")] | None


class Schedule(TypedDict, total=False):
    """`schedule`, the phases in order; null leaves one out."""

    phases: Mapping[str, PhaseSettings | None] | None


class Optimizer(TypedDict, total=False):
    """What every optimizer has, and how parameters are grouped."""

    lr: NonNegative
    weight_decay: NonNegative
    momentum: NonNegative
    layer_decay: Annotated[float, Range(above=0, high=1)] | None
    decay_norms: bool


class Callback(TypedDict, total=False):
    """What several callbacks have; their classes are Lightning's."""

    monitor: str
    mode: Literal["max", "min"]
    patience: Count


class Logger(TypedDict, total=False):
    """`logger`, besides the loggers by name."""

    log_images: Any


class Sweep(TypedDict, total=False):
    """`sweep`."""

    name: str


class Search(TypedDict, total=False):
    """`search`; `space` is read by `pixelwise.sweeps.search`."""

    space: Mapping[str, Any]
    trials: Count
    workers: Count
    gpus: Sequence[Whole | str] | None


class Train(TypedDict, total=False):
    """conf/train.yaml, and the config of every run."""

    seed: Annotated[int, Range(0, 2**32 - 1)]
    epochs: Positive
    memory_format: Literal["auto", "channels_last", "contiguous"]
    resume: str | None
    allow_change: bool
    compile: bool
    sweep: Sweep
    trainer: Trainer
    data: Data
    task: Task
    auxiliary: Mapping[str, Auxiliary | None]
    schedule: Schedule
    optimizer: Optimizer
    search: Search
    callbacks: Mapping[str, Callback | None]
    logger: Mapping[str, Any]


class Run(Train, total=False):
    """What the commands on a finished run have in common, with conf/views.yaml."""

    run: str
    checkpoint: Weights
    tta: str | Sequence[str] | None
    views: Mapping[str, Mapping[str, Any]]


class Evaluate(Run, total=False):
    """conf/evaluate.yaml."""

    split: str | None
    averaged: bool
    output: str | None


class Predict(Run, total=False):
    """conf/predict.yaml."""

    input: str
    output: str
    window: Size
    overlap: Fraction
    batch_size: Count | Literal["auto"]
    probabilities: bool
    bands: Sequence[Count] | None
    nodata: Nodata | None
    exif: Literal["apply", "ignore"]


class Export(Run, total=False):
    """conf/export.yaml."""

    format: str
    output: str
    sample: str | None
    tolerance: Positive
    formats: Mapping[str, Mapping[str, Any]]


Several = Where(lambda values: len(values) > 0, "a list of at least one number")


class Transfer(TypedDict, total=False):
    """conf/transfer.yaml."""

    output: str
    seeds: Annotated[Sequence[Whole], Several]
    masks: Annotated[Sequence[Count], Several]
    steps: Count
    both: Mapping[str, Any]
    classifier: Mapping[str, Any]
    segmenter: Mapping[str, Any]


COMMANDS = {"train": Train, "evaluate": Evaluate, "predict": Predict, "export": Export, "transfer": Transfer}


def check_declared(config: DictConfig, plain: Mapping[str, Any], command: str) -> None:
    """Refuse a value that the declaration of its key does not admit.

    Args:
        config: the composed config.
        plain: the same in plain containers, with resolved interpolations.
        command: the name of a file of conf/.

    Raises:
        UserError: the first such value.
    """
    if found := checks.misfit("", plain, COMMANDS.get(command, Train)):
        raise checks.refusal(found, origin(config, found.key))
