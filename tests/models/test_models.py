"""The composition and its heads, on masks that can be checked by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pixelwise.models import ClassifierHead, Composition, Encoder, Normalize, PixelHead
from pixelwise.models.decoders import Linear, UNet

MASK = torch.tensor(
    [
        [0, 0, 1, 1, 2],
        [0, 1, 1, 2, 2],
        [0, 0, 0, 0, 2],
        [1, 1, 2, 2, 2],
    ]
)
"""Four rows of five pixels: 7 of class 0, 6 of class 1, 7 of class 2."""


@pytest.fixture(autouse=True)
def same_numbers_each_time() -> None:
    torch.manual_seed(0)


# ------------------------------------------------------------------------------------------ heads
@pytest.mark.fast
def test_a_mask_becomes_one_hot_and_back() -> None:
    planes = F.one_hot(MASK, 3)  # H×W×N
    assert planes.shape == (4, 5, 3)
    assert planes.sum((0, 1)).tolist() == [7, 6, 7]
    assert planes[..., 2].tolist() == [[0, 0, 0, 0, 1], [0, 0, 0, 1, 1], [0, 0, 0, 0, 1], [0, 0, 1, 1, 1]]
    assert torch.equal(planes.argmax(-1), MASK)


@pytest.mark.fast
def test_an_identity_pixel_head_returns_the_mask() -> None:
    head = PixelHead(3, 3)
    head.conv.load_state_dict({"weight": 10 * torch.eye(3)[..., None, None], "bias": torch.zeros(3)})
    planes = F.one_hot(MASK, 3).permute(2, 0, 1)[None].float()
    logits = head(planes, (4, 5))
    assert logits.shape == (1, 3, 4, 5)
    assert torch.equal(logits.argmax(1)[0], MASK)
    probabilities = logits.softmax(1)
    assert torch.allclose(probabilities.sum(1), torch.ones(1, 4, 5))
    # e¹⁰ / (e¹⁰ + 2 e⁰)
    assert probabilities[0, 0, 0, 0].item() == pytest.approx(22026.4658 / 22028.4658)


@pytest.mark.fast
def test_a_pixel_head_is_the_classifier_head_at_each_position() -> None:
    features = torch.randn(2, 96, 4, 5)
    pixel, classifier = PixelHead(96, 3), ClassifierHead(96, 3, Encoder("test_resnet", final=True))
    weights = classifier.model.fc.state_dict()
    pixel.conv.load_state_dict({"weight": weights["weight"][..., None, None], "bias": weights["bias"]})
    logits = pixel(features, (4, 5))
    for y in range(4):
        for x in range(5):
            alone = classifier(features[:, :, y : y + 1, x : x + 1], (1, 1))
            torch.testing.assert_close(logits[:, :, y, x], alone)
    # and the mean over a linear map is the linear map of the mean
    torch.testing.assert_close(logits.mean((2, 3)), classifier(features, (4, 5)))


# ------------------------------------------------------------------------------------- composition
@pytest.mark.fast
def test_a_classifier_returns_one_row_per_image() -> None:
    encoder = Encoder("test_resnet", final=True)
    built = Linear(encoder.channels, encoder.strides)
    head = ClassifierHead(built.out_channels, 4, encoder)
    model = Composition(encoder, built, head, Normalize([0.0] * 3, [1.0] * 3)).eval()
    with torch.no_grad():
        assert model(torch.randn(2, 3, 33, 70)).shape == (2, 4)


# --------------------------------------------------------------------------------------- normalize
@pytest.mark.fast
@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (torch.tensor([0, 51, 255], dtype=torch.uint8), [-2.0, -1.2, 2.0]),
        (torch.tensor([0, 13107, 65535], dtype=torch.uint16), [-2.0, -1.2, 2.0]),
        (torch.tensor([0.0, 0.2, 1.0]), [-2.0, -1.2, 2.0]),
    ],
    ids=["uint8", "uint16", "float32"],
)
def test_normalize_scales_by_the_range_of_the_dtype(stored: Tensor, expected: list[float]) -> None:
    normalize = Normalize([0.5], [0.25])
    image = normalize(stored.view(1, 1, 1, 3))
    assert image.dtype == torch.float32
    torch.testing.assert_close(image.flatten(), torch.tensor(expected))
    torch.testing.assert_close(normalize.undo(image).flatten(), torch.tensor([0.0, 0.2, 1.0]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_images_get_the_dtype_of_the_weights(dtype: torch.dtype) -> None:
    """Convolutions require it under trainer.precision=bf16-true."""
    encoder = Encoder("test_resnet")
    decoder = UNet(encoder.channels, encoder.strides)
    head = PixelHead(decoder.out_channels, 3)
    model = Composition(encoder, decoder, head, Normalize([0.5] * 3, [0.25] * 3)).eval().to(dtype)
    image = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    assert model(model.normalize(image)).dtype == dtype


@pytest.mark.fast
def test_normalize_is_per_channel_and_keeps_memory_format() -> None:
    image = torch.full((2, 2, 3, 4), 255, dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    out = Normalize([0.0, 0.5], [1.0, 0.5])(image)
    assert out[:, 0].unique().tolist() == [1.0]
    assert Normalize([0.0, 0.2], [1.0, 0.4])(image)[0, 1, 0, 0].item() == pytest.approx(2.0)
    assert out.is_contiguous(memory_format=torch.channels_last)
