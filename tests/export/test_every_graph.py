"""Every decoder, and every kind of encoder, as a graph that answers as the model at other sizes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig
from tests.models.small import DECODERS, KINDS, SMALL_SWIN, SMALL_VIT, take_statistics_of_one_batch
from torch import Tensor, nn

from pixelwise import build
from pixelwise.export import Onnx, Program, Subject, compare, export
from pixelwise.export.contract import Format
from pixelwise.loading import Predictor

pytestmark = pytest.mark.slow
Compose = Callable[..., DictConfig]

FORMATS = {"onnx": Onnx(opset=20), "pt2": Program()}
SHAPES = [(1, 3, 97, 131), (1, 3, 64, 64), (3, 3, 65, 255), (2, 3, 200, 264), (1, 3, 33, 47)]
ENCODERS = {
    **KINDS,
    "vit_small_patch16_dinov3": SMALL_VIT,  # rotary positions
    "swinv2_tiny_window8_256": SMALL_SWIN,
    "dla46_c": {},  # multiples of 32
    "mobilenetv3_small_050": {},
    "pvt_v2_b0": {},
}

every_format = pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)


def images(*shapes: tuple[int, ...]) -> list[Tensor]:
    return [torch.randint(0, 256, shape, dtype=torch.uint8) for shape in shapes]


def predictor(config: DictConfig, size: tuple[int, int]) -> Predictor:
    """A model whose norms are not as initialised and whose logits are of the order of 1."""
    torch.manual_seed(0)
    model = Predictor(build.model(config), config)
    take_statistics_of_one_batch(model)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                nn.init.uniform_(parameter, 0.2, 1)
        (image,) = images((2, 3, *size))
        deviation = model.train()(image).std()
        for parameter in model.head.parameters():
            parameter /= deviation
    return model.eval()


def check(model: Predictor, form: Format, folder: Path, shapes: list[tuple[int, ...]]) -> None:
    """The opened file beside the eager model."""
    export(Subject(model, images(shapes[0])[0], {}), form, folder)
    agreement = compare(model, form.open(folder), images(*shapes))
    assert agreement.largest > 1
    assert agreement.difference <= 1e-4, agreement


@every_format
@pytest.mark.parametrize("decoder", DECODERS, ids=lambda path: path.stem)
def test_every_decoder(decoder: Path, form: Format, compose: Compose, tmp_path: Path) -> None:
    config = compose("encoder=test_resnet", f"decoder={decoder.stem}")
    check(predictor(config, (97, 131)), form, tmp_path / "out", SHAPES)


@every_format
@pytest.mark.parametrize("name", ENCODERS)
def test_every_kind_of_encoder(name: str, form: Format, compose: Compose, tmp_path: Path) -> None:
    """Of a fixed size there are other numbers of images, and such as are padded to that size."""
    config = compose("encoder=vit_small_dinov3", f"encoder.name={name}", "decoder=segformer")
    config.encoder.update(ENCODERS[name])
    fixed = "img_size" in ENCODERS[name]
    shapes = [(1, 3, 112, 144), (3, 3, 112, 144)] if fixed else SHAPES
    check(predictor(config, (112, 144)), form, tmp_path / "out", shapes)
