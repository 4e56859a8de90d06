import builtins
import io
import logging
import re
from pathlib import Path

import pytest
from rich.console import Console

from pixelwise.runtime.terminal import MOST_CLASSES, LogFile, score_table, show

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


@pytest.mark.parametrize("empty", ["recall", "average_precision"])
def test_a_class_without_labels_is_marked_where_it_lowers_a_mean(empty):
    nan = float("nan")
    scores = {"test/mean_f1": 0.3}
    for score, values in {"f1": [0.6, 0.0, nan, 0.0], empty: [0.5, nan, nan, 0.0]}.items():
        scores |= {f"test/{score}/{label}": value for label, value in zip("abcd", values, strict=True)}
    text = printed(scores, list("abcd"))
    assert row(text, "a") == ["0.6000", "0.5000"]
    assert row(text, "b") == ["*0.0000", "–"]  # predicted, but not labelled
    assert row(text, "c") == ["–", "–"]  # neither
    assert row(text, "d") == ["0.0000", "0.0000"]  # labelled, but never found
    assert "* no labels of this class" in text
    assert "no labels" not in printed({"test/f1/a": 0.5, f"test/{empty}/a": 0.5}, ["a"])


def test_labels_may_be_missing_only_where_they_are_eroded():
    scores = {"test/iou/a": 0.5, "test/recall/a": 0.5, "test/eroded/iou/a": 0.0}
    scores["test/eroded/recall/a"] = float("nan")
    assert row(printed(scores, ["a"]), "a") == ["0.5000", "0.5000", "*0.0000", "–"]


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


def test_scores_of_very_many_classes_are_left_out():
    classes = [f"c{index}" for index in range(MOST_CLASSES + 1)]
    scores = {"val/accuracy": 0.5, **{f"val/f1/{name}": 0.1 for name in classes}}
    text = printed(scores, classes)
    assert "accuracy" in text
    assert "c7" not in text
    assert "without a row for each of the 201 classes" in " ".join(text.split())
    few = {name: value for name, value in scores.items() if name != f"val/f1/{classes[-1]}"}
    assert "c7" in printed(few, classes[:-1])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_said_once_and_lines_go_on_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = LogFile(tmp_path / "x.log", delay=True)
    records = [logging.makeLogRecord({"msg": f"line {number}"}) for number in range(4)]
    with monkeypatch.context() as full:
        full.setattr(handler, "baseFilename", "/dev/full")
        for record in records[:2]:
            handler.emit(record)
    with monkeypatch.context() as missing:
        missing.setattr(handler, "baseFilename", str(tmp_path / "no/x.log"))
        handler.emit(records[2])
    handler.emit(records[3])
    handler.close()
    assert (tmp_path / "x.log").read_text() == "line 3\n"
    printed = capsys.readouterr().err
    assert printed.count("lines are missing in /dev/full: [Errno 28]") == 1
    assert "Traceback" not in printed
    assert len(printed.splitlines()) == 1
