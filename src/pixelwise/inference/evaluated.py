"""A network as it is evaluated: by a protocol, with test-time augmentation."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from pixelwise.inference.sliding import resized, windows_of
from pixelwise.inference.tta import TTA, Network, tta_name, with_tta
from pixelwise.protocols import EvaluationProtocol


class Evaluated:
    """Applies a network to images by a protocol, and names the scores of the result.

    Args:
        protocol: the windows of images, which are resized already; None gives the network whole images.

    Attributes:
        views: test-time augmentation.
    """

    def __init__(self, protocol: EvaluationProtocol | None = None) -> None:
        self.protocol = protocol or EvaluationProtocol()
        self.views: Sequence[TTA] = ()

    def __call__(self, network: Network, image: Tensor, size: Sequence[int]) -> Tensor:
        """Return the logits of normalised images (B, C, h, w), those of pixels at `size`."""
        logits = with_tta(network, [*self.views, *windows_of(self.protocol)])(image)
        return resized(logits, size) if logits.ndim == 4 else logits

    @property
    def name(self) -> str:
        """Name of the protocol with the test-time augmentation; "" for unchanged images."""
        return "_".join(filter(None, (self.protocol.name, tta_name(self.views))))

    def score_name(self, split: str, name: str) -> str:
        """Return the flat name of a score, such as "test/short512/miou"."""
        return "/".join(filter(None, (split, self.name, name)))
