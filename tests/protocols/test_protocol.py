"""Evaluation protocols: sizes, names, and refused values."""

from __future__ import annotations

from typing import Any

import pytest
from tests.helpers import Compose, refused

from pixelwise.protocols.evaluation import EVALUATION, EvaluationProtocol, scored

pytestmark = pytest.mark.fast

NAMES: list[tuple[dict[str, Any], str]] = [
    ({}, ""),
    ({"resize": 1.0}, ""),
    ({"resize": 512}, "short512"),
    ({"resize": 0.5}, "scale0.5"),
    ({"resize": 2.0}, "scale2"),
    ({"resize": [512, 1024]}, "size512x1024"),
    ({"window": 512, "stride": 341}, "slide512s341"),
    ({"window": 512}, "slide512s341"),
    ({"window": [512, 1024], "stride": [341, 683]}, "slide512x1024s341x683"),
    ({"resize": 640, "window": 512, "stride": [341, 341]}, "short640_slide512s341"),
]


@pytest.mark.parametrize(("settings", "name"), NAMES)
def test_a_protocol_has_a_name_and_words(settings: dict[str, Any], name: str) -> None:
    protocol = EvaluationProtocol(**settings)
    assert protocol.name == name
    assert bool(str(protocol)) == bool(name)
    assert bool(EVALUATION.fullmatch(name)) == bool(name)


@pytest.mark.parametrize(
    ("resize", "shape", "expected"),
    [
        (None, (37, 91), (37, 91)),
        (512, (480, 640), (512, 683)),  # as mmcv: int(682.67 + 0.5)
        (512, (640, 480), (683, 512)),
        (512, (512, 512), (512, 512)),
        (0.5, (37, 91), (19, 46)),
        (2.0, (37, 91), (74, 182)),
        (0.001, (37, 91), (1, 1)),
        ([64, 32], (37, 91), (64, 32)),
    ],
)
def test_images_are_resized_to(resize: Any, shape: tuple[int, int], expected: tuple[int, int]) -> None:
    assert EvaluationProtocol(resize).size(shape) == expected


@pytest.mark.parametrize(
    ("key", "settings"),
    [
        ("resize", {"resize": 0}),
        ("resize", {"resize": 8}),  # a factor has a decimal point
        ("resize", {"resize": -0.5}),
        ("resize", {"resize": 512.0}),
        ("resize", {"resize": [512]}),
        ("resize", {"resize": [512, 0.5]}),
        ("resize", {"resize": "512"}),
        ("resize", {"resize": True}),
        ("window", {"window": 0}),
        ("window", {"window": -1}),
        ("window", {"window": 0.5}),
        ("window", {"window": [1, 2, 3]}),
        ("stride", {"window": 512, "stride": 0}),
        ("stride", {"window": 512, "stride": -1}),
        ("stride", {"window": 512, "stride": 513}),
        ("stride", {"window": [512, 256], "stride": 300}),
        ("stride", {"stride": 341}),
    ],
)
def test_an_impossible_protocol_names_its_key(key: str, settings: dict[str, Any]) -> None:
    with refused(rf"^(EvaluationProtocol|data\.eval)\.{key}\b"):
        EvaluationProtocol(**settings)
    assert scored(settings, "val/miou") == "val/miou"  # while it is composed; then it is refused


@pytest.mark.parametrize(
    ("words", "monitor"),
    [
        ([], "val/miou"),
        (["data.eval.resize=64"], "val/short64/miou"),
        (["data.eval={resize:0.5,window:[32,48]}"], "val/scale0.5_slide32x48s21x32/miou"),
        (["data.eval.window=32", "+data.monitor=loss"], "val/loss"),
        (["data.eval=null"], "val/miou"),
        (["task=classification", "data.eval.resize=112"], "val/short112/accuracy"),
        (["task=tagging", "data.eval.resize=2.0"], "val/scale2/mean_average_precision"),
        (["data=potsdam", "data.root=.", "data.eval.window=512"], "val/slide512s341/five_class/miou"),
    ],
)
def test_the_monitored_score_is_that_of_the_protocol(
    words: list[str], monitor: str, compose: Compose
) -> None:
    assert compose(*words).task.monitor == monitor
