"""Find out which timm models work with every decoder, on the meta device."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from unittest.mock import patch

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelwise.errors import UserError
from pixelwise.models import Encoder
from pixelwise.models.timm_spec import TIMM_ERRORS, on_meta, shapes_of

Sizes = tuple[tuple[int, int], ...]
MakeDecoder = Callable[[tuple[int, ...], tuple[int, ...]], nn.Module]
"""(channels, strides) → decoder."""

ODD = (200, 264)
"""An image size that is neither square nor a multiple of 16."""


@dataclass(frozen=True)
class Row:
    """Results for one model.

    Attributes:
        name: name of the timm model.
        size: (H, W) of the images that the model was designed for.
        sizes: the accepted image sizes as text.
        strides: strides of its feature maps.
        native: why it does not work at `size`; empty if it works.
        odd: why it does not work at `ODD`; empty if it works.
        rebuilt: why it does not work at `ODD` if built for that size with `img_size`; empty if it works.
        plain: output strides that decoders require but that the model cannot be dilated to.
    """

    name: str
    size: tuple[int, int] = (0, 0)
    sizes: str = ""
    strides: tuple[int, ...] = ()
    native: str = ""
    odd: str = ""
    rebuilt: str = ""
    plain: tuple[int, ...] = ()


class Decoders:
    """All decoders, to be tried on feature maps that have shapes but no values.

    Args:
        make: name of a decoder → function that builds it.
        output_strides: name of a decoder → the output stride that it requires of its encoder, if not 32.
    """

    def __init__(self, make: Mapping[str, MakeDecoder], output_strides: Mapping[str, int]) -> None:
        self.make = make
        self.required = {name: output_strides.get(name, 32) for name in make}
        self.dilations = sorted(set(self.required.values()) - {32}, reverse=True)

    def failure(self, encoders: Mapping[int, Encoder], size: tuple[int, int]) -> str:
        """Return why the encoder or a decoder fails for an image of this size; empty if all work.

        Args:
            encoders: output stride → the model with that output stride.
            size: (H, W) of the image.
        """
        reasons = []
        for stride, encoder in encoders.items():
            try:
                maps = shapes_of(encoder, size)
            except (UserError, *TIMM_ERRORS) as error:
                return _reason(error)
            shapes = [tuple(x.shape[1:]) for x in maps]
            if [channels for channels, *_ in shapes] != list(encoder.channels):
                return f"maps {shapes} do not have the channels {encoder.channels}"
            sizes = tuple((height, width) for _, height, width in shapes)
            for name, make in self.make.items():
                if self.required[name] == stride:
                    reason = _decode(make, encoder.channels, encoder.strides, sizes)
                    reasons += [f"{name}: {reason}"] if reason else []
        return "; ".join(reasons)


def survey(
    names: Iterable[str], decoders: Mapping[str, MakeDecoder], output_strides: Mapping[str, int]
) -> Iterator[Row]:
    """Build each model on the meta device and try it at its own size and at `ODD`.

    Args:
        names: names of timm models.
        decoders: name of a decoder → function that builds it.
        output_strides: name of a decoder → the output stride that it requires of its encoder, if not 32. An
            encoder that cannot be dilated keeps its own stride.

    Yields:
        The results for each model.
    """
    all_decoders = Decoders(decoders, output_strides)
    for name in names:
        try:
            encoders = _encoders(name, all_decoders.dilations)
        except UserError as error:
            reason = _reason(error)
            yield Row(name, native=reason, odd=reason, rebuilt=reason)
            continue
        spec = encoders[32].spec
        native = all_decoders.failure(encoders, spec.size)
        odd = all_decoders.failure(encoders, ODD) if spec.multiple else spec.sizes
        rebuilt = odd
        for target in (ODD, tuple(side + -side % spec.stride for side in ODD)) if odd else ():
            try:
                reason = all_decoders.failure(_encoders(name, all_decoders.dilations, img_size=target), ODD)
            except UserError as error:
                reason = _reason(error.__cause__ or error)
            rebuilt = reason and f"{spec.sizes}; built for another size: {reason}"
            if not rebuilt:
                break
        plain = tuple(stride for stride in all_decoders.dilations if encoders[stride].strides[-1] > stride)
        yield Row(name, spec.size, spec.sizes, encoders[32].strides, native, odd, rebuilt, plain)


def _encoders(name: str, dilations: Sequence[int], **options: object) -> dict[int, Encoder]:
    """Return output stride → model; a model that cannot be dilated has its own stride."""
    return {stride: _encoder(name, output_stride=stride, **options) for stride in (32, *dilations)}


def _encoder(name: str, **options: object) -> Encoder:
    with on_meta():
        return Encoder(name, **options).eval()  # type: ignore[arg-type]


@cache  # each distinct combination is tried once
def _decode(make: MakeDecoder, channels: tuple[int, ...], strides: tuple[int, ...], maps: Sizes) -> str:
    """Return why a decoder fails on maps of these sizes; empty if it works."""
    try:
        with on_meta(), torch.no_grad(), patch.object(F, "interpolate", _resized):
            decoder = make(channels, strides).eval()
            features = [torch.empty(1, c, *m) for c, m in zip(channels, maps, strict=True)]
            x = decoder(features)
    except (UserError, *TIMM_ERRORS) as error:
        return _reason(error)
    return "" if x.shape[:2] == (1, decoder.out_channels) and x.ndim == 4 else f"a map of {tuple(x.shape)}"


def _resized(
    x: Tensor, size: tuple[int, int] | None = None, scale_factor: float = 1.0, **_: object
) -> Tensor:
    """Return an empty tensor of the shape of `F.interpolate`, which is slow on the meta device."""
    return x.new_empty(*x.shape[:2], *(size or (int(side * scale_factor) for side in x.shape[2:])))


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def report(rows: list[Row], decoders: Iterable[str], output_strides: Mapping[str, int]) -> str:
    """Return the counts and all failures as Markdown."""
    size = "×".join(map(str, ODD))
    native = {row.name: row.native for row in rows if row.native}
    odd = {row.name: row.sizes for row in rows if row.odd}
    lost = {row.name: row.rebuilt for row in rows if row.rebuilt}
    lines = [
        "# Encoders",
        "",
        f"All models of timm {timm.__version__} with every decoder ({', '.join(decoders)}), tried with "
        "tensor shapes only. `python tools/encoders.py docs/encoders.md` writes this page.",
        "",
        "| | models |",
        "|---|---:|",
        f"| all models of timm | {len(rows)} |",
        f"| work with every decoder at their own size | {len(rows) - len(native)} |",
        f"| work with every decoder at {size} | {len(rows) - len(odd)} |",
        f"| work at {size}, some only if built for it with `+encoder.img_size` | {len(rows) - len(lost)} |",
        *_kinds(rows, output_strides),
        *_section("Fail at their own size", native),
        *_section(f"Fail at {size}, also with `+encoder.img_size`", lost),
        *_section(
            f"Work at {size} only if built for it with `+encoder.img_size`",
            {name: reason for name, reason in odd.items() if name not in lost},
        ),
    ]
    return "\n".join(lines) + "\n"


def _kinds(rows: list[Row], output_strides: Mapping[str, int]) -> Iterator[str]:
    """Yield tables of the accepted image sizes and of the output strides that decoders require."""
    sizes: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        sizes["fixed size" if row.sizes.endswith("only") else row.sizes or "not built"].append(row)
    yield from ("", "| input | models | examples |", "|---|---:|---|")
    for words, same in sorted(sizes.items(), key=lambda item: -len(item[1])):
        yield f"| {words} | {len(same)} | {_examples(same)} |"
    if output_strides:
        yield from ("", "| output stride | models | examples |", "|---|---:|---|")
    for stride in sorted(set(output_strides.values()), reverse=True):
        decoders = " and ".join(name for name, required in output_strides.items() if required == stride)
        dilated = [row for row in rows if row.sizes and stride not in row.plain]
        plain = [row for row in rows if stride in row.plain]
        yield f"| dilated to {stride}, for {decoders} | {len(dilated)} | {_examples(dilated)} |"
        yield f"| cannot be dilated to {stride}, keep their own stride | {len(plain)} | {_examples(plain)} |"


def _examples(rows: list[Row]) -> str:
    return ", ".join(row.name for row in rows[:: -(-len(rows) // 4) or 1])


def _section(title: str, reasons: Mapping[str, str]) -> list[str]:
    """Return a section that lists the models by reason."""
    shared: dict[str, list[str]] = defaultdict(list)
    for name, reason in reasons.items():
        shared[reason.replace(repr(name), "the model")].append(name)
    lines = ["", f"## {title}: {len(reasons)}", ""]
    for reason, names in sorted(shared.items(), key=lambda item: -len(item[1])):
        lines.append(f"- {reason} ({len(names)}): {', '.join(f'`{name}`' for name in names)}")
    return lines if shared else [*lines, "None."]
