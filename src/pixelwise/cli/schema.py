"""The keys of a config that no class receives: their types and ranges.

All other keys are arguments of the class in `_target_`, whose annotations say the same.
`pixelwise.build.instantiate` compares them, as that needs torch. A config may have more keys than these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypedDict

from omegaconf import DictConfig

from pixelwise import checks, kinds
from pixelwise.cli.trainer_schema import Trainer
from pixelwise.kinds import Colour, Count, Fraction, Nodata, NonNegative, Positive, Range, Size, Where, Whole
from pixelwise.overrides import origin
from pixelwise.schedules.schedule import PhaseSettings

Weights = Literal["best", "last", "previous"]


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
    prepared: kinds.PathText | None
    rescale: Any
    label: Any
    names: Any
    inputs: Any
    known_inputs: Any
    split: Any
    splits: Any
    protocols: Any
    root: kinds.PathText | None
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
    tasks: Sequence[str] | None


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
    """`schedule`, the phases in order; null leaves one out. `decoder=linear` reads `batchnorm`."""

    batchnorm: bool
    phases: Mapping[str, PhaseSettings | None] | None


class Optimizer(TypedDict, total=False):
    """What every optimizer has, and how parameters are grouped."""

    lr: NonNegative
    weight_decay: NonNegative
    momentum: NonNegative
    max_grad_norm: Positive | None
    layer_decay: Annotated[float, Range(above=0, high=1)] | None
    decay_norms: bool
    layers: Literal["stages", "blocks"]


class Callback(TypedDict, total=False):
    """What several callbacks have; their classes are Lightning's."""

    monitor: str
    mode: Literal["max", "min"]
    patience: Count


class Logger(TypedDict, total=False):
    """`logger`, besides the loggers by name."""

    log_images: Any


class Encoder(TypedDict, total=False):
    """What is read before the encoder is built."""

    weights: kinds.PathText | None


class Sweep(TypedDict, total=False):
    """`sweep`."""

    name: kinds.PathText


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
    resume: kinds.PathText | None
    allow_change: bool
    compile: bool
    sweep: Sweep
    trainer: Trainer
    data: Data
    encoder: Encoder
    task: Task
    auxiliary: Mapping[str, Auxiliary | None]
    schedule: Schedule
    optimizer: Optimizer
    search: Search
    callbacks: Mapping[str, Callback | None]
    logger: Mapping[str, Any]


class Run(Train, total=False):
    """What the commands on a finished run have in common, with conf/views.yaml."""

    run: kinds.PathText
    checkpoint: Weights
    tta: str | Sequence[str] | None
    views: Mapping[str, Mapping[str, Any]]


class Evaluate(Run, total=False):
    """conf/evaluate.yaml."""

    split: str | None
    averaged: bool
    output: kinds.PathText | None


class Predict(Run, total=False):
    """conf/predict.yaml."""

    input: kinds.PathText
    output: kinds.PathText
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
    output: kinds.PathText
    sample: kinds.PathText | None
    tolerance: Positive
    formats: Mapping[str, Mapping[str, Any]]


Several = Where(lambda values: len(values) > 0, "a list of at least one number")


class ProbeSettings(TypedDict, total=False):
    """`probe` of conf/probe.yaml."""

    cache: kinds.PathText
    epochs: Count
    image_batch: Count
    pixel_batch: Count
    learning_rates: Annotated[Sequence[Positive], Several]
    weight_decays: Annotated[Sequence[NonNegative], Several]
    neighbours: Annotated[Sequence[Count], Several]
    temperature: Positive


class Probe(Train, total=False):
    """conf/probe.yaml."""

    probe: ProbeSettings


class Transfer(TypedDict, total=False):
    """conf/transfer.yaml."""

    output: kinds.PathText
    seeds: Annotated[Sequence[Whole], Several]
    masks: Annotated[Sequence[Count], Several]
    steps: Count
    both: Mapping[str, Any]
    classifier: Mapping[str, Any]
    segmenter: Mapping[str, Any]


COMMANDS = {
    "train": Train,
    "probe": Probe,
    "evaluate": Evaluate,
    "predict": Predict,
    "export": Export,
    "transfer": Transfer,
}


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
