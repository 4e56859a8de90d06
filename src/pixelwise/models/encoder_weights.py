"""Load an encoder's weights from a file, converted as timm does, and report what matched."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pixelwise.errors import UserError, counted, some
from pixelwise.models.weights_file import Statistics, read_state_dict, stored_statistics, weights_file
from pixelwise.models.weights_match import COUNTER, count_weights, match_encoder

if TYPE_CHECKING:
    from pixelwise.models.encoder import Encoder

log = logging.getLogger(__name__)

MAY_MISS = 0.01
"""Largest share of the timm model's weights that may stay random without `encoder.allow_missing`."""


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
        allow_missing: accept that more than 1 % of timm's weights stay random, and that tensors of the file
            do not fit.

    Returns:
        The mean and std that are stored with the weights, by this project or by timm; None if there are none.

    Raises:
        UserError: the file cannot be read, is of another model, or holds values that are not finite.
    """
    path = weights_file(path.expanduser())
    state, own = read_state_dict(path), encoder.tensors()
    match = match_encoder(state, own, encoder.spec, path)
    weights = {n: t for n, t in own.items() if not n.startswith("neck.") and not n.endswith(COUNTER)}
    missing = [name for name in weights if name not in match.matched]
    head = tuple(f"{name}." for name in encoder.spec.head)
    has_head = any(name.startswith(head) for name in match.matched)
    needed = {name: t for name, t in weights.items() if has_head or not name.startswith(head)}
    share = count_weights({n: needed[n] for n in missing if n in needed}) / count_weights(needed)
    unfit = [*match.misshapen, *match.surplus]
    if not match.weights or ((share > MAY_MISS or unfit) and not allow_missing):
        raise UserError(
            f"encoder.weights: no tensor in {path} fits this encoder"
            if not match.weights
            else f"encoder.weights: {share:.1%} of the encoder's weights are not in {path}"
            if share > MAY_MISS
            else f"encoder.weights: {counted(len(unfit), 'tensor')} in {path} cannot be used",
            found=match.failure or f"tensors that do not fit: {some(unfit or match.unexpected, 3) or 'none'}",
            expected=f"tensors such as {some(missing, 3)}"
            if missing
            else "only tensors that the encoder has",
            fix="encoder.name and data.channels must be those that the weights were trained with"
            + ("; encoder.allow_missing=true loads what fits" if match.weights else ""),
        )
    if broken := [name for name, tensor in match.matched.items() if not tensor.isfinite().all()]:
        raise UserError(
            f"encoder.weights: {path} holds values that are not finite",
            found=f"NaN or infinity in {some(broken, 3)}",
            fix="take a file from before the training diverged, or one with more bits per number",
        )
    for name, tensor in match.matched.items():
        own[name].copy_(tensor)
    log.info(
        "encoder.weights=%s: %d tensors matched, %d missing, %d unexpected",
        path, len(match.matched), len(missing), len(match.unexpected) + len(unfit),
    )  # fmt: skip
    if match.unexpected:
        log.info("encoder.weights: skipped, not part of the encoder: %s", some(match.unexpected, 8))
    if unfit:
        log.warning("encoder.weights: skipped, of another model: %s", some(unfit, 8))
    if missing:
        share = count_weights({name: weights[name] for name in missing}) / count_weights(weights)
        log.warning("encoder.weights: missing, %.2g %% stay random: %s", 100 * share, some(missing, 8))
    return stored_statistics(path, state)
