"""Match the tensors of a file with those of an encoder: find the prefix, and let timm convert the layout."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import torch
from timm.models import _builder, adapt_input_conv
from torch import Tensor, nn

from pixelwise.errors import UserError
from pixelwise.models.timm_spec import TIMM_ERRORS, TimmSpec, on_meta

COUNTER = "num_batches_tracked"
"""A buffer of every batch-norm; it fits any model, so that it does not count as a match."""


@dataclass
class Match:
    """The tensors of a file that fit an encoder.

    Attributes:
        matched: tensors by their names in `Encoder.tensors`.
        misshapen: names of tensors whose name fits but whose shape or number type does not, and both shapes.
        surplus: names of weights inside the encoder's modules that the encoder does not have, such as those
            of further blocks: the file is of another model.
        unexpected: names of all other tensors.
        failure: the exception if timm could not convert the file; otherwise None.
    """

    matched: dict[str, Tensor] = field(default_factory=dict)
    misshapen: list[str] = field(default_factory=list)
    surplus: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    failure: Exception | None = None

    @property
    def weights(self) -> int:
        """Number of matched weights."""
        return count_weights(self.matched)


def count_weights(tensors: Mapping[str, Any]) -> int:
    """Number of weights, without `COUNTER`."""
    return sum(
        tensor.numel()
        for name, tensor in tensors.items()
        if isinstance(tensor, Tensor) and not name.endswith(COUNTER)
    )


def match_encoder(
    state: Mapping[str, Any], own: Mapping[str, Tensor], spec: TimmSpec, path: object = "the file"
) -> Match:
    """Match the tensors of a file with those of an encoder, whatever prefix their names have.

    Training scripts add prefixes to the names of an encoder's weights, such as `module.backbone.`. The
    prefix is taken under which most of the encoder's weights match.

    Args:
        state: tensors of the file, by name.
        own: `Encoder.tensors`.
        spec: how timm builds the encoder's model.
        path: the file, for messages.

    Raises:
        UserError: the weights under several prefixes match equally well.
    """
    apart = ("neck.", *(f"{name}." for name in spec.head))  # not every file has them
    half = count_weights({name: tensor for name, tensor in own.items() if not name.startswith(apart)}) / 2
    matches: dict[str, Match] = {}
    level = [""]
    while level:
        tried = {prefix: _match(state, prefix, own, spec) for prefix in level}
        matches |= tried
        open_ends = [prefix for prefix, match in tried.items() if match.weights < half]
        level = [longer for prefix in open_ends for longer in _longer_prefixes(state, prefix, half)]
    best = max(matches.values(), key=lambda match: match.weights)
    equal = [prefix for prefix, match in matches.items() if match.weights == best.weights >= half]
    if len(equal) > 1:
        raise UserError(
            f"encoder.weights: {path} holds several sets of weights that fit the encoder",
            found=f"names that begin with {' or '.join(equal)}",
            expected="one set",
            fix="save the tensors of one of them in a file of its own",
        )
    return best


def _longer_prefixes(state: Mapping[str, Any], prefix: str, least: float) -> list[str]:
    """The prefixes with one more part under which there are at least so many weights."""
    starts = len(prefix)
    parts = {
        name[starts:].partition(".")[0] for name in state if name.startswith(prefix) and "." in name[starts:]
    }
    longer = (f"{prefix}{part}." for part in sorted(parts))
    return [start for start in longer if count_weights(_without(start, state)[0]) >= least]


def _match(state: Mapping[str, Any], prefix: str, own: Mapping[str, Tensor], spec: TimmSpec) -> Match:
    """Match the tensors with a prefix: names of this project, or those of timm."""
    inside, outside = _without(prefix, state)
    body, rest = _without("body.", inside)
    if body.keys() & own.keys():
        head, outside = _without(f"{prefix.removesuffix('encoder.')}head.model.", outside)
        neck = {name: rest.pop(name) for name in [*rest] if name.startswith("neck.")}
        match = _match_own(body | head, neck, own, spec)
        match.unexpected += rest
    else:
        match = _match_timm(inside, own, spec)
    match.unexpected += outside
    if match.surplus:  # the encoder has no classifier, and leaves out some layers and tables of timm's model
        full = spec.full_model()
        known = {name for names in (full.named_parameters(), full.named_buffers()) for name, _ in names}
        match.unexpected += [name for name in match.surplus if name in known]
        match.surplus = [name for name in match.surplus if name not in known]
    return match


def _match_own(
    tensors: Mapping[str, Any], neck: Mapping[str, Any], own: Mapping[str, Tensor], spec: TimmSpec
) -> Match:
    """Match a file of this project; timm converts it only if its encoder was built for another size."""
    match = Match()
    _compare({**tensors, **neck}, own, match)
    if not match.misshapen:
        return match
    full = spec.full_model().state_dict()  # timm recognises a layout by its tensors, such as a classifier's
    converted, failure = convert({**full, **tensors}, spec)
    match = Match(failure=failure)
    _compare({**converted, **neck}, own, match)
    return match


def _match_timm(inside: Mapping[str, Any], own: Mapping[str, Tensor], spec: TimmSpec) -> Match:
    """Match a file that is not from this project."""
    tensors, failure = convert(inside, spec)
    match = Match(failure=failure)
    _compare(tensors, own, match)
    return match


def _without(prefix: str, state: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the tensors whose names have the prefix, without it, and all others."""
    inside = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    return inside, {name: value for name, value in state.items() if not name.startswith(prefix)}


def _compare(tensors: Mapping[str, Any], own: Mapping[str, Tensor], match: Match) -> None:
    """Add each tensor to the matched, misshapen, surplus or unexpected ones of `match`."""
    modules = {parent for name in own for parent in _parents(name)}
    for name, tensor in tensors.items():
        if isinstance(tensor, Tensor) and tensor.is_meta:
            continue  # comes from timm's model, not from the file
        if name not in own or not isinstance(tensor, Tensor):
            is_weight = isinstance(tensor, Tensor) and tensor.is_floating_point()
            (match.surplus if is_weight and modules & _parents(name) else match.unexpected).append(name)
        elif (fit := _fit(tensor, own[name])) is not None:
            match.matched[name] = fit
        else:
            shapes = f"{tuple(tensor.shape)} for {tuple(own[name].shape)}"
            is_number = tensor.shape == own[name].shape
            match.misshapen.append(f"{name} {tensor.dtype}" if is_number else f"{name} {shapes}")


def _parents(name: str) -> set[str]:
    """The modules of an encoder that hold a tensor, from the outermost."""
    parts = name.split(".")
    return {".".join(parts[:end]) for end in range(1, len(parts))}


def _fit(tensor: Tensor, target: Tensor) -> Tensor | None:
    """Return the tensor, adapted from three bands to the encoder's if needed, or None if it does not fit."""
    if target.is_floating_point() and not tensor.is_floating_point():
        return None  # quantised numbers have no meaning without their scale
    if tensor.shape == target.shape:
        return tensor
    if tensor.ndim == target.ndim == 4 and tensor.shape[1] == 3:
        adapted = adapt_input_conv(target.shape[1], tensor)
        return adapted if adapted.shape == target.shape else None
    return None


def convert(state: Mapping[str, Any], spec: TimmSpec) -> tuple[dict[str, Any], Exception | None]:
    """Convert the tensors of a published file to the names and shapes of timm's model.

    Each timm model family passes its conversion (`checkpoint_filter_fn`) to `build_model_with_cfg`, which
    passes it to `load_pretrained` together with the model. This function replaces `load_pretrained` and
    builds the model on the meta device, without memory.

    Args:
        state: tensors of the file, by name; not changed.
        spec: how timm builds the model.

    Returns:
        The converted tensors and None, or the unchanged tensors and timm's exception.
    """
    converted: dict[str, Any] = dict(state)

    def load_pretrained(
        model: nn.Module, *_: Any, filter_fn: Callable[..., Any] | None = None, **__: Any
    ) -> None:
        nonlocal converted
        if filter_fn is not None:
            arguments = (dict(state), model)[: len(inspect.signature(filter_fn).parameters)]
            with torch.device("cpu"):  # the conversion uses only shapes of the model
                converted = dict(filter_fn(*arguments))

    try:
        with on_meta(), patch.object(_builder, "load_pretrained", load_pretrained):
            spec.build(pretrained=True)
    except TIMM_ERRORS as error:
        return dict(state), error
    return converted, None
