"""Load an encoder's weights from a file, converted as timm does, and report what matched."""

from __future__ import annotations

import argparse
import inspect
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import torch
from timm.models import _builder, adapt_input_conv, load_state_dict
from torch import Tensor, nn

from pixelwise.errors import UserError, some
from pixelwise.models.timm_spec import TIMM_ERRORS, TimmSpec, on_meta

if TYPE_CHECKING:
    from pixelwise.models.encoder import Encoder

log = logging.getLogger(__name__)

COUNTER = "num_batches_tracked"
"""A buffer of every batch-norm; it fits any model, so that it does not count as a match."""

PREFIXES = ("", "model.encoder.", "encoder.", "model.", "backbone.")
"""Prefixes that training scripts, also those of this project, add to the names of an encoder's weights."""

MAY_MISS = 0.01
"""Largest share of the timm model's weights that may stay random without `encoder.allow_missing`."""

Statistics = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of the input, by channel."""


def weights_file(path: Path) -> Path:
    """Return the file with the weights: in a run folder or hub folder, or the path itself."""
    inside = (path / name for name in ("checkpoints/best.ckpt", "model.safetensors"))
    return next((file for file in inside if file.is_file()), path)


def read_state_dict(path: Path) -> dict[str, Any]:
    """Return the content of a `.safetensors` file or a checkpoint as timm reads it, executing no code."""
    if not path.is_file():
        raise UserError(
            f"encoder.weights: {path} is not a file",
            expected="a .ckpt, .pth or .safetensors file, a run folder or a hub folder",
        )
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):  # options in many checkpoints
            state = load_state_dict(str(path), weights_only=True)
        return {str(name): value for name, value in state.items()}
    except Exception as error:  # each format has its own exceptions; all mean the same here
        raise UserError(f"encoder.weights: {path} cannot be read", found=error) from error


@dataclass
class Match:
    """The tensors of a file that fit an encoder.

    Attributes:
        matched: tensors by their names in `Encoder.tensors`.
        misshapen: names and shapes of tensors whose name fits but whose shape does not.
        unexpected: names that the encoder does not have.
        failure: the exception if timm could not convert the file; otherwise None.
    """

    matched: dict[str, Tensor] = field(default_factory=dict)
    misshapen: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    failure: Exception | None = None

    @property
    def weights(self) -> int:
        """Number of matched weights."""
        return sum(tensor.numel() for name, tensor in self.matched.items() if not name.endswith(COUNTER))


@torch.no_grad()
def load_encoder_weights(encoder: Encoder, path: Path, allow_missing: bool = False) -> Statistics | None:
    """Copy the matching tensors of a file into the encoder, and log which did not match.

    Files of this project use the names of an `Encoder`. All other files go through timm's own conversion of
    the files published for the model. It renames tensors and resamples position embeddings, patch embeddings
    and tables of relative positions. If the file is for three bands, the first convolution is adapted to the
    encoder's bands, as timm does for pretrained weights.

    Args:
        encoder: the encoder; with `final`, its `head_layers` are loaded as well, except the classifier.
        path: a file, a run folder or a hub folder. Weights of the neck may be missing: only files of this
            project have them. So may all head layers: files of segmenters do not have them.
        allow_missing: accept that more than 1 % of timm's weights stay random.

    Returns:
        The mean and std that a file of this project stores beside the weights; None for other files.

    Raises:
        UserError: the file cannot be read, or too few of its tensors fit.
    """
    path = weights_file(path.expanduser())
    state, own = read_state_dict(path), encoder.tensors()
    match = match_encoder(state, own, encoder.spec)
    sizes = {n: t.numel() for n, t in own.items() if not n.startswith("neck.") and not n.endswith(COUNTER)}
    missing = [name for name in sizes if name not in match.matched]
    head = tuple(f"{name}." for name in encoder.spec.head)
    has_head = any(name.startswith(head) for name in match.matched)
    needed = {n: size for n, size in sizes.items() if has_head or not n.startswith(head)}
    share = sum(needed.get(name, 0) for name in missing) / sum(needed.values())
    if not match.weights or (share > MAY_MISS and not allow_missing):
        raise UserError(
            f"encoder.weights: {share:.1%} of the encoder's weights are not in {path}"
            if match.weights
            else f"encoder.weights: no tensor in {path} fits this encoder",
            found=match.failure
            or f"tensors that do not fit: {some([*match.misshapen, *match.unexpected], 3) or 'none'}",
            expected=f"tensors such as {some(missing, 3)}",
            fix="encoder.name must be the model that the weights were trained with"
            + ("; encoder.allow_missing=true leaves the missing weights random" if match.weights else ""),
        )
    for name, tensor in match.matched.items():
        own[name].copy_(tensor)
    log.info(
        "encoder.weights=%s: %d tensors matched, %d missing, %d unexpected",
        path, len(match.matched), len(missing), len(match.unexpected) + len(match.misshapen),
    )  # fmt: skip
    if match.unexpected:
        log.info("encoder.weights: skipped, not part of the encoder: %s", some(match.unexpected, 8))
    if match.misshapen:
        log.warning("encoder.weights: skipped, another shape: %s", some(match.misshapen, 8))
    if missing:
        share = sum(sizes[name] for name in missing) / sum(sizes.values())
        log.warning("encoder.weights: missing, %.2g %% stay random: %s", 100 * share, some(missing, 8))
    return _statistics(state)


def match_encoder(state: Mapping[str, Any], own: Mapping[str, Tensor], spec: TimmSpec) -> Match:
    """Match the tensors of a file with those of an encoder, whatever the prefix of their names.

    Args:
        state: tensors of the file, by name.
        own: `Encoder.tensors`.
        spec: how timm builds the encoder's model.
    """
    for prefix in PREFIXES:
        body = f"{prefix}body."
        if any(name.startswith(body) and name.removeprefix(body) in own for name in state):
            return _match_own(state, prefix, own, spec)
    prefixes = [prefix for prefix in PREFIXES if any(name.startswith(prefix) for name in state)]
    matches = (_match_timm(state, prefix, own, spec) for prefix in prefixes)
    return max(matches, key=lambda match: match.weights, default=Match())


def _match_own(state: Mapping[str, Any], prefix: str, own: Mapping[str, Tensor], spec: TimmSpec) -> Match:
    """Match a file of this project; timm converts it only if its encoder was built for another size."""
    tensors, rest = _without(f"{prefix}body.", state)
    head, rest = _without(f"{prefix.removesuffix('encoder.')}head.model.", rest)
    neck, rest = _without(f"{prefix}neck.", rest)
    tensors, neck = tensors | head, {f"neck.{name}": tensor for name, tensor in neck.items()}
    match = Match(unexpected=[*rest])
    _compare(tensors | neck, own, match)
    if match.misshapen:
        full = (
            spec.full_model().state_dict()
        )  # timm recognises a layout by its tensors, such as a classifier's
        converted, failure = convert(full | tensors, spec)
        match = Match(unexpected=[*rest], failure=failure)
        _compare(converted | neck, own, match)
    return match


def _match_timm(state: Mapping[str, Any], prefix: str, own: Mapping[str, Tensor], spec: TimmSpec) -> Match:
    """Match a file that is not from this project."""
    inside, outside = _without(prefix, state)
    tensors, failure = convert(inside, spec)
    match = Match(unexpected=[*outside], failure=failure)
    _compare(tensors, own, match)
    return match


def _without(prefix: str, state: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the tensors whose names have the prefix, without it, and all others."""
    inside = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    return inside, {name: value for name, value in state.items() if not name.startswith(prefix)}


def _compare(tensors: Mapping[str, Any], own: Mapping[str, Tensor], match: Match) -> None:
    """Add each tensor to the matched, misshapen or unexpected ones of `match`."""
    for name, tensor in tensors.items():
        if isinstance(tensor, Tensor) and tensor.is_meta:
            continue  # comes from timm's model, not from the file
        if name not in own or not isinstance(tensor, Tensor):
            match.unexpected.append(name)
        elif (fit := _fit(tensor, own[name])) is not None:
            match.matched[name] = fit
        else:
            match.misshapen.append(f"{name} {tuple(tensor.shape)} for {tuple(own[name].shape)}")


def _fit(tensor: Tensor, target: Tensor) -> Tensor | None:
    """Return the tensor, adapted from three bands to the encoder's if needed, or None if it does not fit."""
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


def _statistics(state: Mapping[str, Any]) -> Statistics | None:
    """Return the mean and std that a composition normalises its input with, if the file holds them."""
    for prefix in ("", "model."):
        mean, std = (state.get(f"{prefix}normalize.{name}") for name in ("mean", "std"))
        if mean is not None and std is not None:
            return tuple(mean.tolist()), tuple(std.tolist())
    return None
