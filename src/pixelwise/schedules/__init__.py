"""The phases of a training: learning rates and frozen parts at each step. This file does not import torch."""

from pixelwise.schedules.curves import (
    Constant,
    Cosine,
    CosineRestarts,
    Curve,
    Exponential,
    Linear,
    OneCycle,
    Polynomial,
)
from pixelwise.schedules.schedule import Phase, Plan, make_plan

__all__ = [
    "Constant",
    "Cosine",
    "CosineRestarts",
    "Curve",
    "Exponential",
    "Linear",
    "OneCycle",
    "Phase",
    "Plan",
    "Polynomial",
    "make_plan",
]
