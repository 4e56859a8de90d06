"""An encoder's weights from a file: converted as timm does, with what matched and what did not."""

from __future__ import annotations

import argparse
import inspect
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from timm.models import (
    _builder,
    adapt_input_conv,
    load_state_dict,
)
from torch import Tensor, nn

from pixelwise.errors import UserError, some
from pixelwise.models.timm_spec import TIMM_ERRORS, TimmSpec, on_meta

log = logging.getLogger(__name__)

COUNTER = "num_batches_tracked"
"""Of every batch-norm: it fits any model, and says nothing."""

PREFIXES = ("", "model.encoder.", "encoder.", "model.", "backbone.")
"""What training scripts, this project's among them, put before the names of an encoder's weights."""

MAY_MISS = 0.01
"""Share of the weights of timm's model that may stay random without `encoder.allow_missing`."""

Statistics = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of the input, by channel."""


def weights_file(path: Path) -> Path:
    """The file itself, or that which a run folder or a hub folder keeps its weights in."""
    inside = (path / name for name in ("checkpoints/best.ckpt", "model.safetensors"))
    return next((file for file in inside if file.is_file()), path)


def read_state_dict(path: Path) -> dict[str, Any]:
    """What a `.safetensors` file or a checkpoint holds, as timm reads it; nothing in it is executed."""
    if not path.is_file():
        raise UserError(
            f"encoder.weights: {path} is not a file",
            expected="a .ckpt, .pth or .safetensors file, a run folder or a hub folder",
        )
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):  # plain options, which many files keep
            state = load_state_dict(str(path), weights_only=True)
        return {str(name): value for name, value in state.items()}
    except Exception as error:  # each format has its own exceptions; all mean the same here
        raise UserError(f"encoder.weights: {path} cannot be read", found=error) from error


def names_in_encoder(name: str) -> list[str]:
    """What a tensor of a whole timm model may be called in an `Encoder`.

    `features_only` wraps a model (`model.`, `body.`) or flattens its first level.
    """
    flat = name.replace(".", "_", 1)
    return [f"body.{wrapper}{n}" for wrapper in ("", "model.", "body.") for n in (name, flat)]


@dataclass
class Match:
    """What of a file fits an encoder.

    Attributes:
        found: tensors by their names in the encoder.
        misshapen: names and shapes of tensors that fit by name alone.
        unexpected: names that the encoder does not have.
        failure: why timm could not convert the file; None where it could, or did not have to.
    """

    found: dict[str, Tensor] = field(default_factory=dict)
    misshapen: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    failure: Exception | None = None

    @property
    def weights(self) -> int:
        """How many numbers were found."""
        return sum(tensor.numel() for name, tensor in self.found.items() if not name.endswith(COUNTER))


def load_encoder_weights(
    encoder: nn.Module, recipe: TimmSpec, path: Path, allow_missing: bool = False
) -> Statistics | None:
    """Copy the tensors that fit into the encoder and say which did not.

    Files of this project have the names of an `Encoder`. All others go through timm's own conversion of the
    files that were published for the model, which renames tensors and resamples position embeddings, patch
    embeddings and tables of relative positions. The first convolution of a model of three bands is adapted to
    the encoder's, as timm adapts pretrained ones.

    Args:
        encoder: an `Encoder`; of its neck, which no file but this project's has, nothing is missed.
        recipe: of its body.
        path: a file, a run folder or a hub folder.
        allow_missing: accept that more than 1 % of the body's weights stay random.

    Returns:
        The statistics that a file of this project keeps beside the weights; None for any other.

    Raises:
        UserError: the file cannot be read, or too little in it fits.
    """
    path = weights_file(path.expanduser())
    state, own = read_state_dict(path), encoder.state_dict()
    match = match_encoder(state, own, recipe)
    needed = {n: t.numel() for n, t in own.items() if n.startswith("body.") and not n.endswith(COUNTER)}
    missing = [name for name in needed if name not in match.found]
    share = sum(needed[name] for name in missing) / sum(needed.values())
    if not match.weights or (share > MAY_MISS and not allow_missing):
        which = f"{share:.1%} of the encoder's weights are not" if match.weights else "nothing"
        raise UserError(
            f"encoder.weights: {which} in {path}" + ("" if match.weights else " fits this encoder"),
            found=match.failure
            or f"left over: {some([*match.misshapen, *match.unexpected], 3) or 'nothing'}",
            expected=f"tensors such as {some(missing, 3)}",
            fix="encoder.name must be the model that the weights were trained with"
            + ("; encoder.allow_missing=true leaves the others random" if match.weights else ""),
        )
    encoder.load_state_dict(match.found, strict=False)
    log.info(
        "encoder.weights=%s: %d tensors matched, %d missing, %d unexpected",
        path, len(match.found), len(missing), len(match.unexpected) + len(match.misshapen),
    )  # fmt: skip
    if match.unexpected:
        log.info("encoder.weights: not of the encoder, left out: %s", some(match.unexpected, 8))
    if match.misshapen:
        log.warning("encoder.weights: of another shape, left out: %s", some(match.misshapen, 8))
    if missing:
        log.warning("encoder.weights: missing, %.2g %% stay random: %s", 100 * share, some(missing, 8))
    return _statistics(state)


def match_encoder(state: Mapping[str, Any], own: Mapping[str, Tensor], recipe: TimmSpec) -> Match:
    """The tensors of a file beside those of an encoder, whatever stands before their names.

    Args:
        state: of the file.
        own: of the encoder.
        recipe: of the encoder's body.
    """
    for prefix in PREFIXES:
        if any(name.startswith(f"{prefix}body.") and name.removeprefix(prefix) in own for name in state):
            return _match_own(state, prefix, own, recipe)
    prefixes = [prefix for prefix in PREFIXES if any(name.startswith(prefix) for name in state)]
    matches = (_match_timm(state, prefix, own, recipe) for prefix in prefixes)
    return max(matches, key=lambda match: match.weights, default=Match())


def _match_own(state: Mapping[str, Any], prefix: str, own: Mapping[str, Tensor], recipe: TimmSpec) -> Match:
    """A file of this project; timm converts it only where the encoder was built for another size."""
    inside, outside = _without(prefix, state)
    match = Match(unexpected=outside)
    _compare(inside, own, lambda name: [name], match)
    if not match.misshapen:
        return match
    whole = recipe.whole().state_dict()  # timm tells layouts apart by what is there, such as a classifier
    back = {known: name for name in whole for known in names_in_encoder(name)}
    body = whole | {back[name]: tensor for name, tensor in inside.items() if name in back}
    neck = {name: tensor for name, tensor in inside.items() if name in own and name not in back}
    converted = Match(unexpected=match.unexpected)
    tensors, converted.failure = convert(body, recipe)
    _compare(tensors, own, names_in_encoder, converted)
    _compare(neck, own, lambda name: [name], converted)
    return converted


def _match_timm(state: Mapping[str, Any], prefix: str, own: Mapping[str, Tensor], recipe: TimmSpec) -> Match:
    """A file of any other origin."""
    inside, outside = _without(prefix, state)
    tensors, failure = convert(inside, recipe)
    match = Match(unexpected=outside, failure=failure)
    _compare(tensors, own, names_in_encoder, match)
    return match


def _without(prefix: str, state: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What has the prefix, without it; and the names of what has not."""
    inside = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    return inside, [name for name in state if not name.startswith(prefix)]


def _compare(
    tensors: Mapping[str, Any],
    own: Mapping[str, Tensor],
    names: Callable[[str], list[str]],
    match: Match,
) -> None:
    """Add to a match what fits under one of its names, and what does not."""
    for name, tensor in tensors.items():
        if isinstance(tensor, Tensor) and tensor.is_meta:
            continue  # of timm's model, not of the file
        known = next((candidate for candidate in names(name) if candidate in own), None)
        if known is None or not isinstance(tensor, Tensor):
            match.unexpected.append(name)
        elif (fit := _fit(tensor, own[known])) is not None:
            match.found[known] = fit
        else:
            match.misshapen.append(f"{name} {tuple(tensor.shape)} for {tuple(own[known].shape)}")


def _fit(tensor: Tensor, wanted: Tensor) -> Tensor | None:
    """The tensor, if need be adapted from three bands to those of the encoder; None where it does not fit."""
    if tensor.shape == wanted.shape:
        return tensor
    if tensor.ndim == wanted.ndim == 4 and tensor.shape[1] == 3:
        adapted = adapt_input_conv(wanted.shape[1], tensor)
        return adapted if adapted.shape == wanted.shape else None
    return None


def convert(state: Mapping[str, Any], recipe: TimmSpec) -> tuple[dict[str, Any], Exception | None]:
    """A published file with the names and shapes of timm's model.

    Each family of timm hands its conversion (`checkpoint_filter_fn`) to `build_model_with_cfg`, which gives
    it to `load_pretrained` together with the model: that call is taken over, for a model without memory.

    Args:
        state: of the file; it is not changed.
        recipe: of the model.

    Returns:
        The converted tensors and None; or, where timm fails, those of the file and why.
    """
    converted: dict[str, Any] = dict(state)

    def load_pretrained(
        model: nn.Module, *_: Any, filter_fn: Callable[..., Any] | None = None, **__: Any
    ) -> None:
        nonlocal converted
        if filter_fn is not None:
            arguments = (dict(state), model)[: len(inspect.signature(filter_fn).parameters)]
            with torch.device("cpu"):  # of the model, only shapes are asked
                converted = dict(filter_fn(*arguments))

    try:
        with on_meta(), patch.object(_builder, "load_pretrained", load_pretrained):
            recipe.build(pretrained=True)
    except TIMM_ERRORS as error:
        return dict(state), error
    return converted, None


def _statistics(state: Mapping[str, Any]) -> Statistics | None:
    """Those by which a composition normalises its input."""
    for prefix in ("", "model."):
        mean, std = (state.get(f"{prefix}normalize.{name}") for name in ("mean", "std"))
        if mean is not None and std is not None:
            return tuple(mean.tolist()), tuple(std.tolist())
    return None
