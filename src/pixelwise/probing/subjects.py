"""The probes that a data set has labels for."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from omegaconf import DictConfig, OmegaConf

from pixelwise import build
from pixelwise.cli.application import compose_alone
from pixelwise.data import DataModule
from pixelwise.errors import UserError
from pixelwise.overrides import key_of

log = logging.getLogger(__name__)

TASKS = {"images": ("classification", "tagging"), "pixels": ("segmentation",)}
"""The tasks of each probe; the second is tried if the data have no labels for the first."""

OWN_KEYS = {"images": ("pool", "task.head.pool"), "pixels": ("decoder",)}
"""Keys that only one of the probes has."""

KEYS = (
    "data",
    "encoder",
    "decoder",
    "pool",
    "task",
    "experiment",
    "probe",
    "seed",
    "trainer.precision",
    "sweep",
)
WITHOUT_EFFECT = ("data.balance", "data.rare", "data.rare_share", "decoder.batchnorm", "task.head.dropout")
"""Keys that a probe reads, with all keys below them except these."""


def check_words(words: Sequence[str]) -> None:
    """Refuse an override that has no effect on a probe, such as the loss."""
    for word in words:
        if key_of(word) == "decoder" and word != "decoder=linear":
            raise UserError(
                f"{word}: a probe has no decoder",
                expected="decoder=linear, which is the default",
                fix=f"python train.py {word} schedule=linear_probe trains a decoder on a frozen encoder",
            )
        if not _is_below(word, KEYS) or _is_below(word, WITHOUT_EFFECT):
            raise UserError(
                f"{word} has no effect on a probe, which trains linear heads on stored features",
                expected=f"keys of {', '.join(KEYS)}",
                fix="python train.py schedule=linear_probe trains one head in the usual way",
            )


def _is_below(word: str, keys: Sequence[str]) -> bool:
    return f"{key_of(word)}.".startswith(tuple(f"{key}." for key in keys))


def subjects(words: Sequence[str]) -> list[tuple[DictConfig, DataModule]]:
    """Return config and data of the probe of images and of the probe of pixels, as far as there are labels.

    Args:
        words: the overrides of the command; `task=` chooses one of the probes.

    Raises:
        UserError: there are labels for neither.
    """
    chosen = [word.partition("=")[2] for word in words if key_of(word) == "task"]
    found, errors = [], []
    for kind, tasks in TASKS.items():
        foreign = [key for other, keys in OWN_KEYS.items() if other != kind for key in keys]
        own = [w for w in words if key_of(w) not in ("task", "decoder") and not _is_below(w, foreign)]
        for task in [task for task in tasks if not chosen or task in chosen]:
            try:
                config = compose_alone("probe", [*own, f"task={task}", "decoder=linear"])
                OmegaConf.resolve(config)
                found.append((config, build.data(config)))
                break
            except UserError as error:
                errors.append(error)
                log.info("no labels for task=%s: %s", task, str(error).splitlines()[0])
    if not found:
        raise errors[-1]
    return found
