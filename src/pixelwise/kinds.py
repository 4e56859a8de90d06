"""Kinds of options, to annotate arguments with: numbers within limits, image sizes, colours."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Annotated, Any


@dataclass(frozen=True)
class Range:
    """The limits of a number, for `Annotated[float, Range(0, 1)]`; `above` and `below` are exclusive."""

    low: float = -math.inf
    high: float = math.inf
    above: float = -math.inf
    below: float = math.inf

    def admits(self, value: float) -> bool:
        """Whether a number is within the limits."""
        return self.low <= value <= self.high and self.above < value < self.below

    def describe(self, base: str) -> str:
        """The limits in words: "a number from 0 to 1", "… from 0 to below 1", "… above 0", "… from 1"."""
        low, high, above, below = self.low, self.high, self.above, self.below
        start = f" above {above:g}" if above > -math.inf else f" from {low:g}" if low > -math.inf else ""
        end = f" below {below:g}" if below < math.inf else f" {high:.10g}" if high < math.inf else ""
        return base + start + ((f" to{end}" if start else f" up to{end}") if end else "")


@dataclass(frozen=True)
class Where:
    """A condition on a value of the right type, for `Annotated[TYPE, Where(condition, words)]`."""

    admits: Callable[[Any], bool]
    words: str

    def describe(self, base: str) -> str:
        """The words, which describe the type as well."""
        return self.words


Whole = Annotated[int, Range(0)]
Count = Annotated[int, Range(1)]
Positive = Annotated[float, Range(above=0)]
NonNegative = Annotated[float, Range(0)]
Share = Annotated[float, Range(0, 1)]
Fraction = Annotated[float, Range(0, below=1)]
Stride = Annotated[int, Where(lambda v: v in (4, 8, 16, 32), "4, 8, 16 or 32")]
Size = Annotated[
    Count | Sequence[Count],
    Where(
        lambda v: isinstance(v, Integral) or len(v) == 2, "a positive number of pixels, or [height, width]"
    ),
]
Resize = Annotated[
    float | Sequence[Count],
    Where(
        lambda v: (
            len(v) == 2 if isinstance(v, Sequence) else v >= 16 if isinstance(v, Integral) else 0 < v <= 8
        ),
        "a whole number from 16, the shorter side in pixels; a factor up to 8 with a decimal point, such as "
        "0.5 or 2.0; or [height, width]",
    ),
]
Interval = Annotated[
    Sequence[Positive],
    Where(lambda v: len(v) == 2 and v[0] <= v[1], "[low, high] with 0 < low <= high"),
]
ClassWeights = Annotated[
    Sequence[NonNegative],
    Where(lambda v: True, "one number from 0 for each class; or auto, in a config of train.py"),
]
Colour = Annotated[
    Sequence[Annotated[int, Range(0, 255)]],
    Where(lambda v: len(v) == 3, "[r, g, b] with whole numbers from 0 to 255"),
]
Nodata = float | Annotated[Any, Where(lambda v: v != v, "nan")]


def sides(size: int | Sequence[int]) -> tuple[int, int]:
    """`Size`, one number or [height, width], as (height, width)."""
    height, width = size if isinstance(size, Sequence) else (size, size)
    return height, width
