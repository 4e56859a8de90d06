"""Which phases a training has, and from the step: learning rates, what is frozen. Imports no torch itself."""

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
