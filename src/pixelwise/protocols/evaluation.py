"""Evaluation protocols: how an image reaches the network when a model is scored, and the name of this.

Scores of different protocols must not be compared by mistake, so that the name of a score contains the name
of its protocol: "test/short512_slide512s341/miou".

This module does not import torch: config keys and reports use these names, too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from pixelwise.checks import checked
from pixelwise.errors import UserError
from pixelwise.kinds import Resize, Size, sides

_PIXELS = r"\d+(?:x\d+)?"
_PART = rf"(?:short\d+|size\d+x\d+|scale[\d.e+-]+|slide{_PIXELS}s{_PIXELS}|tta-[^/]+)"
EVALUATION = re.compile(rf"{_PART}(?:_{_PART})*")
"""The names of all protocols but that of unchanged images, whose name is empty."""


@checked
@dataclass(frozen=True)
class EvaluationProtocol:
    """How an image reaches the network when a model is scored, or predicts.

    The image is resized, and the network is applied to it as a whole or in sliding windows. Its logits are
    resized bilinearly to the size of the labels, which is never changed.

    Args:
        resize: a whole number is the length of the shorter side in pixels, a decimal number such as 0.5 or
            2.0 is a factor, and [height, width] is a size without regard to the proportions of the image.
            None keeps the image's own size.
        window: side, or [height, width], of sliding windows in pixels of the resized image. They start every
            `stride` pixels, the last one is moved back into the image, and where windows overlap, their
            logits are averaged with equal weights (`mode="slide"` of mmsegmentation, Contributors 2020). An
            image that is not larger is one window. None applies the network to the whole image.
        stride: distance between the starts of neighbouring windows, one number or [vertical, horizontal];
            None is two thirds of the window, rounded.

    Raises:
        UserError: an argument is out of range, the stride leaves pixels between windows, or it is given
            without a window.
    """

    resize: Resize | None = None
    window: Size | None = None
    stride: Size | None = None

    def __post_init__(self) -> None:
        if self.stride is None:
            return
        if self.window is None:
            raise UserError(
                "data.eval.stride has no effect without a window",
                found=self.stride,
                fix="data.eval.stride=null, or a window such as data.eval.window=512",
            )
        if any(step > side for step, side in zip(sides(self.stride), sides(self.window), strict=True)):
            raise UserError(
                "data.eval.stride leaves pixels between the windows",
                found=f"{_plain(self.stride)} for data.eval.window={_plain(self.window)}",
                expected="at most the window",
            )

    @classmethod
    def of(cls, config: Any) -> EvaluationProtocol:
        """Return the protocol of a config node; one without `data.eval` changes no image."""
        given = config if isinstance(config, Mapping) else {}
        return cls(**{key: _plain(given.get(key)) for key in ("resize", "window", "stride")})

    @property
    def steps(self) -> tuple[int, int] | None:
        """(vertical, horizontal) distance of the windows; None without windows."""
        if self.window is None:
            return None
        if self.stride is not None:
            return sides(self.stride)
        height, width = sides(self.window)
        return max(1, round(height * 2 / 3)), max(1, round(width * 2 / 3))

    def size(self, shape: Sequence[int]) -> tuple[int, int]:
        """Return the (height, width) that an image (H, W) is resized to, rounded as by mmcv's `imrescale`."""
        height, width = shape
        if self.resize is None:
            return height, width
        if isinstance(self.resize, Sequence):
            return sides(self.resize)
        zoom = self.resize / min(shape) if isinstance(self.resize, Integral) else self.resize
        return max(1, int(height * zoom + 0.5)), max(1, int(width * zoom + 0.5))

    @property
    def name(self) -> str:
        """The name in the names of scores, such as "short512_slide512s341"; "" for unchanged images."""
        return "_".join(part for part, _ in self._parts())

    def __str__(self) -> str:
        """Return the protocol in words; "" for unchanged images."""
        return ", ".join(words for _, words in self._parts())

    def _parts(self) -> list[tuple[str, str]]:
        parts = []
        if isinstance(self.resize, Sequence):
            size = "x".join(map(str, self.resize))
            parts.append((f"size{size}", f"images resized to {size} pixels"))
        elif isinstance(self.resize, Integral):
            parts.append((f"short{self.resize}", f"shorter side resized to {self.resize} pixels"))
        elif self.resize not in (None, 1):
            parts.append((f"scale{self.resize:g}", f"images resized by {self.resize:g}"))
        if self.window is not None and self.steps is not None:
            window, stride = _pixels(self.window), _pixels(self.steps)
            parts.append((f"slide{window}s{stride}", f"windows of {window} pixels, stride {stride}"))
        return parts


def scored(evaluation: Mapping[str, Any] | None, name: str) -> str:
    """Insert the name of a protocol into the name of a score: "val/miou" → "val/short512/miou".

    In conf/ this is `${scored:${data.eval},val/miou}`. Losses keep their names, and so does every score if
    the protocol is invalid, which is refused elsewhere.

    Args:
        evaluation: the arguments of `EvaluationProtocol`; other keys are not used.
        name: the flat name of a score.
    """
    split, _, score = name.partition("/")
    if score.partition("/")[0] == "loss":
        return name
    try:
        protocol = EvaluationProtocol.of(evaluation)
    except UserError:
        return name
    return "/".join(filter(None, (split, protocol.name, score)))


def _pixels(size: Size) -> str:
    height, width = sides(size)
    return f"{height}" if height == width else f"{height}x{width}"


def _plain(size: Any) -> Any:
    """A size of a config as a number or a list."""
    return list(size) if isinstance(size, Sequence) and not isinstance(size, str) else size
