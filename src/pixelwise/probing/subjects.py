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

Subject = tuple[DictConfig, DataModule]

TASKS = {"images": ("classification", "tagging"), "pixels": ("segmentation",)}
"""The tasks of each probe; the second is tried if the data have no labels for the first."""

OF_IMAGES, OF_PIXELS = ("pool", "task.head.pool"), ("decoder",)
"""Keys that only one of the probes has."""

WITHOUT_EFFECT = (
    *(
        "schedule",
        "epochs",
        "optimizer",
        "loss",
        "auxiliary",
        "augmentation",
        "mixing",
        "callbacks",
        "logger",
    ),
    *(
        "resume",
        "allow_change",
        "compile",
        "data.balance",
        "data.rare",
        "data.rare_share",
        "decoder.batchnorm",
    ),
)


def check_words(words: Sequence[str]) -> None:
    """Refuse an override that only a training needs."""
    for word in words:
        if f"{key_of(word)}.".startswith(tuple(f"{key}." for key in WITHOUT_EFFECT)):
            raise UserError(
                f"{word} has no effect on a probe: it trains linear heads on stored features",
                expected="keys of data, encoder and probe, such as probe.epochs or probe.learning_rates",
                fix="python train.py schedule=linear_probe trains one head in the usual way",
            )


def subjects(words: Sequence[str]) -> list[Subject]:
    """Return config and data of the probe of images and of the probe of pixels, as far as there are labels.

    Args:
        words: the overrides of the command.

    Raises:
        UserError: there are labels for neither; or not for the task in the overrides.
    """
    chosen = [word.partition("=")[2] for word in words if key_of(word) == "task"]
    found: list[Subject] = []
    errors: list[UserError] = []
    for kind, tasks in TASKS.items():
        other = OF_PIXELS if kind == "images" else OF_IMAGES
        own = [w for w in words if not f"{key_of(w)}.".startswith((*(f"{key}." for key in other), "task."))]
        failed: list[UserError] = []
        for task in [task for task in tasks if not chosen or task in chosen]:
            try:
                found.append(_subject([*own, f"task={task}"]))
                break
            except UserError as error:
                failed.append(error)
        else:
            if failed:
                log.info("no probe of %s: %s", kind, str(failed[-1]).splitlines()[0])
        errors += failed
    if not found:
        raise errors[-1]
    return found


def _subject(words: list[str]) -> Subject:
    config = compose_alone("probe", words)
    OmegaConf.resolve(config)
    return config, build.data(config)
