"""Which classes a config may name at a key: those that play the role of this key.

A role is a base class or protocol, and the packages that the classes may come from. Mappings inside a node
may name classes of the same role, and of the roles listed after it. A config may come from a stranger, so no
key takes a class that does something else, such as a reader of data that runs a command.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from hydra.utils import get_object


class Role(NamedTuple):
    """What a key of a config describes.

    Attributes:
        what: in words, for messages.
        bases: names of base classes or protocols, of which a class must have one.
        modules: packages outside the project whose classes may play the role.
    """

    what: str
    bases: tuple[str, ...]
    modules: tuple[str, ...] = ()


MODEL = Role("a part of a model", ("torch.nn.Module",))
LOSS = Role("a loss", ("torch.nn.Module",), ("torch.nn.", "torchvision.ops.", "timm.loss."))
TRANSFORM = Role("a transform of torchvision", ("torch.nn.Module",), ("torchvision.transforms.",))
AUGMENTATION = Role(
    "an augmentation", ("pixelwise.augmentation.Transform", "pixelwise.augmentation.Geometry")
)
MIXING = Role("a mixing of images", ("pixelwise.augmentation.Mixing",))
MIX = Role("a way of mixing", ("pixelwise.augmentation.mixing.mix.Mix",))
DATA = Role("a data module", ("pixelwise.data.DataModule",))
EVALUATION = Role("an evaluation protocol", ("pixelwise.protocols.EvaluationProtocol",))
SOURCE = Role("a data source", ("pixelwise.types.Source",))
LABELS = Role("a decoder of labels", ("pixelwise.data.Labels", "pixelwise.data.CropSampling"))
TARGET = Role("a function of a mask", ("collections.abc.Callable",))
SCORES = Role("scores", ("torchmetrics.Metric",))
OPTIMIZER = Role("an optimizer", ("torch.optim.Optimizer",), ("torch.optim.", "timm.optim."))
CURVE = Role("a curve", ("pixelwise.schedules.curves.Curve",))
WRITER = Role("a writer of predictions", ("pixelwise.prediction.writer.Writer",))
VIEW = Role("a test-time augmentation", ("pixelwise.inference.TTA",))
FORMAT = Role("an export format", ("pixelwise.export.Format",))
CALLBACK = Role("a callback", ("lightning.pytorch.Callback",), ("lightning.pytorch.callbacks.",))
LOGGER = Role("a logger", ("lightning.pytorch.loggers.Logger",), ("lightning.pytorch.loggers.",))
STRATEGY = Role("a strategy", ("lightning.pytorch.strategies.Strategy",), ("lightning.pytorch.strategies.",))
PLUGIN = Role(
    "a plugin of a strategy",
    tuple(f"lightning.fabric.plugins.{base}" for base in ("Precision", "ClusterEnvironment", "CheckpointIO")),
    ("lightning.pytorch.plugins.", "lightning.fabric.plugins."),
)
SAMPLER = Role("a sampler", ("optuna.samplers.BaseSampler",), ("optuna.samplers.",))
PRUNER = Role("a pruner", ("optuna.pruners.BasePruner",), ("optuna.pruners.",))

ROLES: Sequence[tuple[str, tuple[Role, ...]]] = (
    (r"encoder|decoder|task\.head|auxiliary\.[^.]+", (MODEL,)),
    (r"((schedule\.phases|auxiliary)\..+\.)?loss", (LOSS,)),
    (r"(schedule\.phases\..+\.)?augmentation", (AUGMENTATION, TRANSFORM)),
    (r"(schedule\.phases\..+\.)?mixing", (MIXING, MIX)),
    (r"data", (DATA, SOURCE, LABELS, TARGET)),
    (r"data\.source", (SOURCE, LABELS)),
    (r"data\.eval", (EVALUATION,)),
    (r"task\.scores", (SCORES,)),
    (r"task\.prediction", (WRITER,)),
    (r"optimizer", (OPTIMIZER,)),
    (r"schedule\.phases\..+\.curve", (CURVE,)),
    (r"views\..+", (VIEW,)),
    (r"formats\..+", (FORMAT,)),
    (r"callbacks\..+", (CALLBACK,)),
    (r"logger\..+", (LOGGER,)),
    (r"trainer\.strategy", (STRATEGY, PLUGIN)),
    (r"search\.sampler", (SAMPLER, PRUNER)),
    (r"search\.pruner", (PRUNER,)),
)
"""Patterns of keys: the role of the node itself, then those of the mappings in it."""


def roles(key: str) -> tuple[Role, ...]:
    """The roles of the classes at a key: its own, or those inside the nearest key above it that has one."""
    for pattern, found in ROLES:
        if re.fullmatch(pattern, key):
            return found[:1]
    above = key.rpartition(".")[0]
    inside = [found for pattern, found in ROLES if re.fullmatch(pattern, above)]
    return inside[0] if inside else roles(above) if above else ()


def plays(cls: type, role: Role) -> bool:
    """Whether a class derives from a base of a role, or has all members of its protocol."""
    return any(_derives(cls, get_object(base)) for base in role.bases)


def _derives(cls: type, base: Any) -> bool:
    if not getattr(base, "_is_protocol", False):
        return issubclass(cls, base)
    members = {name for name in {*vars(base), *base.__annotations__} if not name.startswith("_")}
    if "__call__" in vars(base):
        members.add("__call__")
    return all(any(name in vars(part) for part in cls.__mro__) for name in members)
