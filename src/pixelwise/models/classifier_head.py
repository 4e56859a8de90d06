"""The head for one label per image: the last layers of timm's own model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pixelwise.errors import UserError
from pixelwise.models.encoder import Encoder
from pixelwise.models.freezing import FrozenNorms, freeze_batchnorm
from pixelwise.models.pools import Pool
from pixelwise.models.timm_head import classifiers, new_classifier


class ClassifierHead(FrozenNorms):
    """The layers of timm's `forward_head`: the model's own pool, norms, dropout and linear layer.

    With the same weights, an `Encoder` with `final` and this head give the logits of `timm.create_model`. The
    layers before the linear one are pretrained with the encoder, such as the norm of ConvNeXt and the
    convolution of MobileNetV3: they have its initial weights, and are trained and frozen with it.

    `pool` replaces the model's pool. Each of its vectors then passes through the other layers, and a new
    linear layer takes all vectors.

    Attributes:
        pretrained: names of the modules whose weights belong to the encoder's model.

    Args:
        in_channels: channels of the encoder's final features.
        num_classes: K.
        encoder: the encoder that gives the features; option `drop_rate` of timm sets the dropout.
        pool: function of the number of channels that builds another pool; None: the pool of timm's model.

    Raises:
        UserError: the encoder returns maps instead of final features, or has no class token for the pool.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        encoder: Encoder,
        pool: Callable[[int], Pool] | None = None,
    ) -> None:
        super().__init__()
        if not encoder.final:
            raise UserError(
                "encoder.final", found=False, expected="true: a classifier takes the final features"
            )
        (layers,) = encoder.head_layers
        classes = num_classes if pool is None else 0
        self.model = new_classifier(layers, encoder.spec.full_model(num_classes=classes))
        new = {m for name in classifiers(self.model) for m in self.model.get_submodule(name).modules()}
        self.pretrained = tuple(
            f"model.{name}"
            for name, module in self.model.named_modules()
            if not new & {*module.modules()} and (module._parameters or module._buffers)
        )
        frozen = self.pretrained if encoder.frozen_batchnorm else ()
        self.frozen = [norm for name in frozen for norm in freeze_batchnorm(self.get_submodule(name))]
        self.pool: Pool | None = None
        if pool is not None:
            self.pool = pool(in_channels)
            has_token = getattr(encoder.body, "cls_token", None) is not None
            if self.pool.reads_class_token and not has_token:
                raise UserError(
                    f"task.head.pool: the encoder {encoder.spec.name!r} has no class token",
                    expected="a transformer with one, such as vit_small_patch16_224",
                    fix="pool=avg",
                )
            self.class_tokens: int = getattr(encoder.body, "num_prefix_tokens", 0)
            self.channels_last = getattr(encoder.body, "output_fmt", "NCHW") == "NHWC"
            if getattr(self.model, "attn_pool", None) is not None:  # the model's own pool
                self.model.attn_pool, self.model.global_pool = None, "avg"
            width = getattr(self.model, "head_hidden_size", None) or in_channels
            self.linear = nn.Linear(self.pool.vectors * width, num_classes)

    def forward(self, features: Any, size: tuple[int, int]) -> Tensor:
        """Final features of the encoder → logits (B, K); `size` is not used."""
        if self.pool is None:
            return self.model.forward_head(features)
        return self.linear(self.linear_input(features))

    def linear_input(self, features: Any) -> Tensor:
        """Final features of the encoder → what the linear layer takes (B, D)."""
        if self.pool is None:
            return self.model.forward_head(features, pre_logits=True).flatten(1)
        vectors = self.pool(*self._tokens(features))
        return torch.cat([self._own_layers(vector, features) for vector in vectors], dim=1)

    def _tokens(self, features: Any) -> tuple[Tensor, Tensor]:
        """Final features of any layout → class (and register) tokens (B, P, D), positions (B, N, D)."""
        if not isinstance(features, Tensor):
            raise UserError(
                "task.head.pool: this encoder's final features have several scales",
                expected="one map, or one sequence of tokens",
                fix="task.head.pool=null",
            )
        if features.ndim == 4:
            features = features.flatten(1, 2) if self.channels_last else features.flatten(2).mT
            return features[:, :0], features
        tokens, positions = features[:, : self.class_tokens], features[:, self.class_tokens :]
        return tokens, positions if positions.shape[1] else tokens  # some models keep the class token only

    def _own_layers(self, vector: Tensor, features: Tensor) -> Tensor:
        """Pass a vector (B, D) through the model's layers, as features that are equal at every position."""
        if features.ndim == 3:
            constant = vector[:, None].expand(-1, self.class_tokens + 1, -1)
        else:
            constant = vector[:, None, None] if self.channels_last else vector[:, :, None, None]
        return self.model.forward_head(constant, pre_logits=True)
