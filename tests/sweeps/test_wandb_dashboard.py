"""The W&B dashboard, built without network access: its sections, and that runs log the values it shows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig
from tests.helpers import Script, refused
from tests.training.test_wandb import inspect, offline_run, records

pytest.importorskip("wandb_workspaces")
from pixelwise.sweeps.wandb_dashboard import logged, outline, save, specification, workspace

OFFLINE = ("logger=wandb", "logger.wandb.offline=true")


def panels(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The config of each panel in a specification that is sent to W&B."""
    for section in spec["section"]["panelBankConfig"]["sections"]:
        yield from (panel["config"] for panel in section["panels"])


def shown(panel: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The values that a panel shows, as (source, name)."""
    for key in ("metrics", "mediaKeys"):
        yield from (("history", name) for name in panel.get(key, []))
    axes = [panel.get("xAxis"), panel.get("yAxis"), *(c["accessor"] for c in panel.get("columns", []))]
    for axis in filter(None, axes):
        source, colon, name = axis.partition(":")
        yield (source, name) if colon else ("history", axis)
    if "groupBy" in panel:
        yield "config", panel["groupBy"]
    if "targetKey" in panel:
        yield "summary", panel["targetKey"]
    for query in panel.get("userQuery", {}).get("queryFields", []):
        (table,) = (field for field in query["fields"] if field["name"] == "summaryTable")
        yield from (("history", argument["value"]) for argument in table["args"])


def in_config(config: Any, path: str) -> bool:
    """Whether a run's config has a key, written as W&B does: `optimizer.value.lr`."""
    first, value, *rest = path.split(".")
    assert value == "value" or first == path
    for name in (first, *rest):
        if name not in config:
            return False
        config = config[name]
    return True


@pytest.mark.slow
@pytest.mark.parametrize(
    "choices",
    [
        ["loss=ce_dice", "schedule=freeze_then_finetune", "schedule.phases.warmup.epochs=1"],
        ["task=tagging"],
    ],
    ids=["segmentation", "tagging"],
)
def test_run_logs_all_values_of_its_dashboard(
    choices: list[str], script: Script, tiny: list[str], tmp_path: Path
) -> None:
    epochs = [
        word.replace("epochs", "schedule.phases.finetune.epochs") if "loss=ce_dice" in choices else word
        for word in tiny
        if word.startswith("epochs")
    ]
    typed = [*(w for w in tiny if not w.startswith("epochs")), *epochs, *choices, *OFFLINE]
    built = script("scripts/workspace.py", *typed)
    assert built.returncode == 0, built.stderr
    assert "Sweep comparison\n    choices and val/" in built.stdout
    spec = json.loads((tmp_path / "workspace.json").read_text())

    done = script("train.py", *typed, "logger.log_images=true", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    run = offline_run(tmp_path / "run")
    arrived = json.loads(inspect(run, "--summary", "--json"))
    sent = {name for entry in records(run, "history") for name in entry["item"]}
    sent |= {name.rpartition(".")[0] for name in sent}  # pictures and tables are sent in parts
    sources = {
        "history": sent.__contains__,
        "summary": arrived["summary"].__contains__,
        "config": lambda name: in_config(arrived["config"], name),
    }
    wanted = {pair for panel in panels(spec) for pair in shown(panel)}
    assert len(wanted) > 30
    assert {(source, name) for source, name in wanted if not sources[source](name)} == set()
    unseen = {name for name in sent if name.startswith(("train/", "val/", "lr/", "phase/", "speed/"))}
    assert unseen - {name for _, name in wanted} == set()


@pytest.mark.fast
def test_every_section_has_its_panels(compose: Callable[..., DictConfig]) -> None:
    words = ["loss=ce_dice", "schedule=three_phase", "loss.parts.dice.class_weights=auto", *OFFLINE]
    config = compose(*words, "data.classes=[background,red/cat,dog]")
    names = logged(config)
    assert names.parts_of_loss == ["cross_entropy", "dice"]
    assert names.by_class["iou"] == ["iou/background", "iou/red/cat", "iou/dog"]
    assert names.parts == ["encoder", "decoder", "head"]
    assert list(names.phases) == list(config.schedule.phases)
    titles = outline(workspace(config))
    assert list(titles) == [
        "Learning curves", "Scores of each class", "Phases and learning rates", "Samples", "Speed",
        "Sweep comparison",
    ]  # fmt: skip
    assert titles["Learning curves"][:2] == ["val/miou", "loss"]
    assert titles["Samples"] == ["samples of val", "confusion matrix"]
    assert titles["Sweep comparison"][-1] == "run comparer"
    spec = json.loads(specification(workspace(config)))
    (rates,) = (panel for panel in panels(spec) if panel.get("chartTitle") == "learning rate")
    assert rates["metrics"] == ["lr/encoder", "lr/decoder", "lr/head"]
    assert "lr/decoder" not in specification(workspace(compose("task=classification", *OFFLINE)))


@pytest.mark.fast
def test_saving_without_a_login_fails_before_network_access(
    compose: Callable[..., DictConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("NETRC", "WANDB_API_KEY", "WANDB_CONFIG_DIR", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    with refused(r"needs a login[\s\S]*WANDB_API_KEY[\s\S]*offline=true"):
        save(workspace(compose("logger=wandb")))
