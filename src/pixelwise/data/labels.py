"""From what a mask file stores to class indices: plain indices, 0/255, or one colour per class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pixelwise.data.images import is_deep_colour, readable
from pixelwise.data.listing import counted, some
from pixelwise.errors import UserError, nearest
from pixelwise.types import IGNORE

_UNKNOWN = 254  # marks a stored value without a meaning: a byte table then decodes and checks in one look-up
MAX_CLASSES = _UNKNOWN


class LabelError(UserError):
    """A mask that stores values without a meaning.

    Attributes:
        unknown: number of pixels by stored value, as text: "11" or "(252, 255, 0)".
        target: (H, W) uint8, decoded as far as it goes, for an audit that counts on: 254 where it does not.
    """

    def __init__(
        self,
        what: str,
        *,
        unknown: Mapping[str, int] | None = None,
        target: np.ndarray | None = None,
        **rest: Any,
    ) -> None:
        super().__init__(what, **rest)
        self.unknown = dict(unknown or {})
        self.target = target


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

    def __init__(
        self,
        classes: Sequence[str],
        palette: Sequence[Sequence[int]] | None = None,
        remap: Mapping[int, int | str] | None = None,
        ignore: Sequence[int | Sequence[int]] = (),
    ) -> None:
        self.classes = [str(name) for name in classes]
        if not 2 <= len(self.classes) <= MAX_CLASSES or len(set(self.classes)) < len(self.classes):
            raise UserError(
                "data.classes must hold two or more different names",
                found=self.classes,
                expected=f"2 to {MAX_CLASSES} names; two for a binary task, such as [background, road]",
            )
        self.remap = {int(value): self._class_index(meaning) for value, meaning in (remap or {}).items()}
        self.ignore = {int(value) for value in ignore if not isinstance(value, Sequence)}
        if both := sorted(self.ignore & set(self.remap)):
            raise UserError(f"labels.remap and labels.ignore both speak of {both}", fix="keep one of the two")
        void = [_colour(value) for value in ignore if isinstance(value, Sequence)]
        self.palette = None if palette is None else [_colour(value) for value in palette]
        if self.palette is None and void:
            raise UserError(
                f"labels.ignore names the colour {void[0]}, but the masks store numbers",
                fix="give data.source.labels.palette, or ignore a number",
            )
        self._table = self._number_table() if self.palette is None else self._colour_table(void)

    def read(self, path: Path) -> np.ndarray:
        """Decode one mask file.

        Returns:
            (H, W) uint8: class indices, and 255 where a pixel does not count.

        Raises:
            LabelError: the mask holds values without a meaning; all of them are named.
            UserError: the file is damaged or not a mask.
        """
        stored = _read_numbers(path) if self.palette is None else _read_colours(path)
        target = self._table.take(stored)
        if (target == _UNKNOWN).any():
            raise self._unknown_values(path, stored, target)
        return target

    def _class_index(self, meaning: int | str) -> int:
        if meaning in self.classes:
            return self.classes.index(str(meaning))
        if isinstance(meaning, int) and (0 <= meaning < len(self.classes) or meaning == IGNORE):
            return meaning
        raise UserError(
            f"labels.remap leads to {meaning!r}, which is no class",
            expected=self._expected(),
            fix=f"perhaps {' or '.join(near)}?" if (near := nearest(str(meaning), self.classes)) else None,
        )

    def _meaning(self, value: int) -> int:
        """Class index, IGNORE or _UNKNOWN of a stored value: the order that the class docstring promises."""
        if value in self.ignore:
            return IGNORE
        if value in self.remap:
            return self.remap[value]
        return value if value < len(self.classes) or value == IGNORE else _UNKNOWN

    def _number_table(self) -> np.ndarray:
        """(65536,) uint8, indexed by stored number."""
        return np.array([self._meaning(value) for value in range(2**16)], np.uint8)

    def _colour_table(self, void: list[tuple[int, int, int]]) -> np.ndarray:
        """(2²⁴,) uint8, indexed by packed colour: 16 MB, but as quick for a hundred colours as for two."""
        assert self.palette is not None
        meanings = {_pack(colour): IGNORE for colour in void}
        for position, colour in enumerate(self.palette):
            meaning = self._meaning(position)
            if meaning == _UNKNOWN:
                raise UserError(
                    f"labels.palette has {len(self.palette)} colours for {len(self.classes)} classes",
                    found=f"colour number {position} {colour} without a class",
                    fix=f"data.source.labels.ignore=[{position}] leaves it out",
                )
            if meanings.setdefault(_pack(colour), meaning) != meaning:
                raise UserError(
                    f"labels.palette gives the colour {colour} two meanings", fix="keep one of them"
                )
        if missing := [name for index, name in enumerate(self.classes) if index not in meanings.values()]:
            raise UserError(
                f"labels.palette has no colour for {', '.join(missing)}", expected=self._expected()
            )
        table = np.full(2**24, _UNKNOWN, np.uint8)
        table[list(meanings)] = list(meanings.values())
        return table

    def _unknown_values(self, path: Path, stored: np.ndarray, target: np.ndarray) -> LabelError:
        unknown = target == _UNKNOWN
        values, first, counts = np.unique(stored[unknown], return_index=True, return_counts=True)
        rows, columns = np.nonzero(unknown)
        names = [str(_unpack(value)) if self.palette is not None else str(value) for value in values.tolist()]
        found = [
            f"{name}: {counted(count, 'pixel')}, first at row {rows[where]}, column {columns[where]}"
            for name, count, where in zip(names, counts.tolist(), first.tolist(), strict=True)
        ]
        fix = f"{how_to_ignore(names)} leaves them out; or name their class in data.classes"
        if path.suffix.lower() in (".jpg", ".jpeg"):
            fix = "JPEG does not keep labels; save the masks as PNG from their origin"
        what = "labels" if self.palette is None else "colours"
        return LabelError(
            f"{path} holds {what} without a meaning",
            unknown=dict(zip(names, counts.tolist(), strict=True)),
            target=target,
            found=some(found, limit=3, separator="; "),
            expected=self._expected(),
            fix=fix,
        )

    def _expected(self) -> str:
        shown = [f"{index} {name}" for index, name in enumerate(self.classes)]
        if len(shown) > 12:
            shown = [*shown[:10], "…", shown[-1]]
        return f"{', '.join(shown)}, or {IGNORE} = ignored"


def how_to_ignore(unknown: Iterable[str]) -> str:
    """The override that turns unknown labels or colours, as `LabelError.unknown` names them, into 255."""
    values = [value.replace(" ", "").replace("(", "[").replace(")", "]") for value in unknown][:8]
    if values[0].startswith("["):
        return f"'data.source.labels.ignore=[{','.join(values)}]'"
    return f"'data.source.labels.remap={{{','.join(f'{value}:{IGNORE}' for value in values)}}}'"


def _read_numbers(path: Path) -> np.ndarray:
    """(H, W) whole numbers in 0…65535."""
    with readable(path), Image.open(path) as image:
        mode = image.mode
        deep = is_deep_colour(image)
        stored = np.array(_undo_grey_table(image) if image.format == "GIF" else image)
    if stored.ndim == 3:
        stored = _one_channel(path, stored, mode)
    if stored.dtype == bool:
        return stored.astype(np.uint8)
    if deep or stored.dtype.kind not in "iu" or stored.min() < 0 or stored.max() >= 2**16:
        raise UserError(
            f"{path} is no mask of class numbers",
            found="colours of 16 bits" if deep else f"{stored.dtype} from {stored.min()} to {stored.max()}",
            expected="whole numbers from 0 to 65535",
            fix="save the masks as 8-bit PNG",
        )
    return stored


def _undo_grey_table(image: Image.Image) -> Image.Image:
    """The first frame of a GIF as grey, where every colour that its pixels use is grey; else as it is."""
    if image.mode != "P":
        return image
    colours = np.array(image.getpalette("RGB")).reshape(-1, 3)[np.unique(np.array(image))]
    return image.convert("L") if (colours == colours[:, :1]).all() else image


def _one_channel(path: Path, stored: np.ndarray, mode: str) -> np.ndarray:
    """(H, W) of a mask that was saved with alpha, or as RGB with three equal channels."""
    if mode in ("LA", "PA"):
        return stored[..., 0]
    if mode in ("RGB", "RGBA") and (stored[..., :1] == stored[..., :3]).all():
        return stored[..., 0]
    colours = np.unique(stored.reshape(-1, stored.shape[2])[:, :3], axis=0)
    raise UserError(
        f"{path} stores colours, but no palette says what they mean",
        found=f"{len(colours):,} colours, such as {', '.join(str(tuple(c)) for c in colours[:4].tolist())}",
        expected="class numbers, or one colour per class",
        fix="data.palette=[[r,g,b],…] in the order of data.classes, and"
        " 'data.source.labels.palette=${data.palette}'",
    )


def _read_colours(path: Path) -> np.ndarray:
    """(H, W) int32 packed colours; a colour table is resolved and alpha dropped."""
    with readable(path), Image.open(path) as image:
        return _pack(np.moveaxis(np.array(image.convert("RGB"), np.int32), -1, 0))


def _pack(colour: Any) -> Any:
    red, green, blue = colour
    return red << 16 | green << 8 | blue


def _unpack(value: int) -> tuple[int, int, int]:
    return value >> 16, value >> 8 & 255, value & 255


def _colour(value: Sequence[int]) -> tuple[int, int, int]:
    parts = tuple(int(part) for part in value)
    if len(parts) != 3 or not all(0 <= part <= 255 for part in parts):
        raise UserError(f"labels.palette holds {list(value)}", expected="[red, green, blue], each 0…255")
    return parts
