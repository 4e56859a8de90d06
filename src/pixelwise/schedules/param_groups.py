"""Parameter groups of the optimizer, each with its own learning rate and weight decay."""

from __future__ import annotations

import logging
from fnmatch import fnmatch
from typing import Any, Literal

from timm.models import group_parameters
from torch import nn

from pixelwise.errors import UserError
from pixelwise.models import Composition, Encoder

log = logging.getLogger(__name__)


GROUPING = ("layer_decay", "decay_norms", "layers")
"""Keys of `optimizer` that `parameter_groups` takes; they are no arguments of the optimizer class."""

Layers = Literal["stages", "blocks"]
"""What counts as a layer of a pyramid; the layers of a plain transformer are always its blocks."""


def parameter_groups(
    model: Composition,
    layer_decay: float | None = None,
    decay_norms: bool = False,
    layers: Layers = "stages",
) -> list[dict[str, Any]]:
    """Return the parameters of a composition in groups for an optimizer.

    Each group has its `part`, a `scale` and a flag `decays`. Before every step, the schedule sets the
    learning rate of a group to the rate of the part times the scale, and the weight decay of groups that
    decay. Scales follow ELECTRA (Clark et al., ICLR 2020) and BEiT (Bao et al., ICLR 2022; arXiv:2106.08254):
    1 for the decoder (with the encoder's neck) and the head, d for the last layer of the encoder, d² for the
    layer before, and so on. The pretrained layers of a classifier's head have the rate of the encoder and the
    scale 1.

    timm defines the layers. Those of a plain transformer are its embedding and each of its blocks, as in
    BEiT. Those of a pyramid (ResNet, ConvNeXt, Swin, …) are its stem and either each stage, as ConvNeXt-T's
    authors have them for segmentation, or each block, as Swin's authors have them in SimMIM and as timm's
    own `param_groups_layer_decay` does. docs/howto/schedule.md compares these rules.

    Args:
        model: the composition.
        layer_decay: the factor d; None for one rate in the whole encoder.
        decay_norms: whether weight decay also applies to norms, biases and position embeddings.
        layers: what counts as a layer of a pyramid.

    Raises:
        UserError: `layer_decay` is out of range, or timm does not define these layers of the encoder.
    """
    if layer_decay is not None and not 0 < layer_decay <= 1:
        raise UserError("optimizer.layer_decay", found=layer_decay, expected="null or 0 < layer_decay ≤ 1")
    full_model = model.encoder.spec.full_model() if isinstance(model.encoder, Encoder) else None
    layer_of = {} if layer_decay is None else _layers(model.encoder, full_model, layers)
    embeddings = _embeddings(full_model)
    count = max(layer_of.values(), default=-1) + 1
    groups: dict[str, dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        part = model.part_of(name)
        layer = layer_of.get(name, count)
        decays = decay_norms or not (parameter.ndim <= 1 or name.endswith(".bias") or name in embeddings)
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
            "optimizer.layer_decay=%g: the encoder's %d layers train at %.3g to %.3g of its learning rate",
            layer_decay, count, layer_decay**count, layer_decay,
        )  # fmt: skip
    return list(groups.values())


def _layers(encoder: nn.Module, full_model: Any, layers: Layers) -> dict[str, int]:
    """Return the layer index of each parameter of the encoder, counted from the input."""
    if not hasattr(full_model, "group_matcher"):
        raise UserError(
            "optimizer.layer_decay: timm does not define the layers of this encoder",
            fix="optimizer.layer_decay=null",
        )
    try:
        matcher = full_model.group_matcher(coarse=layers == "stages")
    except AssertionError as error:  # RDNet
        raise UserError(
            f"optimizer.layers: timm does not define the {layers} of this encoder",
            found=error,
            fix="optimizer.layers=" + ("blocks" if layers == "stages" else "stages"),
        ) from error
    numbers = group_parameters(full_model, matcher, reverse=True)
    own = {name for name, _ in encoder.named_parameters()}
    return {f"encoder.body.{n}": layer for n, layer in numbers.items() if f"body.{n}" in own}


def _embeddings(full_model: Any) -> set[str]:
    """Return the other parameters that timm exempts from weight decay, such as position embeddings."""
    patterns = full_model.no_weight_decay() if hasattr(full_model, "no_weight_decay") else ()
    if not patterns:
        return set()
    exempt = [n for n, _ in full_model.named_parameters() if any(fnmatch(n, p) for p in patterns)]
    return {f"{holder}.{name}" for name in exempt for holder in ("encoder.body", "head.model")}
