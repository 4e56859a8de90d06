"""Colour-coded labels that were saved with lossy compression."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pixelwise.data.labels import Labels
from pixelwise.errors import UserError, some


class CornerPalette(Labels):
    """Labels whose colours are corners of the colour cube: each channel is 0 or 255.

    Every channel is compared with 127, so that labels decode correctly after lossy compression, and so do
    slightly different colours. A corner without a class is an error.

    Args:
        classes: names in the order of the indices.
        palette: one [r, g, b] of 0 and 255 for each class.
        ignore: further such colours, which become 255.

    Raises:
        UserError: a colour is not a corner, or occurs twice.
    """

    IGNORE_KEY = "+data.source.ignore"

    def __init__(
        self,
        classes: Sequence[str],
        palette: Sequence[Sequence[int]],
        ignore: Sequence[Sequence[int]] = ((0, 0, 0),),
    ) -> None:
        colours = [*palette, *ignore]
        if not all({*colour} <= {0, 255} for colour in colours):
            expected = "colours of 0 and 255"
            raise UserError("labels.palette and labels.ignore", found=some(colours, 9), expected=expected)
        super().__init__(classes, palette, ignore=ignore)

    def decode(self, stored: np.ndarray, path: object, nodata: float | None = None) -> np.ndarray:
        """Decode packed colours (H, W); each channel is read as 255 if it is above 127, else as 0."""
        return super().decode((stored >> 7 & 0x010101) * 255, path, nodata)

    def _expected(self) -> str:
        return f"{super()._expected()}; each channel above 127 is read as 255"
