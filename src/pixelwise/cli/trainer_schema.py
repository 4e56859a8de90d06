"""Types and ranges of those arguments of Lightning's Trainer whose annotations do not say enough."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, TypedDict

from pixelwise import checks
from pixelwise.kinds import Count, NonNegative, Where, Whole

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
