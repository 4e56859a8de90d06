"""Small encoders of several kinds and small decoders, for tests of all pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from torch import nn

from pixelwise.build.instantiate import make
from pixelwise.models import Composition, Encoder, Normalize, PixelHead
from pixelwise.models.decoders import Decoder

DECODERS = sorted((Path(__file__).parents[2] / "conf/decoder").glob("*.yaml"))
SMALL_VIT = {"embed_dim": 32, "depth": 4, "num_heads": 2}
SMALL_SWIN = {"embed_dim": 16, "depths": (1, 1, 2, 1), "num_heads": (1, 2, 4, 8)}
KINDS: dict[str, dict[str, Any]] = {
    "test_resnet": {},  # five maps, batch-norm
    "test_efficientnet": {},  # inverted residuals
    "test_convnext": {},  # four maps, layer norm
    "swin_tiny_patch4_window7_224": {**SMALL_SWIN, "drop_path_rate": 0.0},  # channels last, windows
    "test_vit": {},  # a single scale
    "beit_base_patch16_224": {**SMALL_VIT, "img_size": (112, 144)},  # a single scale and a fixed size
}
"""Encoders of six kinds; each accepts an image of 97×131."""

SLIM = {"width": 64, "pyramid_width": 32, "widths": [32, 24, 16, 16, 16], "reduction": 1}


def decoder_of(file: Path, channels: tuple[int, ...], strides: tuple[int, ...]) -> Decoder:
    """Build the decoder of a YAML file with fewer channels."""
    config = OmegaConf.load(file)
    config.update({key: value for key, value in SLIM.items() if key in config})
    return make(config, "decoder", channels=channels, strides=strides)


def encoder_for(name: str, decoder: Path) -> Encoder:
    """Build an encoder of `KINDS` as the decoder requires: dilated if timm can, with a neck or without."""
    config = OmegaConf.load(decoder)
    stride, neck = config.get("encoder_output_stride", 32), config.get("encoder_neck", True)
    return Encoder(name, output_stride=stride, neck=neck, **KINDS[name])


def composition(name: str, decoder: Path, classes: int = 3) -> Composition:
    """Build an encoder of `KINDS` with a small decoder."""
    encoder = encoder_for(name, decoder)
    built = decoder_of(decoder, encoder.channels, encoder.strides)
    head = PixelHead(built.out_channels, classes)
    return Composition(encoder, built, head, Normalize([0.0] * 3, [1.0] * 3))


def take_statistics_of_one_batch(model: nn.Module) -> None:
    """Let the next batch set the statistics of all batch-norms; the initial ones fit no data."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
