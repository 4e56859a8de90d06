"""Exported graphs of every decoder and every kind of encoder equal the model, also at other sizes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig
from tests.helpers import Compose
from tests.models.small import DECODERS, KINDS, SMALL_SWIN, SMALL_VIT, take_statistics_of_one_batch
from torch import Tensor, nn
from torch.export import ExportedProgram

from pixelwise import build
from pixelwise.build.restore import Predictor
from pixelwise.export import Onnx, Program, Subject, compare, export
from pixelwise.export.format import Format
from pixelwise.export.torch_export import trace

pytestmark = pytest.mark.slow

FORMATS = {"onnx": Onnx(opset=20), "pt2": Program()}
SHAPES = [(1, 3, 97, 131), (1, 3, 64, 64), (3, 3, 65, 255), (2, 3, 200, 264), (1, 3, 33, 47)]
SHALLOW_SWIN = {**SMALL_SWIN, "depths": (1, 2), "num_heads": (1, 2)}
"""Plain windows, shifted windows and patch merging; each further stage takes a minute to trace."""

ENCODERS = {
    **KINDS,
    "swin_tiny_patch4_window7_224": SHALLOW_SWIN,
    "vit_small_patch16_dinov3": SMALL_VIT,  # rotary positions
    "swinv2_tiny_window8_256": SHALLOW_SWIN,
    "dla46_c": {},  # multiples of 32
    "test_maxvit": {},  # multiples of 160, in windows and grids
    "mobilenetv3_small_050": {},
    "pvt_v2_b0": {},
}

every_format = pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)


def images(*shapes: tuple[int, ...]) -> list[Tensor]:
    return [torch.randint(0, 256, shape, dtype=torch.uint8) for shape in shapes]


def predictor(config: DictConfig, size: tuple[int, int]) -> Predictor:
    """A model with norms that differ from their initial state, and with logits of the order of 1."""
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


@pytest.fixture(autouse=True, scope="module")
def traced_once() -> Iterator[None]:
    """Trace each model once for both formats: tracing takes most of the time."""
    traced: dict[Predictor, ExportedProgram] = {}

    def once(subject: Subject) -> ExportedProgram:
        if subject.model not in traced:
            traced.clear()
            traced[subject.model] = trace(subject)
        return traced[subject.model]

    with pytest.MonkeyPatch.context() as patch:
        for module in ("onnx_format", "torch_export"):
            patch.setattr(f"pixelwise.export.{module}.trace", once)
        yield


def check(model: Predictor, form: Format, folder: Path, shapes: list[tuple[int, ...]]) -> None:
    """Export a model, and compare the opened file with the eager model."""
    export(Subject(model, images(shapes[0])[0], {}), form, folder)
    agreement = compare(model, form.open(folder), images(*shapes))
    assert agreement.largest > 1
    assert agreement.difference <= 1e-4, agreement


# ---------------------------------------------------------------------------------- every decoder
@pytest.fixture(scope="module", params=DECODERS, ids=lambda path: path.stem)
def decoded(request: pytest.FixtureRequest, compose: Compose) -> Predictor:
    return predictor(compose("encoder=test_resnet", f"decoder={request.param.stem}"), (97, 131))


@every_format
def test_every_decoder(decoded: Predictor, form: Format, tmp_path: Path) -> None:
    check(decoded, form, tmp_path / "out", SHAPES)


# ------------------------------------------------------------------------------ every kind of encoder
@pytest.fixture(scope="module", params=ENCODERS)
def encoded(request: pytest.FixtureRequest, compose: Compose) -> Predictor:
    config = compose("encoder=vit_small_dinov3", f"encoder.name={request.param}", "decoder=segformer")
    config.encoder.update(ENCODERS[request.param])
    return predictor(config, (112, 144))


@every_format
def test_every_kind_of_encoder(encoded: Predictor, form: Format, tmp_path: Path) -> None:
    """For an encoder of a fixed size, only the number of images varies."""
    fixed = "img_size" in encoded.config["encoder"]
    shapes = [(1, 3, 112, 144), (3, 3, 112, 144)] if fixed else SHAPES
    check(encoded, form, tmp_path / "out", shapes)


@every_format
def test_dpt_with_the_class_token(compose: Compose, form: Format, tmp_path: Path) -> None:
    config = compose("encoder=vit_small_dinov3", "decoder=dpt", "decoder.encoder_readout=project")
    config.encoder.update(SMALL_VIT)
    check(predictor(config, (112, 144)), form, tmp_path / "out", SHAPES)
