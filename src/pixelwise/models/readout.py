"""The use of a transformer's class token in its feature maps."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pixelwise.errors import UserError
from pixelwise.models.timm_spec import TimmSpec


@dataclass(frozen=True)
class Readout:
    """How the class token becomes part of the maps (Ranftl et al., ICCV 2021, arXiv:2103.13413).

    Attributes:
        kind: "ignore": not at all; "add": by addition at each position; "project": as further channels at
            each position, which the decoder projects by a linear layer.
    """

    kind: str

    @property
    def factor(self) -> int:
        """The number of channels of a map, divided by that without the token."""
        return 2 if self.kind == "project" else 1

    def check(self, body: Any, name: str) -> None:
        """Refuse a model without a class token, if it is to be used.

        Args:
            body: a timm model.
            name: its name, for the message.
        """
        has_token = getattr(body, "cls_token", None) is not None
        if self.kind != "ignore" and not (has_token and _returns_tokens(body)):
            raise UserError(
                f"encoder.readout={self.kind}: {name!r} has no class token beside its maps",
                expected="a plain transformer such as vit_small_patch16_224 or vit_small_patch16_dinov3",
                fix="decoder.encoder_readout=ignore",
            )

    def maps(self, spec: TimmSpec, body: Any, image: Tensor) -> list[Tensor]:
        """Return the maps (B, C, h, w) of a model for an image, with its class token."""
        if self.kind == "ignore":
            return spec.maps(body, image)
        pairs = spec.maps(body, image, return_prefix_tokens=True)
        return [self._join(x, tokens[:, 0, :, None, None].expand_as(x)) for x, tokens in pairs]

    def _join(self, x: Tensor, token: Tensor) -> Tensor:
        return x + token if self.kind == "add" else torch.cat([x, token], dim=1)


def _returns_tokens(model: Any) -> bool:
    return "return_prefix_tokens" in inspect.signature(model.forward_intermediates).parameters
