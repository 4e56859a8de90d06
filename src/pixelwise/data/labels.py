"""From what a mask file stores to class indices: plain indices, 0/255, or one colour per class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pixelwise.data.io.images import is_deep_colour, readable
from pixelwise.errors import UserError, counted, guess, some
from pixelwise.types import IGNORE

_UNKNOWN = 254  # marks a stored value without a meaning: a byte table then decodes and checks in one look-up
MAX_CLASSES = _UNKNOWN


class LabelError(UserError):
    """A mask that stores values without a meaning.

    Attributes:
        unknown: number of pixels by stored value, as text: "11" or "(252, 255, 0)".
        target: (H, W) uint8, decoded as far as it goes, for an audit that counts on: 254 where it does not.
    """

    unknown: dict[str, int]
    target: np.ndarray


class Labels:
    """What the values in mask files mean.

    A stored value is the number in the file or, with a palette, the position of the pixel's colour in the
    palette. It is decoded in this order, and a value that none of the rules names is an error:

    1. a value in `ignore` becomes 255, the label that counts nowhere;
    2. a value in `remap` becomes what stands there;
    3. 255 stays 255, and 0…K-1 stay themselves.

    Without a palette a file's *numbers* are read: of a grey image; of a colour-table (P) PNG its indices, not
    its colours; of an RGB image its channels where all three agree. A GIF always has a colour table, in any
    order; where that table is grey, the grey is the number.

    Args:
        classes: class names in the order of their indices.
        palette: one [r, g, b] per stored value, when the masks store colours; may be longer than `classes`.
        remap: stored value → class index, class name or 255. For masks of 0 and 255: `{255: 1}`.
        ignore: stored values, or colours [r, g, b], that become 255.

    Raises:
        UserError: the arguments contradict each other.
    """

    IGNORE_KEY = "data.source.labels.ignore"

    def __init__(
        self,
        classes: Sequence[str],
        palette: Sequence[Sequence[int]] | None = None,
        remap: Mapping[int, int | str] | None = None,
        ignore: Sequence[int | Sequence[int]] = (),
    ) -> None:
        self.classes = [str(name) for name in classes]
        if not 2 <= len(self.classes) <= MAX_CLASSES or len(set(self.classes)) < len(self.classes):
            expected = f"2 to {MAX_CLASSES} different names, such as [background, road] for a binary task"
            raise UserError("data.classes", found=self.classes, expected=expected)
        self.has_palette = palette is not None
        meanings = {index: index for index in range(len(self.classes))} | {IGNORE: IGNORE}
        meanings |= {int(value): self._class_index(meaning) for value, meaning in (remap or {}).items()}
        meanings |= {int(value): IGNORE for value in ignore if not isinstance(value, Sequence)}
        if wrong := [value for value in meanings if not 0 <= value < 2**16]:
            raise UserError("labels.remap or labels.ignore", found=wrong, expected="values from 0 to 65535")
        void = [_pack(value) for value in ignore if isinstance(value, Sequence)]
        if palette is not None:
            meanings = self._by_colour(meanings, [_pack(colour) for colour in palette], void)
        elif void:
            raise UserError("labels.ignore", found=list(ignore), expected="numbers, as palette is null")
        # 16 MB for colours, but as quick for a hundred of them as for two
        self._table = np.full(2**24 if self.has_palette else 2**16, _UNKNOWN, np.uint8)
        self._table[list(meanings)] = list(meanings.values())
        self.meanings = meanings
        """Class index or 255 by stored value, or by packed colour."""

    def read(self, path: Path) -> np.ndarray:
        """Decode one mask file.

        Returns:
            (H, W) uint8: class indices, and 255 where a pixel does not count.

        Raises:
            LabelError: the mask holds values without a meaning; the first of them are named.
            UserError: the file is damaged or not a mask.
        """
        return self.decode(_read_colours(path) if self.has_palette else _read_numbers(path), path)

    def decode(self, stored: np.ndarray, path: object) -> np.ndarray:
        """Decode what was read from a mask file.

        Args:
            stored: (H, W) whole numbers in 0…65535, or with a palette packed colours.
            path: of the file, for the message.

        Returns:
            (H, W) uint8: class indices, and 255 where a pixel does not count.

        Raises:
            LabelError: some values have no meaning; the first of them are named.
        """
        target = self._table.take(stored)
        if (target == _UNKNOWN).any():
            raise self._unknown_values(path, stored, target)
        return target

    def _class_index(self, meaning: int | str) -> int:
        if meaning in self.classes:
            return self.classes.index(str(meaning))
        if meaning in (*range(len(self.classes)), IGNORE):
            return int(meaning)
        what = f"labels.remap leads to {meaning!r}, which is no class"
        raise UserError(what, expected=self._expected(), fix=guess("perhaps …?", str(meaning), self.classes))

    def _by_colour(self, meanings: dict[int, int], palette: list[int], void: list[int]) -> dict[int, int]:
        """By packed colour what `meanings` holds by the colour's position in the palette."""
        by_colour = {colour: meanings.get(position, _UNKNOWN) for position, colour in enumerate(palette)}
        by_colour |= dict.fromkeys(void, IGNORE)
        missing = [name for index, name in enumerate(self.classes) if index not in by_colour.values()]
        if missing or _UNKNOWN in by_colour.values():
            raise UserError(
                f"labels.palette has {len(palette)} colours for {len(self.classes)} classes",
                found=f"no colour of its own for {some(missing)}" if missing else "colours without a class",
                expected=f"one colour each, in the order of data.classes: {self._expected()}",
                fix="name the positions of further colours in labels.ignore or labels.remap",
            )
        return by_colour

    def _unknown_values(self, path: object, stored: np.ndarray, target: np.ndarray) -> LabelError:
        rows, columns = np.nonzero(target == _UNKNOWN)
        values, first, counts = np.unique(stored[rows, columns], return_index=True, return_counts=True)
        names = [str(tuple(value.to_bytes(3)) if self.has_palette else value) for value in values.tolist()]
        found = (
            f"{name}: {counted(count, 'pixel')}, first at row {rows[where]}, column {columns[where]}"
            for name, count, where in zip(names, counts, first, strict=True)
        )
        fix = f"{how_to_ignore(names, self.IGNORE_KEY)} leaves them out; or name their class in data.classes"
        if str(path).lower().endswith((".jpg", ".jpeg")):
            fix = "JPEG does not keep labels; save the masks as PNG from their origin"
        what = f"{path} holds {'colours' if self.has_palette else 'labels'} without a meaning"
        error = LabelError(what, found=some(found, 3, "; "), expected=self._expected(), fix=fix)
        error.unknown = dict(zip(names, counts.tolist(), strict=True))
        error.target = target
        return error

    def _expected(self) -> str:
        classes = some((f"{index} {name}" for index, name in enumerate(self.classes)), 12)
        return f"{classes}, or {IGNORE} = ignored"


def how_to_ignore(unknown: Iterable[str], key: str = Labels.IGNORE_KEY) -> str:
    """The override that turns unknown labels or colours, as `LabelError.unknown` names them, into 255."""
    values = ",".join(list(unknown)[:8]).replace(" ", "").replace("(", "[").replace(")", "]")
    return f"'{key}=[{values}]'"


def _read_numbers(path: Path) -> np.ndarray:
    """(H, W) whole numbers in 0…65535."""
    with readable(path), Image.open(path) as image:
        is_deep = is_deep_colour(image)
        stored = np.array(image)
        if image.format == "GIF" and image.mode == "P":
            shown = np.array(image.convert("RGB"))
            stored = shown[..., 0] if (shown == shown[..., :1]).all() else stored
    if stored.ndim == 3:
        colours = stored[..., :1] if image.mode in ("LA", "PA") else stored[..., :3]
        if (colours != colours[..., :1]).any():
            different = np.unique(colours.reshape(-1, 3), axis=0).tolist()
            raise UserError(
                f"{path} stores colours, but no palette says what they mean",
                found=f"{len(different):,} colours: {some(map(tuple, different), 4)}",
                expected="class numbers, or one colour per class",
                fix="data.palette=[[r,g,b],…] in the order of data.classes, and"
                " 'data.source.labels.palette=${data.palette}'",
            )
        stored = colours[..., 0]
    if is_deep or stored.dtype.kind not in "biu" or stored.min() < 0 or stored.max() >= 2**16:
        raise UserError(
            f"{path} is no mask of class numbers",
            found=f"{'colours of 16 bits' if is_deep else stored.dtype}, {stored.min()} to {stored.max()}",
            expected="whole numbers from 0 to 65535",
            fix="save the masks as 8-bit PNG",
        )
    return stored


def _read_colours(path: Path) -> np.ndarray:
    """(H, W) packed colours; a colour table is resolved and alpha dropped."""
    with readable(path), Image.open(path) as image:
        return pack(np.array(image.convert("RGB")))


def pack(colours: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 → (H, W) int32, one number for a colour."""
    red, green, blue = np.moveaxis(colours.astype(np.int32), -1, 0)
    return red << 16 | green << 8 | blue


def _pack(colour: Sequence[int]) -> int:
    """One number for a colour."""
    if len(colour) != 3 or not all(0 <= part <= 255 for part in colour):
        what = f"labels.palette or labels.ignore holds {list(colour)}"
        raise UserError(what, expected="[red, green, blue], each 0…255")
    return int.from_bytes(bytes(colour))
