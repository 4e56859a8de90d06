"""Part a timm model into the layers of its features and those of its head, without knowing the model."""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook


def head_children(model: Any, image: Tensor) -> tuple[str, ...]:
    """Return the children with weights that `forward_head` calls and `forward_features` does not."""
    called: list[set[nn.Module]] = []
    with register_module_forward_pre_hook(lambda module, _: called[-1].add(module)):
        called.append(set())
        features = model.forward_features(image)
        called.append(set())
        model.forward_head(features)
    only_head = called[1] - called[0]
    return tuple(
        n for n, child in model.named_children() if only_head & {*child.modules()} and has_state(child)
    )


def split(model: nn.Module, head: Collection[str]) -> tuple[Any, Any]:
    """Part a timm model into one with the layers of `forward_features` and one with those of `forward_head`.

    Args:
        model: a timm model; it becomes the first of the two.
        head: names of the children of the second, as `head_children` returns them.
    """
    other = copy.copy(model)
    other._parameters, other._buffers = {}, {}
    other._modules = {n: child for n, child in model.named_children() if n in head or not has_state(child)}
    for name in head:
        delattr(model, name)
    return model, other


def classifiers(model: Any) -> list[str]:
    """Return the names of the layers of a timm model that give the logits; some models have several."""
    layers = model.get_classifier()
    each = layers if isinstance(layers, tuple | list | nn.ModuleList) else (layers,)
    return [name for name, module in model.named_modules() if any(module is layer for layer in each)]


def has_state(module: nn.Module) -> bool:
    """Whether a module has parameters or buffers."""
    return any(True for _ in module.parameters()) or any(True for _ in module.buffers())
