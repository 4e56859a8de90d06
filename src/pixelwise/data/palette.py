"""Colour-coded labels that survived a lossy encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pixelwise.data.labels import how_to_ignore
from pixelwise.data.listing import counted, some
from pixelwise.errors import UserError
from pixelwise.types import IGNORE

_UNKNOWN = 254
_WEIGHTS = np.array([4, 2, 1], np.uint8)


class Unknown(NamedTuple):
    """Where a colour without a class was found."""

    corner: int
    """The cube's corner, three bits: red, green, blue."""
    pixels: int
    row: int
    column: int


class CornerPalette:
    """Class colours that are corners of the colour cube, each channel 0 or 255.

    Every channel is compared with 127, so that a label which went through a lossy encoder decodes right, and
    one colour that is slightly off does, too. A corner without a class is an error, never a guess.

    Args:
        classes: names in the order of the indices.
        palette: one [r, g, b] of 0 and 255 for each class.
        ignore: more such colours, which become 255.

    Raises:
        UserError: a colour is no corner, or stands twice.
    """

    def __init__(
        self,
        classes: Sequence[str],
        palette: Sequence[Sequence[int]],
        ignore: Sequence[Sequence[int]] = ((0, 0, 0),),
    ) -> None:
        colours = [tuple(colour) for colour in (*palette, *ignore)]
        corners = all(len(colour) == 3 and {*colour} <= {0, 255} for colour in colours)
        if not corners or len(set(colours)) < len(colours) or len(palette) != len(classes):
            expected = f"{len(classes)} colours of 0 and 255, one for each class, and no colour twice"
            raise UserError("labels.palette and labels.ignore", found=some(colours, 9), expected=expected)
        self.expected = some((f"{name} {c}" for name, c in zip(classes, colours, strict=False)), 12)
        self.meaning = colours
        """The classes' colours in their order, and those that are ignored."""
        self._table = np.full(8, _UNKNOWN, np.uint8)
        for index, colour in enumerate(colours):
            corner = int(np.dot(np.array(colour) > 127, _WEIGHTS))
            self._table[corner] = index if index < len(classes) else IGNORE

    def decode(self, colours: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 → (H, W) uint8 class indices, with 255, and 254 for colours without a class."""
        red, green, blue = (np.greater(colours[..., band], 127).view(np.uint8) for band in range(3))
        return self._table[red << 2 | green << 1 | blue]

    def check(self, target: np.ndarray, colours: np.ndarray, first_row: int = 0) -> list[Unknown]:
        """What `decode` could not tell, one entry for each colour.

        Args:
            target: the answer of `decode`.
            colours: what it was given.
            first_row: row of the file at which these rows begin.
        """
        unknown = target == _UNKNOWN
        if not unknown.any():
            return []
        rows, columns = np.nonzero(unknown)
        corners = (colours[rows, columns] > 127) @ _WEIGHTS
        values, first, counts = np.unique(corners, return_index=True, return_counts=True)
        return [
            Unknown(int(value), int(count), int(rows[where]) + first_row, int(columns[where]))
            for value, where, count in zip(values, first, counts, strict=True)
        ]

    def refuse(self, file: object, unknown: Sequence[Unknown]) -> UserError:
        """The error for all that was found in a file, in the order of its rows."""
        first: dict[int, Unknown] = {}
        for entry in unknown:
            seen = first.setdefault(entry.corner, entry._replace(pixels=0))
            first[entry.corner] = seen._replace(pixels=seen.pixels + entry.pixels)
        names = {corner: tuple(255 * (corner >> bit & 1) for bit in (2, 1, 0)) for corner in first}
        places = (
            f"{names[entry.corner]}: {counted(entry.pixels, 'pixel')}, "
            f"first at row {entry.row}, column {entry.column}"
            for entry in first.values()
        )
        return UserError(
            f"{file} holds colours that are no class",
            found=some(places, 3, "; ") + " (each channel above 127 read as 255)",
            expected=self.expected,
            fix=f"mend the file; {how_to_ignore(str(names[corner]) for corner in first)} leaves them out",
        )
