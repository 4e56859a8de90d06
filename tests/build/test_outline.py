"""The outline of each schedule without training: its table and its figure."""

from __future__ import annotations

import io
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from PIL import Image
from rich.console import Console
from tests.helpers import Compose, refused

from pixelwise import build
from pixelwise.build import outline
from pixelwise.reports.schedule_figure import (
    COLOURS,
    describe_augmentation,
    describe_loss,
    draw,
    sample,
    table,
)
from pixelwise.schedules.schedule import make_plan

SCHEDULES = sorted(f.stem for f in (Path(__file__).parents[2] / "conf/schedule").glob("*.yaml"))
SMALL = ["encoder=test_resnet", "data.crop_size=64", "data.source.counts={train:160,val:4}"]


def printed(content: object, width: int = 120) -> str:
    console = Console(width=width, file=io.StringIO())
    console.print(content)
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_is_drawn_as_it_is_trained(schedule: str, compose: Compose, tmp_path: Path) -> None:
    config = compose(*SMALL, f"schedule={schedule}")
    plan = outline(config)
    run = build.run(config, tmp_path)
    assert plan.plan == run.plan
    assert [words.lower() for words in plan.losses] == [" + ".join(loss.parts) for loss in run.module.losses]
    trained = [transform.size for transform in run.data._augmentations]  # type: ignore[attr-defined]
    assert plan.crops == [f"{height}×{width}" for height, width in trained]
    text = printed(table(plan))
    for phase in plan.plan.phases:
        assert phase.name in text
        assert f"{phase.start} … {phase.stop - 1}" in text
    draw(plan).savefig(tmp_path / "plan.png")
    assert Image.open(tmp_path / "plan.png").size == (1500, 900)


@pytest.mark.fast
def test_the_table_describes_three_phases(compose: Compose) -> None:
    text = printed(table(outline(compose(*SMALL, "schedule=three_phase"))), width=240)
    rows = {
        line.split()[0]: re.split(r"\s{2,}", line.strip())[1:] for line in text.splitlines() if line.split()
    }
    assert rows["steps"] == ["0 … 19, 2 epochs", "20 … 79, 6 epochs", "80 … 99, 2 epochs"]
    frozen, cosine, linear = rows["encoder"]
    assert frozen == "frozen"
    assert re.fullmatch("▃█+▇+▆+▅+▄+▃+▂+▁+ 0.0002", cosine)  # a quarter of the peak, then down
    assert re.fullmatch("█+▇+▆+▅+▄+▃+▂+▁+ 1e-05", linear)
    assert rows["head"][0] == "▃▆" + "█" * 14 + " 0.001"
    assert rows["curve"] == ["constant", "cosine", "linear"]
    assert rows["warm-up"] == ["2 steps", "3 steps"]
    assert [cell.split(",")[0] for cell in rows["augmentation"]] == [
        "light: hflip 0.5", "strong: hflip 0.5", "none: nothing but the crop",
    ]  # fmt: skip


@pytest.mark.fast
def test_the_table_shows_a_warmup_by_part(compose: Compose) -> None:
    words = ["schedule=cosine", "schedule.phases.all.warmup={encoder:20,head:0.05}"]
    text = printed(table(outline(compose(*SMALL, *words))))
    assert re.search(r"warm-up +encoder 20 steps +\n +head 3 steps", text)


@pytest.mark.fast
def test_the_figure_shows_frozen_parts_and_layer_decay(compose: Compose) -> None:
    figure = draw(outline(compose(*SMALL, "schedule=three_phase", "optimizer.layer_decay=0.5")))
    cards, rates, parts = figure.axes
    words = [text.get_text() for text in cards.texts]
    assert words[0::2] == ["frozen", "all", "polish"]
    assert words[1].startswith("encoder frozen\naugmentation: light")
    assert words[3].startswith("all parts train\naugmentation: strong")
    labels = [text.get_text() for text in rates.get_legend().get_texts()]
    assert labels == ["encoder, its layers ×0.031 to 0.5", "decoder", "head"]
    encoder = [line for line in rates.lines if to_hex(line.get_color()) == COLOURS[0].lower()]
    assert len(encoder) == 2  # none in the first phase
    assert float(encoder[0].get_ydata().max()) == pytest.approx(0.5 * 2e-4)
    hatched = [bar for bar in parts.collections if bar.get_hatch()]
    assert len(hatched) == 1
    assert [text.get_text() for text in parts.texts] == ["frozen"]


@pytest.mark.fast
def test_lines_show_the_learning_rates_of_the_plan(compose: Compose) -> None:
    plan = outline(compose(*SMALL, "schedule=cosine"))
    (head,) = (x for x in draw(plan).axes[1].lines if to_hex(x.get_color()) == COLOURS[2].lower())
    phase = plan.plan.phases[0]
    steps, rates = np.asarray(head.get_xdata())[:-1], np.asarray(head.get_ydata())[:-1]
    assert rates.tolist() == pytest.approx([phase.rate("head", int(step)) for step in steps])
    assert steps.tolist() == list(range(60))


@pytest.mark.fast
@pytest.mark.filterwarnings("error")
def test_a_learning_rate_of_zero_draws_no_legend(compose: Compose) -> None:
    rates = draw(outline(compose(*SMALL, "optimizer.lr=0"))).axes[1]
    assert rates.get_legend() is None


@pytest.mark.fast
def test_a_long_phase_is_sampled_including_its_ends() -> None:
    settings = {"all": {"steps": 1_000_000, "lr": 1.0, "warmup": 0.123456}}
    steps = sample(make_plan(settings, ["head"], 10).phases[0])
    assert len(steps) <= 1002
    assert {0, 123_455, 123_456, 999_999} <= set(steps)


@pytest.mark.fast
def test_outline_downloads_and_initializes_no_weights(
    compose: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.nn.init, "kaiming_normal_", lambda tensor, **_: _on_meta(tensor))
    plan = outline(
        compose(*SMALL, "encoder=convnext_tiny", "encoder.pretrained=true", "optimizer.layer_decay=0.7")
    )
    assert plan.scales["encoder"] == (pytest.approx(0.7**5), pytest.approx(0.7))
    assert plan.weights["encoder"] == 27_818_592


def _on_meta(tensor: torch.Tensor) -> torch.Tensor:
    assert tensor.is_meta
    return tensor


@pytest.mark.fast
def test_a_classifier_is_drawn_without_decoder(compose: Compose) -> None:
    plan = outline(compose(*SMALL, "task=classification", "schedule=cosine"))
    assert plan.parts == ["encoder", "head"]
    with refused(r"phases\.all\.freeze: nothing is left to train"):
        outline(compose(*SMALL, "task=classification", "+schedule.phases.all.freeze=[encoder,head]"))


@pytest.mark.fast
def test_augmentations_and_losses_are_described() -> None:
    light = {
        "_target_": "pixelwise.augmentation.Augmentation",
        "size": 64,
        "geometry": {"hflip": 0.5, "scale": [1, 1]},
    }
    assert describe_augmentation(light, {"light": {**light, "size": 96}}) == "light: hflip 0.5"
    turned = {
        **light,
        "geometry": {"hflip": 0.5, "scale": [0.5, 2.0]},
        "extra": {"blur": {"p": 1}, "off": None},
    }
    assert describe_augmentation(turned, {"light": light}) == "hflip 0.5, scale 0.5–2, blur"
    assert describe_augmentation({"_target_": "mine.Mine"}, {}) == "Mine"
    assert describe_loss({"parts": {"ce": {}, "dice": {}}}) == "ce + dice"


def test_the_script_prints_the_table_and_saves_the_figure(
    script: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = script("scripts/plan.py", *SMALL, "schedule=progressive_resize")
    assert done.returncode == 0, done.stderr
    assert "32×32 px" in done.stdout
    assert [file.name for file in tmp_path.iterdir()] == ["plan_progressive_resize.png"]

    done = script("scripts/plan.py", *SMALL, "schedule=three_phase", "schedule.phases.frozen.freeze=[encodr]")
    assert done.returncode == 1
    assert "schedule.phases.frozen.freeze: no part 'encodr'" in done.stderr
    assert "Traceback" not in done.stderr
