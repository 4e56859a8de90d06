import builtins
import io
import logging
import re

import pytest
from rich.console import Console

from pixelwise.runtime.terminal import score_table, show

pytestmark = pytest.mark.fast


def printed(scores, classes):
    stream = io.StringIO()
    Console(file=stream, width=100).print(score_table(scores, "title", classes))
    return stream.getvalue()


def row(text, name):
    return re.search(rf"^ *{name} +(.*)$", text, re.MULTILINE)[1].split()


def test_means_are_above_classes():
    scores = {"test/miou": 0.5, "test/iou/cat": 0.25, "test/iou/dog": float("nan"), "test/loss": 1.0}
    text = printed(scores, ["cat", "dog"])
    assert row(text, "miou") == ["0.5000"]
    assert row(text, "cat") == ["0.2500"]
    assert row(text, "dog") == ["–"]
    assert text.index("loss") < text.index("cat")


def test_eroded_scores_have_their_own_columns():
    scores = {"five_class/miou": 0.7, "overall_accuracy": 0.9, "iou/low_vegetation": 0.6}
    scores |= {f"eroded/{name}": value + 0.05 for name, value in scores.items()}
    text = printed({f"test/{name}": value for name, value in scores.items()}, ["low_vegetation"])
    assert row(text, "five class: miou") == ["0.7000", "0.7500"]
    assert row(text, "overall accuracy") == ["0.9000", "0.9500"]
    assert row(text, "low_vegetation") == ["0.6000", "0.6500"]
    assert text.count("eroded") == 2


def test_a_table_is_logged_in_a_notebook_too(monkeypatch, caplog, capsys):
    kernel = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setattr(builtins, "get_ipython", lambda: kernel, raising=False)
    with caplog.at_level(logging.INFO):
        show(score_table({"test/miou": 0.5}, "title", []))
    assert row(caplog.text, "miou") == ["0.5000"]
    assert capsys.readouterr().out == ""
