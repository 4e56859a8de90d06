"""The composition of encoder, decoder and head, which classification and segmentation share."""

from __future__ import annotations

from torch import Tensor, nn

from pixelwise.models.auxiliary import AuxiliaryHeads
from pixelwise.models.classifier_head import ClassifierHead
from pixelwise.models.decoders.base import Decoder
from pixelwise.models.encoder import Encoder
from pixelwise.models.normalize import Normalize


class Composition(nn.Module):
    """image (B, C, H, W) ▶ encoder ▶ decoder ▶ head ▶ logits (B, K) or (B, K, H, W).

    A schedule sets learning rates for the three parts by their attribute names, and freezes them.
    `forward` takes normalised images; `normalize` is the preprocessing that belongs to the weights. The
    state dict holds it too.

    Attributes:
        trained_with: modules that are trained and frozen with another part than the one that holds them. The
            neck of a plain transformer is never pretrained, so that it is trained with the decoder; timm's
            layers in a classifier's head are, so that they are trained with the encoder.
        auxiliary: the heads of additional losses in training, or None; they are trained with the head.
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
        self.trained_with: dict[str, str] = {}
        if isinstance(encoder, Encoder) and isinstance(decoder, Decoder):
            encoder.keep({*decoder.used, *(() if auxiliary is None else auxiliary.stages)})
            neck = () if encoder.neck is None else dict(encoder.neck.named_modules())
            self.trained_with |= {f"encoder.neck.{name}": "decoder" for name in neck if name}
        if isinstance(head, ClassifierHead):
            self.trained_with |= {f"head.{name}": "encoder" for name in head.pretrained}
        if auxiliary is not None:
            auxiliary.attach(encoder)
            for each in auxiliary.children():
                initialise(each.get_submodule("conv"))
            names = dict(auxiliary.named_modules())
            self.trained_with |= {f"auxiliary.{name}": "head" for name in names if name}

    def forward(self, image: Tensor) -> Tensor:
        """Return logits for normalised images (B, C, H, W), without softmax."""
        return self.head(self.decoder(self.encoder(image)), image.shape[-2:])

    def linear_input(self, image: Tensor) -> Tensor:
        """Return what the head's linear layer takes: (B, D) of a classifier, (B, D, h, w) of a segmenter."""
        return self.head.linear_input(self.decoder(self.encoder(image)))  # type: ignore[operator]

    def part_of(self, name: str) -> str:
        """Return the part that a parameter is trained with."""
        return self.trained_with.get(name.rpartition(".")[0], name.partition(".")[0])


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
