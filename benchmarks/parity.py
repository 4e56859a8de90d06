"""Largest difference between our decoders and segmentation_models_pytorch's, with equal weights and images.

    python benchmarks/parity.py

Weights are copied in the order in which both sides register them, encoder to encoder and decoder to
decoder; both use our 1×1 head. Where defaults differ on purpose (see the docstrings of the decoders), the
reference gets ours. The biases that the reference has in front of batch-norms, which subtract them again,
are removed.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import segmentation_models_pytorch as smp
import torch
from omegaconf import OmegaConf
from segmentation_models_pytorch.decoders.dpt.decoder import DPTDecoder
from torch import nn

from pixelwise import build
from pixelwise.models import Composition, Encoder, Normalize, PixelHead

REFERENCES: dict[str, tuple[type[nn.Module], dict[str, object]]] = {
    "unet": (smp.Unet, {}),
    "unetplusplus": (smp.UnetPlusPlus, {}),
    "manet": (smp.MAnet, {}),
    "linknet": (smp.Linknet, {}),
    "fpn": (smp.FPN, {}),
    "pan": (smp.PAN, {}),
    "pspnet": (smp.PSPNet, {"encoder_depth": 5, "output_stride": 8}),
    "deeplabv3": (smp.DeepLabV3, {}),
    "deeplabv3plus": (smp.DeepLabV3Plus, {"decoder_atrous_rates": (6, 12, 18)}),
    "upernet": (smp.UPerNet, {}),
    "segformer": (smp.Segformer, {}),
}
"""For each file of conf/decoder: the reference and its arguments."""

ENCODERS = ("resnet18", "convnext_atto")
"""The first has five maps at strides 2 to 32, the second four at strides 4 to 32."""

TRANSFORMER = "vit_tiny_patch16_224"
ENCODER_OPTIONS = ("output_stride", "neck", "readout")
READOUTS = {"ignore": "ignore", "add": "add", "project": "cat"}
"""Readouts of the class token in `decoder=dpt`, and their names in the reference."""

CONF = Path(__file__).parents[1] / "conf/decoder"
TOLERANCE = 1e-4


def build_ours(decoder: str, encoder: str, readout: str = "ignore", classes: int = 3) -> Composition:
    """Return the composition with a decoder of conf/, random norm parameters and logits of the order of 1."""
    config = OmegaConf.load(CONF / f"{decoder}.yaml")
    if "encoder_readout" in config:
        config.encoder_readout = readout
    options = {key: config[f"encoder_{key}"] for key in ENCODER_OPTIONS if f"encoder_{key}" in config}
    body = Encoder(encoder, **options)
    built = build.make(config, "decoder", channels=body.channels, strides=body.strides)
    head = PixelHead(built.out_channels, classes)
    model = Composition(body, built, head, Normalize([0.0] * 3, [1.0] * 3))
    for parameter in model.parameters():
        if parameter.ndim == 1:
            nn.init.uniform_(parameter, 0.2, 1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the statistics of the one batch below
    with torch.no_grad():
        deviation = model.train()(torch.randn(2, 3, 64, 96)).std()
        for parameter in model.head.parameters():
            parameter /= deviation
    return model.eval()


def copy_in_order(ours: nn.Module, theirs: nn.Module) -> None:
    """Copy all parameters and buffers of ours to theirs; shapes may differ by axes of length 1."""
    mine, other = ours.state_dict(), theirs.state_dict()
    for (name, tensor), (their_name, target) in zip(mine.items(), other.items(), strict=True):
        assert tensor.squeeze().shape == target.squeeze().shape, f"{name} is not {their_name}"
        target.copy_(tensor.reshape(target.shape))


def remove_biases(model: nn.Module) -> None:
    """Remove the bias of each convolution in front of a batch-norm; it has no effect."""
    for module in model.modules():
        layers = [layer for layer in module.children() if not isinstance(layer, nn.ReLU)]
        for layer, following in pairwise(layers):
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and isinstance(following, nn.BatchNorm2d):
                layer.bias = None


def largest_difference(decoder: str, encoder: str, size: tuple[int, int] = (128, 256)) -> float:
    """Return the largest difference of the logits for two images of `size`, multiples of 128."""
    torch.manual_seed(0)
    ours = build_ours(decoder, encoder)
    reference, options = REFERENCES[decoder]
    theirs = reference(f"tu-{encoder}", encoder_weights=None, **options).eval()
    their_encoder, their_decoder = theirs.get_submodule("encoder"), theirs.get_submodule("decoder")
    remove_biases(their_decoder)
    copy_in_order(ours.encoder, their_encoder)
    copy_in_order(ours.decoder, their_decoder)
    image = torch.randn(2, 3, *size)
    with torch.no_grad():
        return (ours(image) - ours.head(their_decoder(their_encoder(image)), size)).abs().max().item()


def largest_difference_of_dpt(encoder: str, readout: str = "ignore") -> float:
    """Return the largest difference for `decoder=dpt` on the maps and class tokens of our encoder.

    The reference takes plain transformers only, as whole models; its decoder takes any maps.
    """
    torch.manual_seed(0)
    ours = build_ours("dpt", encoder, readout)
    size = (64, 96)
    with torch.no_grad():
        maps = ours.encoder(torch.randn(2, 3, *size))
        used = [maps[i] for i in ours.decoder.used]
        halves = [x.tensor_split(2, dim=1) if readout == "project" else (x, x) for x in used]
        theirs = DPTDecoder(
            [x.shape[1] for x, _ in halves],
            [ours.encoder.strides[i] for i in ours.decoder.used],
            readout=READOUTS[readout],
        ).eval()
        remove_biases(theirs)
        copy_in_order(ours.decoder, theirs)
        if readout == "add":  # our encoder has added it
            tokens = [torch.zeros(2, 1, x.shape[1]) for x in used]
        else:
            tokens = [token.flatten(2)[..., :1].mT for _, token in halves]
        output = theirs([x for x, _ in halves], tokens)
        return (ours.head(ours.decoder(maps), size) - ours.head(output, size)).abs().max().item()


def main() -> None:
    """Print one line per decoder."""
    print(f"largest |difference| of the logits, float32; segmentation_models_pytorch {smp.__version__}")
    print(f"{'':14}" + "".join(f"{encoder:>16}" for encoder in ENCODERS))
    for decoder in REFERENCES:
        differences = (largest_difference(decoder, encoder) for encoder in ENCODERS)
        print(f"{decoder:14}" + "".join(f"{difference:16.1e}" for difference in differences), flush=True)
    print(f"{'dpt':14}" + "".join(f"{largest_difference_of_dpt(encoder):16.1e}" for encoder in ENCODERS))
    for readout in READOUTS:
        print(
            f"dpt on {TRANSFORMER}, readout={readout}: {largest_difference_of_dpt(TRANSFORMER, readout):.1e}"
        )


if __name__ == "__main__":
    main()
