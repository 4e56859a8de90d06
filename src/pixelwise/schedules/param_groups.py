"""Which parameters share a learning rate and a weight decay."""

from __future__ import annotations

import logging
from fnmatch import fnmatch
from typing import Any

from timm.models import group_parameters
from torch import nn

from pixelwise.errors import UserError
from pixelwise.models import Composition, Encoder
from pixelwise.models.encoder_weights import names_in_encoder

log = logging.getLogger(__name__)


def parameter_groups(
    model: Composition, layer_decay: float | None = None, decay_norms: bool = False
) -> list[dict[str, Any]]:
    """The parameters of a composition as an optimizer takes them.

    Each group says its `part`, a `scale` and whether it `decays`; before every step the schedule sets its
    rate to the part's rate times the scale, and the weight decay of what decays. Scales follow ELECTRA
    (Clark et al., ICLR 2020) and BEiT (Bao et al., ICLR 2022; arXiv:2106.08254): 1 for decoder (with the
    encoder's neck) and head, d for the encoder's last layer, d² for the one before, and so on. Layers are
    timm's: the stem and each stage of a convolutional encoder, the embedding and each block of a transformer.

    Args:
        model: the composition.
        layer_decay: d; None for the same rate throughout.
        decay_norms: decay norms, biases and position embeddings like all other weights.

    Raises:
        UserError: the decay is out of range, or timm does not know the encoder's layers.
    """
    if layer_decay is not None and not 0 < layer_decay <= 1:
        raise UserError("optimizer.layer_decay", found=layer_decay, expected="null or 0 < layer_decay ≤ 1")
    full_model = model.encoder.spec.full_model() if isinstance(model.encoder, Encoder) else None
    layers = {} if layer_decay is None else _layers(model.encoder, full_model)
    embeddings = _embeddings(model.encoder, full_model)
    count = max(layers.values(), default=-1) + 1
    groups: dict[str, dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        part, inner = model.part_of(name), name.removeprefix("encoder.")
        layer = layers.get(inner, count) if part == "encoder" else count
        decays = decay_norms or not (
            parameter.ndim <= 1 or name.endswith(".bias") or (part == "encoder" and inner in embeddings)
        )
        key = part + (f"/{layer}" if layer < count else "") + ("" if decays else "/no_decay")
        group = {
            "params": [],
            "name": key,
            "part": part,
            "scale": (layer_decay or 1.0) ** (count - layer),
            "decays": decays,
        }
        if not decays:
            group["weight_decay"] = 0.0
        groups.setdefault(key, group)["params"].append(parameter)
    if layer_decay is not None:
        log.info(
            "optimizer.layer_decay=%g: the encoder's %d layers learn at %.3g to %.3g of its rate",
            layer_decay, count, layer_decay**count, layer_decay,
        )  # fmt: skip
    return list(groups.values())


def _layers(encoder: nn.Module, whole: Any) -> dict[str, int]:
    """Number of the layer that each parameter of the encoder belongs to, from the input on."""
    if not hasattr(whole, "group_matcher"):
        raise UserError(
            "optimizer.layer_decay: timm does not know the layers of this encoder",
            fix="optimizer.layer_decay=null",
        )
    numbers = group_parameters(whole, whole.group_matcher(coarse=True), reverse=True)
    own = {name for name, _ in encoder.named_parameters()}
    return {n: layer for name, layer in numbers.items() for n in names_in_encoder(name) if n in own}


def _embeddings(encoder: nn.Module, whole: Any) -> set[str]:
    """What timm exempts from weight decay besides norms and biases, such as position embeddings."""
    patterns = whole.no_weight_decay() if hasattr(whole, "no_weight_decay") else ()
    exempt = (
        {n for n, _ in whole.named_parameters() if any(fnmatch(n, p) for p in patterns)} if patterns else ()
    )
    return {n for name in exempt for n in names_in_encoder(name)}
