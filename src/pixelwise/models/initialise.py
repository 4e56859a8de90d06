"""How fresh layers start."""

from __future__ import annotations

from torch import nn


def initialise(module: nn.Module) -> None:
    """Draw the weights of all convolutions so that ReLUs keep the variance (He et al., ICCV 2015).

    PyTorch's own default is 2.4 times smaller, which under batch-norm and Adam means a learning rate
    that is as many times larger.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
