"""Largest differences from segmentation_models_pytorch and from timm, with equal weights and images.

    python benchmarks/parity.py

Decoders are compared with those of segmentation_models_pytorch. Weights are copied in the order in which
both sides register them, encoder to encoder and decoder to decoder; both use our 1×1 head. Where defaults
differ on purpose (see the docstrings of the decoders), the reference gets ours. The biases that the
reference has in front of batch-norms, which subtract them again, are removed.

Encoders of every kind are compared with timm: the logits of classifiers, and the last map of plain
transformers, under the model's final norm. Weights go through `encoder.weights=FILE`, as published ones do;
the classifier's linear layer is copied.
"""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import timm
import torch
from omegaconf import DictConfig, OmegaConf
from segmentation_models_pytorch.decoders.dpt.decoder import DPTDecoder
from torch import nn

from pixelwise import build
from pixelwise.models import ClassifierHead, Composition, Encoder, Normalize, PixelHead
from pixelwise.models.decoders import DPT, Linear

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

SMALL: dict[str, Any] = {"embed_dim": 32, "depth": 4, "num_heads": 2}
KINDS: dict[str, dict[str, Any]] = {
    "test_resnet": {},
    "regnetx_002": {},
    "test_efficientnet": {},  # a convolution before the pool
    "mobilenetv3_small_050": {},  # and after it
    "mobilenetv4_conv_small_035": {},
    "test_convnext": {},  # a norm after the pool
    "swin_tiny_patch4_window7_224": {"embed_dim": 16, "depths": (1, 1, 2, 1), "num_heads": (1, 2, 4, 8)},
    "test_maxvit": {},
    "pvt_v2_b0": {},
    "hrnet_w18_small": {},
    "caformer_s18": {},  # two linear layers
    "hiera_tiny_224": {"stages": (1, 1, 1, 1), "embed_dim": 16},
    "levit_128s": {},  # batch-norm in two classifiers
    "repvit_m1": {},
    "efficientformer_l1": {},
    "efficientvim_m1": {},  # a classifier for each stage, and weights of the stages
    "crossvit_tiny_240": {},  # two scales, each with a classifier
    "test_vit": {},
    "test_vit2": {},  # a class token that the average leaves out
    "vit_base_patch16_siglip_224": SMALL,  # pooled by attention
    "deit_tiny_patch16_224": SMALL,
    "deit_tiny_distilled_patch16_224": SMALL,  # two classifiers
    "deit3_small_patch16_224": SMALL,
    "vit_small_patch14_dinov2": {**SMALL, "img_size": 112},
    "vit_small_patch14_reg4_dinov2": {**SMALL, "img_size": 112},  # registers
    "vit_small_patch16_dinov3": SMALL,
    "eva02_tiny_patch14_224": SMALL,
    "beit_base_patch16_224": SMALL,  # a norm after the average
    "cait_xxs24_224": SMALL,
    "xcit_nano_12_p16_224": SMALL,
    "mixer_s32_224": {},
    "resmlp_12_224": {},
}
"""Models of timm of every kind, with the options that make the larger ones small."""

CONF = Path(__file__).parents[1] / "conf/decoder"
TOLERANCE = 1e-4


def build_ours(decoder: str, encoder: str, readout: str = "ignore", classes: int = 3) -> Composition:
    """Return the composition with a decoder of conf/, random norm parameters and logits of the order of 1."""
    config = OmegaConf.load(CONF / f"{decoder}.yaml")
    assert isinstance(config, DictConfig)
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
            parameter.div_(deviation)
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
    assert isinstance(ours.encoder, Encoder)
    assert isinstance(ours.decoder, DPT)
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


def differences_from_timm(
    name: str, options: dict[str, Any], folder: Path, classes: int = 5
) -> tuple[float, float | None]:
    """Return the largest difference of the logits, and of the last map of a plain transformer.

    Args:
        name: name of a timm model.
        options: options for `timm.create_model`.
        folder: where the file with the weights is written.
        classes: number of classes.
    """
    torch.manual_seed(0)
    theirs: Any = timm.create_model(name, num_classes=classes, **options).eval()
    for parameter in theirs.parameters():
        if parameter.ndim == 1:
            nn.init.uniform_(parameter, 0.2, 1)
    torch.save(theirs.state_dict(), folder / "timm.pth")
    encoder = Encoder(name, weights=folder / "timm.pth", final=True, **options)
    decoder = Linear(encoder.channels, encoder.strides)
    head = ClassifierHead(decoder.out_channels, classes, encoder)
    head.model.load_state_dict({n: t for n, t in theirs.state_dict().items() if n in head.model.state_dict()})
    ours = Composition(encoder, decoder, head, Normalize([0.0] * 3, [1.0] * 3)).eval()
    image = torch.randn(2, 3, *encoder.spec.size)
    with torch.no_grad():
        logits = (ours(image) - theirs(image)).abs().max().item()
        if not encoder.spec.single_scale:
            return logits, None
        maps = Encoder(name, weights=folder / "timm.pth", blocks=1, neck=False, **options).eval()(image)
        expected = theirs.forward_intermediates(image, indices=1, norm=True, intermediates_only=True)
    return logits, (maps[-1] - expected[-1]).abs().max().item()


def main() -> None:
    """Print one line per decoder and one per kind of encoder."""
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
    print(f"\nlargest |difference| from timm {timm.__version__}, float32")
    print(f"{'':34}{'logits':>10}{'last map':>10}")
    with tempfile.TemporaryDirectory() as folder:
        for name, options in KINDS.items():
            logits, last = differences_from_timm(name, options, Path(folder))
            print(f"{name:34}{logits:10.1e}" + (f"{last:10.1e}" if last is not None else ""), flush=True)


if __name__ == "__main__":
    main()
