"""Decode mask files into class indices: plain indices, 0/255, or one colour per class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pixelwise.checks import checked
from pixelwise.data.io.images import read_header
from pixelwise.data.io.label_files import open_labels, pack
from pixelwise.data.io.nodata import equals
from pixelwise.data.label_advice import IGNORE_KEY, ignore_override, is_smooth, suggest_fix
from pixelwise.errors import UserError, counted, guess, some
from pixelwise.kinds import Colour, Whole
from pixelwise.types import IGNORE

_UNKNOWN = 254  # marks a stored value without a meaning: a byte table then decodes and checks in one look-up
MAX_CLASSES = _UNKNOWN

__all__ = ["MAX_CLASSES", "LabelError", "Labels", "ignore_override", "pack", "suggest_fix"]


class LabelError(UserError):
    """A mask contains values without a meaning.

    Attributes:
        unknown: number of pixels by stored value, as text: "11" or "(252, 255, 0)".
        target: (H, W) uint8, decoded as far as possible for the counts of an audit; 254 where not.
        is_smooth: whether it looks like an interpolated mask of 0 and 255.
    """

    unknown: dict[str, int]
    target: np.ndarray
    is_smooth: bool


@checked
class Labels:
    """Decoder of the values in mask files.

    A stored value is the number in the file or, with a palette, the position of the pixel's colour in the
    palette. It is decoded by the first of these rules that applies; any other value is an error:

    1. a value in `ignore` becomes 255, the ignored label;
    2. a value in `remap` becomes the class given there;
    3. 255 stays 255, and `first`, `first` + 1, … are the K classes in their order.

    Without a palette, *numbers* of any type are read, if they are whole: the values of a grey image; the
    indices, not the colours, of an image with a colour table; the channels of an RGB image if all three are
    equal. A GIF always has a colour table, in any order; if its colours are grey, the grey value is the
    number. NaN is ignored, and so is what the mask or the alpha band of a TIFF excludes. The nodata value of
    a TIFF is ignored, too, unless it is a class: then `remap` or `ignore` must define its meaning.

    Args:
        classes: class names in the order of their indices.
        palette: one [r, g, b] per stored value, if the masks store colours; may be longer than `classes`.
        remap: stored value → class index, class name or 255. For masks of 0 and 255: `{255: 1}`.
        ignore: stored values, or colours [r, g, b], that become 255.
        first: stored value of the first class: 1 if masks hold 1…K and not 0…K-1.
        threshold: for two classes: values from here on are the second class, smaller ones the first. For
            masks of 0 and 255 that were interpolated or saved as JPEG. `ignore` and `remap` take precedence.

    Raises:
        UserError: the arguments contradict each other.
    """

    IGNORE_KEY = IGNORE_KEY

    def __init__(
        self,
        classes: Sequence[str],
        palette: Sequence[Colour] | None = None,
        remap: Mapping[float, int | str] | None = None,
        ignore: Sequence[float | Colour] = (),
        threshold: float | None = None,
        first: Whole = 0,
    ) -> None:
        self.classes = [str(name) for name in classes]
        if not 2 <= len(self.classes) <= MAX_CLASSES or len(set(self.classes)) < len(self.classes):
            expected = f"2 to {MAX_CLASSES} different names, such as [background, road] for a binary task"
            found = f"{len(self.classes)} names: {some(self.classes)}" if self.classes else "none"
            raise UserError("data.classes", found=found, expected=expected)
        self.has_palette = palette is not None
        meanings = {first + index: index for index in range(len(self.classes))} | {IGNORE: IGNORE}
        self._chosen = {_whole(value): self._class_index(meaning) for value, meaning in (remap or {}).items()}
        self._chosen |= {_whole(value): IGNORE for value in ignore if not isinstance(value, Sequence)}
        meanings |= self._chosen
        self.threshold = self._check_threshold(threshold)
        void = [_pack(value) for value in ignore if isinstance(value, Sequence)]
        if palette is not None:
            meanings = self._by_colour(meanings, [_pack(colour) for colour in palette], void)
            self._chosen = dict.fromkeys(void, IGNORE)
        elif void:
            raise UserError("labels.ignore", found=list(ignore), expected="numbers, as palette is null")
        # 16 MB for colours, but equally fast for any number of colours
        self._table = np.full(2**24 if self.has_palette else 2**16, _UNKNOWN, np.uint8)
        inside = [value for value in meanings if 0 <= value < len(self._table)]
        self._table[inside] = [meanings[value] for value in inside]
        self.meanings = meanings
        """Class index or 255 by stored value, or by packed colour."""

    @property
    def identity(self) -> tuple[object, ...]:
        """All settings that decide how a stored value is decoded; compared by their `repr`."""
        return sorted(self.meanings.items()), self.threshold, sorted(self._chosen)

    def read(self, path: Path) -> np.ndarray:
        """Decode one mask file.

        Returns:
            (H, W) uint8: class indices, and 255 where a pixel is ignored.

        Raises:
            LabelError: the mask contains values without a meaning; the message names the first.
            UserError: the file is damaged or not a mask.
        """
        with open_labels(path, self.has_palette) as file:
            return self.decode(file.read(), path, file.nodata)

    def decode(self, stored: np.ndarray, path: object, nodata: float | None = None) -> np.ndarray:
        """Decode the values that were read from a mask file.

        Args:
            stored: (H, W) numbers of any type, or with a palette packed colours.
            path: path of the file, for messages.
            nodata: the number that means "no label" in the metadata of the file.

        Returns:
            (H, W) uint8: class indices, and 255 where a pixel is ignored.

        Raises:
            LabelError: some values have no meaning; the message names the first.
            UserError: the nodata value of the file is a class.
        """
        target = self._look_up(stored)
        if stored.dtype.kind == "f":
            target[np.isnan(stored)] = IGNORE
        if nodata is not None and nodata not in self._chosen and (void := equals(stored, nodata)).any():
            if target[void][0] < len(self.classes):
                raise self._nodata_is_a_class(path, nodata, self.classes[target[void][0]])
            target[void] = IGNORE
        if (target == _UNKNOWN).any():
            raise self._unknown_values(path, stored, target)
        return target

    def _look_up(self, stored: np.ndarray) -> np.ndarray:
        """Decode to (H, W) uint8, with `_UNKNOWN` where a number has no meaning."""
        if self.threshold is not None:
            target = (stored >= self.threshold).astype(np.uint8)
            others = list(self._chosen)
        elif stored.dtype in (np.uint8, np.uint16, np.bool_) or (
            self.has_palette and stored.dtype == np.int32
        ):
            return self._table.take(stored)
        else:
            in_table = (stored >= 0) & (stored < len(self._table))
            if stored.dtype.kind == "f":
                in_table &= stored == np.floor(stored)
            target = np.full(stored.shape, _UNKNOWN, np.uint8)
            target[in_table] = self._table.take(stored[in_table].astype(np.int64))
            others = [value for value in self.meanings if not 0 <= value < len(self._table)]
        for value in others:
            target[stored == value] = self.meanings[value]
        return target

    def _check_threshold(self, threshold: float | None) -> float | None:
        if threshold is None:
            return None
        if len(self.classes) != 2 or self.has_palette:
            found = f"{threshold!r}, {len(self.classes)} classes{' and a palette' * self.has_palette}"
            expected = "a number such as 128, for masks of numbers and two classes"
            raise UserError("data.source.labels.threshold", found=found, expected=expected)
        return float(threshold)

    def _nodata_is_a_class(self, path: object, nodata: float, name: str) -> UserError:
        key = self.IGNORE_KEY.removesuffix(".ignore")
        value = self._named(nodata)
        meanings = (
            f"'{key}.remap={{{value}:{name}}}' if these pixels are {name}; "
            f"'{self.IGNORE_KEY}=[{value}]' if they have no label; "
        )
        return UserError(
            f"{path} declares {value} as nodata in its metadata, but {value} is the class {name}",
            found=f"the tag nodata={value}, and pixels of that value",
            expected="no such tag, or a value that is not a class",
            fix=meanings * (not self.has_palette) + "gdal_edit.py -unsetnodata FILE removes the tag",
        )

    def _named(self, value: float) -> str:
        """A stored number, or packed colour, as text."""
        if self.has_palette:
            return str(tuple(int(value).to_bytes(3)))
        return f"{value:g}" if value % 1 or abs(value) > 1e15 else str(int(value))

    def _class_index(self, meaning: int | str) -> int:
        if meaning in self.classes:
            return self.classes.index(str(meaning))
        if meaning in (*range(len(self.classes)), IGNORE):
            return int(meaning)
        what = f"labels.remap maps to {meaning!r}, which is not a class"
        raise UserError(what, expected=self._expected(), fix=guess("perhaps …?", str(meaning), self.classes))

    def _by_colour(self, meanings: dict[int, int], palette: list[int], void: list[int]) -> dict[int, int]:
        """Convert `meanings` from positions in the palette to packed colours."""
        by_colour = {colour: meanings.get(position, _UNKNOWN) for position, colour in enumerate(palette)}
        by_colour |= dict.fromkeys(void, IGNORE)
        missing = [name for index, name in enumerate(self.classes) if index not in by_colour.values()]
        if missing or _UNKNOWN in by_colour.values():
            raise UserError(
                f"labels.palette has {len(palette)} colours for {len(self.classes)} classes",
                found=f"no colour for {some(missing)}" if missing else "colours without a class",
                expected=f"one colour per class, in the order of data.classes: {self._expected()}",
                fix="list the positions of further colours in labels.ignore or labels.remap",
            )
        return by_colour

    def _unknown_values(self, path: object, stored: np.ndarray, target: np.ndarray) -> LabelError:
        rows, columns = np.nonzero(target == _UNKNOWN)
        values, first, counts = np.unique(stored[rows, columns], return_index=True, return_counts=True)
        names = [self._named(value) for value in values.tolist()]
        smooth = not self.has_palette and len(self.classes) == 2 and is_smooth(stored, len(values))
        found = (
            f"{name}: {counted(count, 'pixel')}, first at row {rows[where]}, column {columns[where]}"
            for name, count, where in zip(names, counts, first, strict=True)
        )
        fix = suggest_fix(names, self.classes, bool((target == 0).any()), smooth, self.IGNORE_KEY)
        if isinstance(path, Path) and read_header(path).is_lossy:
            jpeg = (
                "JPEG changes the values of labels, as other lossy formats do; export the masks again as PNG"
            )
            fix = f"{jpeg}; {fix}" if smooth else jpeg
        what = f"{path} holds {'colours' if self.has_palette else 'labels'} without a meaning"
        error = LabelError(what, found=some(found, 3, "; "), expected=self._expected(), fix=fix)
        error.unknown = dict(zip(names, counts.tolist(), strict=True))
        error.target = target
        error.is_smooth = smooth
        return error

    def _expected(self) -> str:
        classes = some((f"{index} {name}" for index, name in enumerate(self.classes)), 12)
        return f"{classes}, or {IGNORE} = ignored"


def _whole(value: float) -> int:
    """Return a stored value as a whole number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise UserError("labels.remap or labels.ignore", found=value, expected="whole numbers")
    return int(value)


def _pack(colour: Sequence[int]) -> int:
    """Pack a colour into one number."""
    is_colour = isinstance(colour, Sequence) and len(colour) == 3
    if not is_colour or not all(isinstance(part, int) and 0 <= part <= 255 for part in colour):
        what = f"labels.palette or labels.ignore holds {colour}"
        raise UserError(what, expected="[red, green, blue], each 0…255; or in ignore, stored values")
    return int.from_bytes(bytes(colour))
