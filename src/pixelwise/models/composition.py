"""The composition of encoder, decoder and head, which classification and segmentation share."""

from __future__ import annotations

from torch import Tensor, nn

from pixelwise.models.auxiliary import AuxiliaryHeads
from pixelwise.models.decoders.base import Decoder
from pixelwise.models.encoder import Encoder
from pixelwise.models.normalize import Normalize


class Composition(nn.Module):
    """image (B, C, H, W) ▶ encoder ▶ decoder ▶ head ▶ logits (B, K) or (B, K, H, W).

    A schedule sets learning rates for the three parts by their attribute names, and freezes them.
    `forward` takes normalised images; `normalize` is the preprocessing that belongs to the weights. The
    state dict holds it too. `auxiliary` are the heads of additional losses in training, or None.
    """

    PARTS = ("encoder", "decoder", "head")

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        head: nn.Module,
        normalize: Normalize,
        auxiliary: AuxiliaryHeads | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.head = head
        self.normalize = normalize
        self.auxiliary = auxiliary
        initialise(decoder)
        if isinstance(encoder, Encoder) and isinstance(decoder, Decoder):
            encoder.keep({*decoder.used, *(() if auxiliary is None else auxiliary.stages)})
        if auxiliary is not None:
            auxiliary.attach(encoder)
            for each in auxiliary.children():
                initialise(each.get_submodule("conv"))

    def forward(self, image: Tensor) -> Tensor:
        """Return logits for normalised images (B, C, H, W), without softmax."""
        return self.head(self.decoder(self.encoder(image)), image.shape[-2:])

    @property
    def neck(self) -> nn.Module | None:
        """The feature pyramid inside the encoder of a plain transformer; its weights are never pretrained."""
        return getattr(self.encoder, "neck", None)

    def part_of(self, name: str) -> str:
        """Return the part that a parameter is trained with: the neck with the decoder, all heads together."""
        if name.startswith("encoder.neck."):
            return "decoder"
        part = name.partition(".")[0]
        return "head" if part == "auxiliary" else part


def initialise(module: nn.Module) -> None:
    """Initialise the weights of all convolutions so that ReLUs keep the variance (He et al., ICCV 2015).

    PyTorch's default weights are 2.4 times smaller. With batch-norm and Adam this acts like a learning rate
    that is 2.4 times larger.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
