"""Auxiliary heads: additional losses in training, on maps inside of a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelwise.errors import UnknownName, UserError, guess
from pixelwise.kinds import Count, Fraction, NonNegative
from pixelwise.models.decoders.base import conv_bn_relu
from pixelwise.models.pixel_head import PixelHead


class AuxiliaryHead(nn.Module):
    """3×3 convolution → batch-norm → ReLU → dropout → 1×1 convolution → resize: one map to pixel logits.

    PSPNet (Zhao et al., CVPR 2017; arXiv:1612.01105) is trained with such a head and the weight 0.4. Without
    the 3×3 convolution it is a head for the deep supervision of UNet++ (arXiv:1807.10165).

    Args:
        in_channels: channels of the map.
        num_classes: K.
        weight: factor of the head's loss in the loss that training minimises.
        width: channels of the 3×3 convolution; None leaves it out, with batch-norm and ReLU.
        dropout: probability that a channel is dropped in training.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        weight: NonNegative = 0.4,
        width: Count | None = 256,
        dropout: Fraction = 0.1,
    ) -> None:
        super().__init__()
        self.weight = weight
        self.conv = nn.Identity() if width is None else conv_bn_relu(in_channels, width)
        self.head = PixelHead(width or in_channels, num_classes, dropout)

    def forward(self, maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Maps (B, C, h_i, w_i), which are added at the size of the largest → logits (B, K, *size)."""
        largest = max((x.shape[-2:] for x in maps), key=lambda shape: shape[0])
        resized = (
            x if x.shape[-2:] == largest
            else F.interpolate(x, size=largest, mode="bilinear", align_corners=False)
            for x in maps
        )  # fmt: skip
        return self.head(self.conv(sum(resized)), size)


class InnerMaps:
    """The maps inside of a model on which auxiliary heads can work, by name.

    `stage1`, `stage2`, … are the encoder's maps from stride 4 on; finer ones are `stride1` and `stride2`.
    `decoder` is the decoder's output, and every other name is one of its layers: `blocks_0` is `blocks[0]`.

    Attributes:
        stages: index of each of the encoder's maps, by name.
        layers: the decoder and its layers, by name.
        channels: channels of all these maps, by name.

    Args:
        encoder: a module that returns maps with these `channels` and `strides`.
        decoder: a decoder of these maps.
    """

    def __init__(self, encoder: Any, decoder: Any) -> None:
        finest = decoder.first_map(4)
        self.stages = {
            f"stage{index - finest + 1}" if index >= finest else f"stride{stride}": index
            for index, stride in enumerate(encoder.strides)
        }
        self.channels = {name: encoder.channels[index] for name, index in self.stages.items()}
        layers = {"decoder": decoder, **_layers(decoder)}
        self.channels |= _channels_of(layers, encoder, decoder)
        self.layers = {name: layer for name, layer in layers.items() if name in self.channels}

    def check(self, key: str, names: Sequence[str]) -> int:
        """Return the channels of the maps with these names.

        Args:
            key: the config key, for messages.
            names: one or several names.

        Raises:
            UserError: a name is unknown, or the maps have different numbers of channels.
        """
        for name in names:
            if name not in self.channels:
                stages, layers = ", ".join(self.stages), ", ".join(self.layers)
                raise UnknownName(
                    f"{key}: no map of the encoder or the decoder has this name",
                    found=name,
                    expected=f"{stages} of the encoder; {layers} of the decoder",
                    fix=guess("did you mean …?", str(name), self.channels),
                )
        channels = {name: self.channels[name] for name in names}
        if len(set(channels.values())) != 1:
            raise UserError(
                f"{key}: only maps with the same number of channels can be added",
                found=", ".join(f"{name} with {count}" for name, count in channels.items()) or "no map",
            )
        return channels[names[0]]


class AuxiliaryHeads(nn.ModuleDict):
    """Auxiliary heads, which read the maps of the model's last forward pass.

    Hooks on the encoder and on layers of the decoder keep these maps. Evaluation, prediction and exports
    build a model without these heads and hooks.

    Attributes:
        stages: indices of the encoder's maps that are read.

    Args:
        heads: the heads by name.
        names: the names of the maps that each head reads, by the same names.
        inner: the maps of the model.
    """

    def __init__(
        self, heads: Mapping[str, AuxiliaryHead], names: Mapping[str, Sequence[str]], inner: InnerMaps
    ) -> None:
        super().__init__(heads)
        self.names = {head: tuple(given) for head, given in names.items()}
        self._maps: dict[str, Tensor] = {}
        read = {name for given in self.names.values() for name in given}
        self._stages = {name: index for name, index in inner.stages.items() if name in read}
        self._layers = {name: inner.layers[name] for name in read - self._stages.keys()}
        self.stages = tuple(self._stages.values())

    def attach(self, encoder: nn.Module) -> None:
        """Keep the maps of every forward pass with gradients from now on."""
        if self.stages:
            encoder.register_forward_hook(self._keep_stages)
        for name, layer in self._layers.items():
            layer.register_forward_hook(partial(self._keep, name))

    def logits(self, size: tuple[int, int]) -> Iterator[tuple[str, AuxiliaryHead, Tensor]]:
        """Yield name, head and logits (B, K, H, W) of each head for the last forward pass with gradients."""
        maps = self._maps.copy()
        self._maps.clear()
        for name, module in self.items():
            head = cast(AuxiliaryHead, module)
            yield name, head, head([maps[given] for given in self.names[name]], size)

    def _keep_stages(self, encoder: nn.Module, inputs: Any, maps: list[Tensor]) -> None:
        if torch.is_grad_enabled():
            self._maps.update({name: maps[index] for name, index in self._stages.items()})

    def _keep(self, name: str, layer: nn.Module, inputs: Any, output: Tensor) -> None:
        if torch.is_grad_enabled():
            self._maps[name] = output


def _layers(decoder: nn.Module) -> dict[str, nn.Module]:
    """Return the children of a decoder, and the members of children that are lists or dictionaries."""
    layers: dict[str, nn.Module] = {}
    for name, child in decoder.named_children():
        if isinstance(child, nn.ModuleList | nn.ModuleDict):
            layers |= {f"{name}_{key}": layer for key, layer in child.named_children()}
        else:
            layers[name] = child
    return {name: layer for name, layer in layers.items() if not isinstance(layer, nn.Identity)}


def _channels_of(layers: Mapping[str, nn.Module], encoder: Any, decoder: nn.Module) -> dict[str, int]:
    """Return the channels of the maps that these layers return; some return none, or are not called."""
    channels: dict[str, int] = {}

    def note(name: str, layer: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4:
            channels[name] = output.shape[1]

    hooks = [layer.register_forward_hook(partial(note, name)) for name, layer in layers.items()]
    training, device = decoder.training, next(encoder.parameters()).device
    with torch.no_grad():
        decoder.eval()(
            [
                torch.zeros(1, count, *[max(1, 64 // stride)] * 2, device=device)
                for count, stride in zip(encoder.channels, encoder.strides, strict=True)
            ]
        )
    decoder.train(training)
    for hook in hooks:
        hook.remove()
    return {name: channels[name] for name in layers if name in channels}
