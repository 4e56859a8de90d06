"""Part a timm model into the layers of its features and those of its head, without knowing the model."""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn


class _Reads(dict[str, Any]):
    """A dictionary that notes which of its values are read."""

    def __init__(self, values: dict[str, Any], noted: set[str]) -> None:
        super().__init__(values)
        self.noted = noted

    def __getitem__(self, name: str) -> Any:
        self.noted.add(name)
        return super().__getitem__(name)


KINDS = ("_parameters", "_buffers", "_modules")
"""The dictionaries in which a module holds its parameters, buffers and children."""


def head_names(model: Any, image: Tensor) -> tuple[str, ...]:
    """Return what `forward_head` reads and `forward_features` does not: parameters, buffers and children."""
    features_read, head_read = set[str](), set[str]()
    original = {kind: getattr(model, kind) for kind in KINDS}
    try:
        vars(model).update({kind: _Reads(values, features_read) for kind, values in original.items()})
        features = model.forward_features(image)
        vars(model).update({kind: _Reads(values, head_read) for kind, values in original.items()})
        model.forward_head(features)
    finally:
        vars(model).update(original)
    return tuple(sorted(head_read - features_read))


def split(model: nn.Module, head: Collection[str]) -> tuple[Any, Any]:
    """Part a timm model into one with the layers of `forward_features` and one with those of `forward_head`.

    Args:
        model: a timm model; it becomes the first of the two.
        head: names of what the second reads, as `head_names` returns them.
    """
    other = copy.copy(model)
    for kind in KINDS:
        values = getattr(model, kind)
        setattr(other, kind, {n: v for n, v in values.items() if n in head or _is_stateless(v)})
        setattr(model, kind, {n: v for n, v in values.items() if n not in head or _is_stateless(v)})
    return model, other


def new_classifier(layers: nn.Module, fresh: nn.Module) -> Any:
    """Return a copy of a head with new classifiers, for another number of classes.

    timm's `reset_classifier` does not serve here, since some models read other layers in it.

    Args:
        layers: the second model that `split` returns.
        fresh: timm's model for the number of classes, on the meta device.
    """
    model: Any = copy.deepcopy(layers)
    for name in classifiers(fresh):
        classifier = fresh.get_submodule(name).to_empty(device=torch.get_default_device())
        for layer in classifier.modules():
            getattr(layer, "reset_parameters", lambda: None)()
        model.set_submodule(name, classifier)
    model.num_classes = fresh.num_classes
    return model


def classifiers(model: Any) -> list[str]:
    """Return the names of the layers of a timm model that give the logits; some models have several."""
    layers = model.get_classifier()
    each = layers if isinstance(layers, tuple | list | nn.ModuleList) else (layers,)
    return [name for name, module in model.named_modules() if any(module is layer for layer in each)]


def _is_stateless(value: Any) -> bool:
    """Whether a module, such as an activation, may belong to both models."""
    return isinstance(value, nn.Module) and not [*value.parameters(), *value.buffers()]
