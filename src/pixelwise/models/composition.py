"""The composition itself: what classification and segmentation share, and where they part."""

from __future__ import annotations

from torch import Tensor, nn

from pixelwise.models.decoders.base import Decoder
from pixelwise.models.encoder import Encoder
from pixelwise.models.normalize import Normalize


class Composition(nn.Module):
    """image (B, C, H, W) ▶ encoder ▶ decoder ▶ head ▶ logits (B, K) or (B, K, H, W).

    The attribute names are the parts that a schedule gives learning rates to and freezes.
    `forward` takes normalised images; `normalize` is the preprocessing that belongs to the weights,
    and travels with them in the state dict.
    """

    PARTS = ("encoder", "decoder", "head")

    def __init__(self, encoder: nn.Module, decoder: nn.Module, head: nn.Module, normalize: Normalize) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.head = head
        self.normalize = normalize
        initialise(decoder)
        if isinstance(encoder, Encoder) and isinstance(decoder, Decoder):
            encoder.keep(decoder.used)

    def forward(self, image: Tensor) -> Tensor:
        """Logits for a normalised (B, C, H, W) image; softmax is for prediction only."""
        return self.head(self.decoder(self.encoder(image)), image.shape[-2:])

    @property
    def neck(self) -> nn.Module | None:
        """The pyramid over a plain transformer: within the encoder, but as fresh as the decoder."""
        return getattr(self.encoder, "neck", None)

    def part_of(self, name: str) -> str:
        """The part whose rate and freezing hold for a parameter; those of the neck are the decoder's."""
        return "decoder" if name.startswith("encoder.neck.") else name.partition(".")[0]


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
