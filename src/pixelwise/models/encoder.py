"""Any timm model as a feature pyramid."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import huggingface_hub
import timm
from torch import Tensor, nn

from pixelwise.errors import UserError, nearest
from pixelwise.models.weights import load_encoder_weights


class Encoder(nn.Module):
    """A timm model cut into feature maps, finest first.

    Attributes:
        channels: of each feature map.
        strides: of each feature map, in input pixels.
        mean, std: the input statistics that the pretrained weights expect, or None without them.

    Args:
        name: any name that `timm.list_models()` knows.
        pretrained: load timm's weights from the Hugging Face hub (or its local cache).
        weights: a file to load instead: a run's checkpoint, or a timm `.pth` or `.safetensors` file.
        in_chans: bands of the input; pretrained first layers are adapted by timm.
        **options: passed on to `timm.create_model`, such as `drop_path_rate`.
    """

    def __init__(
        self,
        name: str,
        pretrained: bool = False,
        weights: str | Path | None = None,
        in_chans: int = 3,
        **options: Any,
    ) -> None:
        super().__init__()
        if not timm.is_model(name):
            raise UserError(
                f"encoder.name: timm {timm.__version__} knows no model {name!r}",
                expected="one of " + ", ".join(nearest(name, timm.list_models(), 5)) + " …",
                fix='list them all with `python -c "import timm; print(*timm.list_models())"`',
            )
        if pretrained and weights is not None:
            raise UserError("encoder.pretrained and encoder.weights are both set", fix="keep one of them")
        if pretrained:
            _require_download(name)
        try:
            self.body = timm.create_model(
                name, features_only=True, pretrained=pretrained, in_chans=in_chans, **options
            )
        except (RuntimeError, AttributeError, TypeError, AssertionError, ValueError) as error:
            raise UserError(
                f"encoder.name: timm cannot build {name!r} as a feature pyramid",
                found=error,
                expected="a convolutional or hierarchical model, such as resnet18 or convnext_tiny",
            ) from error
        info: Any = self.body.feature_info
        self.channels: tuple[int, ...] = tuple(info.channels())
        self.strides: tuple[int, ...] = tuple(info.reduction())
        if len(set(self.strides)) < len(self.strides):
            raise UserError(
                f"encoder.name: {name!r} has a single scale", found=f"strides {self.strides}",
                expected="a feature pyramid, such as that of resnet18 or convnext_tiny",
            )  # fmt: skip
        if weights is not None:
            load_encoder_weights(self, Path(weights))
        statistics = timm.get_pretrained_cfg(name) if pretrained else None
        self.mean = tuple(statistics.mean) if statistics and in_chans == 3 else None
        self.std = tuple(statistics.std) if statistics and in_chans == 3 else None

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, C, H, W) → [(B, channels[i], ~H / strides[i], ~W / strides[i])]."""
        return self.body(image)


def _require_download(name: str, timeout_s: float = 5.0) -> None:
    """Fail at once, instead of after minutes of retries, when the weights cannot be had."""
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise UserError(
            f"encoder.pretrained: timm has no weights for {name!r}",
            expected="a model of `timm.list_models(pretrained=True)`",
            fix="encoder.pretrained=false, or another encoder.name",
        )
    files = ("model.safetensors", "pytorch_model.bin")
    if config.hf_hub_id and any(
        isinstance(huggingface_hub.try_to_load_from_cache(config.hf_hub_id, f), str) for f in files
    ):
        return
    if any(os.environ.get(v) for v in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return  # a direct connection says nothing about what the proxy reaches
    host = urlsplit(huggingface_hub.constants.ENDPOINT).hostname
    try:
        socket.create_connection((host, 443), timeout=timeout_s).close()
    except OSError as error:
        raise UserError(
            f"encoder.pretrained: the weights of {name!r} are not in the cache and {host} does not answer",
            found=error,
            fix="connect to the network, give a local file with encoder.weights=FILE, or train from "
            "scratch with encoder.pretrained=false",
        ) from error
