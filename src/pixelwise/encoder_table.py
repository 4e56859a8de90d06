"""Which of timm's models work under every decoder, found out without computing anything."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from unittest.mock import patch

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelwise.errors import UserError
from pixelwise.models import Encoder
from pixelwise.models.features import REFUSALS

Sizes = tuple[tuple[int, int], ...]
MakeDecoder = Callable[[tuple[int, ...], tuple[int, ...]], nn.Module]
"""(channels, strides) → decoder."""

ODD = (200, 264)
"""A size that is no multiple of 16, nor square."""


@dataclass(frozen=True)
class Row:
    """What became of one model.

    Attributes:
        name: of the model.
        size: (H, W) that it was made for.
        sizes: that it takes, in words.
        strides: of its maps.
        native: why it does not work at that size; empty where it does.
        odd: why it does not work at `ODD`; empty where it does.
        rebuilt: the same after building it for `ODD` with `img_size`.
    """

    name: str
    size: tuple[int, int] = (0, 0)
    sizes: str = ""
    strides: tuple[int, ...] = ()
    native: str = ""
    odd: str = ""
    rebuilt: str = ""


def survey(names: Iterable[str], decoders: Mapping[str, MakeDecoder]) -> Iterator[Row]:
    """Build each model on the meta device and try it at its own size and at `ODD`.

    Args:
        names: of timm models.
        decoders: by name. A decoder knows its encoder by channels, strides and sizes of the maps, so
            that each distinct combination is tried once.
    """

    @cache
    def decode(channels: tuple[int, ...], strides: tuple[int, ...], maps: Sizes) -> str:
        return "; ".join(
            f"{name}: {reason}"
            for name, make in decoders.items()
            if (reason := _decode(make, channels, strides, maps))
        )

    def attempt(encoder: Encoder, size: tuple[int, int]) -> str:
        try:
            maps = _maps(encoder, size)
        except (UserError, *REFUSALS) as error:
            return _reason(error)
        if [channels for channels, *_ in maps] != list(encoder.channels):
            return f"maps {maps} do not have the channels {encoder.channels}"
        return decode(encoder.channels, encoder.strides, tuple(m[1:] for m in maps))

    for name in names:
        try:
            encoder = _encoder(name)
        except UserError as error:
            reason = _reason(error)
            yield Row(name, native=reason, odd=reason, rebuilt=reason)
            continue
        size = encoder.recipe.size
        native = attempt(encoder, size)
        odd = attempt(encoder, ODD) if encoder.recipe.multiple else encoder.recipe.sizes
        rebuilt = odd
        for target in (ODD, tuple(side + -side % encoder.recipe.stride for side in ODD)) if odd else ():
            try:
                reason = attempt(_encoder(name, img_size=target), ODD)
            except UserError as error:
                reason = _reason(error.__cause__ or error)
            rebuilt = reason and f"{encoder.recipe.sizes}; built for another size: {reason}"
            if not rebuilt:
                break
        yield Row(name, size, encoder.recipe.sizes, encoder.strides, native, odd, rebuilt)


def _encoder(name: str, **options: object) -> Encoder:
    with torch.device("meta"):
        return Encoder(name, **options).eval()  # type: ignore[arg-type]


def _maps(encoder: Encoder, size: tuple[int, int], device: str = "meta") -> list[tuple[int, int, int]]:
    """(channels, height, width) of each map of an image."""
    try:
        with torch.no_grad():
            maps = encoder(torch.zeros(1, 3, *size, device=device))
    except RuntimeError as error:
        if "meta tensors" not in str(error):
            raise
        return _maps(copy.deepcopy(encoder).to_empty(device="cpu"), size, device="cpu")
    return [(x.shape[1], x.shape[2], x.shape[3]) for x in maps]


def _decode(make: MakeDecoder, channels: tuple[int, ...], strides: tuple[int, ...], maps: Sizes) -> str:
    """Why a decoder does not make one map of these; empty where it does."""
    try:
        with torch.device("meta"), torch.no_grad(), patch.object(F, "interpolate", _resized):
            decoder = make(channels, strides).eval()
            features = [torch.empty(1, c, *m) for c, m in zip(channels, maps, strict=True)]
            x = decoder(features)
    except (UserError, *REFUSALS) as error:
        return _reason(error)
    return "" if x.shape[:2] == (1, decoder.out_channels) and x.ndim == 4 else f"a map of {tuple(x.shape)}"


def _resized(
    x: Tensor, size: tuple[int, int] | None = None, scale_factor: float = 1.0, **_: object
) -> Tensor:
    """The shape that `interpolate` gives: on the meta device that alone would take most of the time."""
    return x.new_empty(*x.shape[:2], *(size or (int(side * scale_factor) for side in x.shape[2:])))


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def report(rows: list[Row], decoders: Iterable[str]) -> str:
    """The counts and everything that does not work, as Markdown."""
    native = [row for row in rows if row.native]
    odd = [row for row in rows if row.odd]
    lost = [row for row in rows if row.rebuilt]
    sizes: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        sizes["fixed size" if row.sizes.endswith("only") else row.sizes or "not built"].append(row)
    size = "×".join(map(str, ODD))
    lines = [
        "# Encoders",
        "",
        f"Every model of timm {timm.__version__} under every decoder ({', '.join(decoders)}), built with "
        "shapes only. Made by `python scripts/encoders.py`.",
        "",
        "| | models |",
        "|---|---:|",
        f"| in timm | {len(rows)} |",
        f"| work with every decoder at their own size | {len(rows) - len(native)} |",
        f"| work with every decoder at {size} | {len(rows) - len(odd)} |",
        f"| … counting those built for it with `+encoder.img_size` | {len(rows) - len(lost)} |",
        "",
        "| takes | models | such as |",
        "|---|---:|---|",
    ]
    for words, same in sorted(sizes.items(), key=lambda item: -len(item[1])):
        examples = ", ".join(row.name for row in same[:: -(-len(same) // 4)])
        lines.append(f"| {words} | {len(same)} | {examples} |")
    lines += _section("Not at their own size", {row.name: row.native for row in native})
    lines += _section(f"Not at {size}, whatever the options", {row.name: row.rebuilt for row in lost})
    rebuilt = {row.name: row.sizes for row in odd if not row.rebuilt}
    lines += _section(f"At {size} only when built for it with `+encoder.img_size`", rebuilt)
    return "\n".join(lines) + "\n"


def _section(title: str, reasons: Mapping[str, str]) -> list[str]:
    """Models under the reason that they share."""
    shared: dict[str, list[str]] = defaultdict(list)
    for name, reason in reasons.items():
        shared[reason.replace(repr(name), "the model")].append(name)
    lines = ["", f"## {title}: {len(reasons)}", ""]
    for reason, names in sorted(shared.items(), key=lambda item: -len(item[1])):
        lines.append(f"- {reason} ({len(names)}): {', '.join(f'`{name}`' for name in names)}")
    return lines if shared else [*lines, "None."]
