"""The limits of Lightning's trainer, which can end a plan early and say when it is validated."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from omegaconf import DictConfig

from pixelwise.errors import UserError
from pixelwise.runtime.device import precision
from pixelwise.schedules.schedule import Plan

log = logging.getLogger(__name__)


def limited(config: DictConfig, phase_plan: Plan) -> dict[str, Any]:
    """The settings of Lightning's trainer, limited to the plan."""
    settings = dict(config.trainer)
    settings.pop("max_time", None)  # `MaxTime` stops, as Lightning's timer can stop within an optimizer step
    settings["precision"] = precision(settings["precision"], settings["accelerator"])
    settings["max_epochs"] = _cut("max_epochs", settings["max_epochs"], phase_plan.epochs)
    settings["max_steps"] = _cut("max_steps", settings["max_steps"], phase_plan.steps)
    # the callbacks read the end from max_steps
    settings["max_steps"] = min(settings["max_steps"], settings["max_epochs"] * phase_plan.steps_per_epoch)
    settings["log_every_n_steps"] = min(settings["log_every_n_steps"], phase_plan.batches_per_epoch)
    return settings


def _cut(key: str, limit: int | None, planned: int) -> int:
    """The smaller one of a limit and the length of the plan, with a warning for a limit without effect."""
    if limit is None:
        return planned
    if limit > planned:
        what = f"trainer.{key}={limit}", planned, key.removeprefix("max_")
        log.warning("%s has no effect: the schedule has %d %s, and limits can only shorten it", *what)
    return min(limit, planned)


def binding(config: DictConfig, phase_plan: Plan) -> str | None:
    """Which limit of the trainer ends the training before the plan: "max_epochs", "max_steps" or None."""
    ends = {"max_epochs": config.trainer.max_epochs, "max_steps": config.trainer.max_steps}
    if ends["max_epochs"] is not None:
        ends["max_epochs"] *= phase_plan.steps_per_epoch
    earlier = [(end, name) for name, end in ends.items() if end is not None and end < phase_plan.steps]
    return min(earlier)[1] if earlier else None


def max_time(given: Any) -> timedelta | None:
    """The duration of `trainer.max_time`: [DD:]HH:MM:SS, or a mapping such as {hours: 5}."""
    key, expected = "trainer.max_time", "HH:MM:SS or DD:HH:MM:SS (in quotes in a YAML file), or {hours: 5}"
    if given is None:
        return None
    parts = re.fullmatch(r"(?:(\d+):)?(\d+):(\d\d):(\d\d)", given.strip()) if isinstance(given, str) else None
    try:
        if parts is not None:
            days, hours, minutes, seconds = (int(part or 0) for part in parts.groups())
            duration = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        else:
            duration = timedelta(**given)
    except (TypeError, OverflowError) as error:
        raise UserError(key, found=given, expected=expected) from error
    if duration <= timedelta(0):  # also of an empty mapping
        raise UserError(key, found=given, expected="more than 0 seconds")
    return duration


def check(settings: Mapping[str, Any], phase_plan: Plan) -> None:
    """Refuse limits that leave no validation, or none at the end of the training.

    Args:
        settings: the settings of Lightning's trainer, limited to the plan.
        phase_plan: the phases of the training.

    Raises:
        UserError: the first such limit.
    """
    check_validates(settings, phase_plan)
    check_least(settings, phase_plan)
    check_interval(settings, phase_plan)


def check_validates(settings: Mapping[str, Any], phase_plan: Plan) -> None:
    """Refuse a training that ends before its first validation, as no epoch could be chosen as the best."""
    epochs = min(settings["max_epochs"], math.ceil(settings["max_steps"] / phase_plan.steps_per_epoch))
    if (settings["check_val_every_n_epoch"] or 1) > epochs:
        raise UserError(
            "trainer.check_val_every_n_epoch: the training would end before its first validation",
            found=settings["check_val_every_n_epoch"],
            expected=f"at most {epochs}, the number of trained epochs",
        )


def check_least(settings: Mapping[str, Any], phase_plan: Plan) -> None:
    """Refuse `trainer.min_epochs` and `min_steps` beyond the end of the training, which is not validated."""
    for key, length in (("min_epochs", phase_plan.steps_per_epoch), ("min_steps", 1)):
        least = settings.get(key)
        if least is not None and least * length > settings["max_steps"]:
            expected = f"at most {settings['max_steps'] // length}, where the training ends"
            raise UserError(f"trainer.{key}", found=least, expected=expected)


def check_interval(settings: Mapping[str, Any], phase_plan: Plan) -> None:
    """Refuse a `trainer.val_check_interval` longer than an epoch, or a share of no epoch."""
    key, interval = "trainer.val_check_interval", settings.get("val_check_interval")
    if settings["check_val_every_n_epoch"] is None:
        if not isinstance(interval, int):
            expected = "a number of training batches, with trainer.check_val_every_n_epoch=null"
            raise UserError(key, found=interval, expected=expected)
    elif isinstance(interval, int) and interval > phase_plan.batches_per_epoch:
        expected = f"at most {phase_plan.batches_per_epoch}, the batches of an epoch"
        raise UserError(key, found=interval, expected=expected)
