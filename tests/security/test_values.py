"""Values of a stranger's files read only each other, and change neither a terminal nor a spreadsheet."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from PIL import Image
from tests.helpers import refused
from tests.security.conftest import SECRET, Attack, assert_refused, edit, override

import pixelwise
from pixelwise import files
from pixelwise.errors import UserError
from pixelwise.overrides import typed
from pixelwise.runs import untrusted

READS_MORE = {
    "environment": "${oc.env:SECRET_TOKEN}",
    "environment with a default": "${oc.env:NOTHING,${oc.env:SECRET_TOKEN}}",
    "inside a text": "data of ${oc.env:SECRET_TOKEN}",
    "decoded": "${oc.decode:'${oc.env:SECRET_TOKEN}'}",
    "created": "${oc.create:'${oc.env:SECRET_TOKEN}'}",
    "with spaces": "${ oc.env : SECRET_TOKEN }",
    "a resolver with a composed name": "${oc.${seed}nv:SECRET_TOKEN}",
    "escaped": r"\${oc.env:SECRET_TOKEN}",
    "selected default": "${oc.select:nothing,${oc.env:SECRET_TOKEN}}",
    "Hydra": "${hydra:runtime.cwd}",
    "clock": "${now:%Y}",
    "job": "${job_name:[a=1],[]}",
    "unknown resolver": "${mine:1}",
}


@pytest.mark.parametrize("value", READS_MORE.values(), ids=READS_MORE)
def test_values_of_a_config_read_only_other_keys(value: str, stranger: Path, attack: Attack) -> None:
    edit(stranger, data__classes=[value, "cat", "dog"])
    done = attack("report", "run")
    assert_refused(done, "config.yaml")
    assert "which reads more than other keys" in done.printed or "cannot be read" in done.printed  # no YAML


@pytest.mark.parametrize(
    "words", [["export", "run=run", "format=hub"], ["evaluate", "run=run"], ["train", "resume=run"]], ids=str
)
def test_no_command_publishes_the_environment(words: list[str], stranger: Path, attack: Attack) -> None:
    edit(stranger, task__card__pipeline_tag="${oc.env:SECRET_TOKEN}", data__root="${oc.env:SECRET_TOKEN}")
    assert_refused(attack(*words), "which reads more than other keys of this file")


def test_the_environment_reaches_the_card_without_the_check(
    trained: Path, tmp_path: Path, attack: Attack
) -> None:
    shutil.copytree(trained, tmp_path / "run")
    edit(tmp_path / "run", task__card__pipeline_tag="${oc.env:SECRET_TOKEN}")
    attack("export", "run=run", "format=hub", without=["pixelwise.runs.folder.check_config"])
    assert SECRET in (tmp_path / "run/export/hub/README.md").read_text()


def test_values_do_not_become_interpolations_when_put_together(stranger: Path, attack: Attack) -> None:
    parts = {"a": "$", "b": "{oc.env:SECRET_TOKEN}", "c": "${sweep.a}${sweep.b}"}
    edit(
        stranger,
        sweep=parts,
        schedule__phases__all__curve={"_target_": "pixelwise.schedules.Constant", "x": "${sweep.c}"},
    )
    assert_refused(attack("evaluate", "run=run"), "which becomes the interpolation ${oc.env:SECRET_TOKEN}")


@pytest.mark.parametrize(
    "word", ["data.root=${oc.env:SECRET_TOKEN}", "+sweep.x='\\${oc.decode:\"${oc.env:SECRET_TOKEN}\"}'"]
)
def test_overrides_read_only_other_keys(word: str, stranger: Path, attack: Attack) -> None:
    override(stranger, word)
    assert_refused(attack("train", "resume=run"), "holds an override that does not belong to a run")


def test_overrides_do_not_become_interpolations_when_put_together(stranger: Path, attack: Attack) -> None:
    parts = ["+sweep.a=$", "+sweep.b='{oc.env:SECRET_TOKEN}'", "+sweep.c='${sweep.a}${sweep.b}'"]
    override(stranger, *parts, "data.root=${sweep.c}")
    assert_refused(attack("train", "resume=run"), "overrides.yaml is not the config of a run")


def test_a_sweep_shows_overrides_as_they_are(stranger: Path, tmp_path: Path, attack: Attack) -> None:
    (tmp_path / "sweep").mkdir()
    shutil.move(stranger, tmp_path / "sweep/job")
    (tmp_path / "sweep/jobs.json").write_text(json.dumps({"other": ["data.root=${oc.env:SECRET_TOKEN}"]}))
    assert attack("report", "sweep").status == 0
    override(tmp_path / "sweep/job", "+sweep.x=${oc.env:SECRET_TOKEN}")
    assert attack("report", "sweep").status == 0  # the report of the other jobs goes on
    assert "damaged" in (tmp_path / "sweep/jobs.csv").read_text()


@pytest.mark.parametrize("value", ["${oc.env:SECRET_TOKEN}", "${oc.decode:1}", "\x1b[2J"])
@pytest.mark.parametrize("kind", ["checkpoint", "hub"])
def test_configs_of_weights_are_data_too(
    kind: str, value: str, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", SECRET)
    state = torch.load(trained / "checkpoints/best.ckpt", weights_only=True)
    state["config"]["data"]["classes"][0] = value
    torch.save(state, tmp_path / "best.ckpt")
    (tmp_path / "config.json").write_text(json.dumps({"pixelwise": state["config"]}))
    shutil.copy(trained / "checkpoints/best.ckpt", tmp_path / "model.safetensors")
    with refused("cannot be read as a hub folder" if kind == "hub" else "is not the config of a run"):
        pixelwise.load(tmp_path / "best.ckpt" if kind == "checkpoint" else tmp_path)


def test_a_config_of_weights_configures_nothing_else(trained: Path, tmp_path: Path) -> None:
    state = torch.load(trained / "checkpoints/best.ckpt", weights_only=True)
    torch.save({**state, "config": {**state["config"], "hydra": {}}}, tmp_path / "best.ckpt")
    with refused("the key hydra, which would configure Hydra"):
        pixelwise.load(tmp_path / "best.ckpt")


def test_the_environment_resolves_in_the_users_own_command(
    tiny: list[str], tmp_path: Path, attack: Attack
) -> None:
    pytest.importorskip("tensorboard")
    words = [*tiny, "epochs=1", "logger=tensorboard", "logger.tensorboard.name=${oc.env:NOTE}"]
    assert attack("train", *words, "hydra.run.dir=own", NOTE="it's mine, {a}").status == 0
    recorded = OmegaConf.load(tmp_path / "own/config.yaml")
    assert recorded.logger.tensorboard.name == "it's mine, {a}"
    done = attack("train", "resume=own")  # without the variable
    assert done.status == 0, done.printed
    assert "this run is finished" in done.printed


@pytest.mark.fast
@pytest.mark.parametrize("value", ["it's, {a}", 1, 1.5, None, True, ["a,b", [1]], {"a": {"b": "c: d"}}])
def test_values_are_typed_as_hydra_reads_them(value: Any) -> None:
    parsed = OverridesParser.create().parse_override(f"a={typed(OmegaConf.create({'x': value}).x)}")
    assert parsed.value() == value


def test_a_key_that_could_not_be_read_again_is_refused_at_the_start(tmp_path: Path, attack: Attack) -> None:
    assert_refused(attack("train", "+note=1", "seed=${note}", "hydra.run.dir=own"), "the key note")
    assert not (tmp_path / "own/config.yaml").exists()


# ------------------------------------------------------------------------------- terminals, spreadsheets
@pytest.mark.parametrize(
    "name", ["\x1b]0;evil\x07", "\x9b2J", "a\rb", "\u202etac", "cat\n[12:00] error: run evil"]
)
def test_control_characters_in_a_config_are_refused(name: str, stranger: Path, attack: Attack) -> None:
    edit(stranger, data__classes=[name, "cat", "dog"])
    done = attack("report", "run")
    assert_refused(done, "no control characters")
    assert name not in done.printed


@pytest.mark.parametrize("name", ["\x1b]0;evil\x07.png", "[bold]a.png", ":smile:.png", "$(touch fired).png"])
def test_names_of_images_are_printed_as_text(
    name: str, stranger: Path, canary: Path, tmp_path: Path, attack: Attack
) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / "in" / name)
    (tmp_path / "in" / f"2{name}").write_bytes(b"no image")
    done = attack("predict", "run=run", "input=in", "output=out")
    assert_refused(done, name.replace("\x1b", r"\x1b").replace("\x07", r"\x07"))
    assert not {"\x1b", "\x07"} & {*done.printed, *(stranger / "predict.log").read_text()}
    assert not canary.exists()


def test_errors_contain_no_control_characters() -> None:
    error = UserError("a\x1b]0;b\x07", found="c\x9bd\te", every=["f\u202eg"])
    assert str(error) == "a\\x1b]0;b\\x07\n  found:    c\\x9bd\te"
    assert error.every == ["f\\u202eg"]


FORMULAS = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", '=HYPERLINK("http://x")']


@pytest.mark.parametrize("cell", FORMULAS)
def test_cells_of_tables_are_no_formulas(cell: str, tmp_path: Path) -> None:
    files.write_rows(tmp_path / "t.csv", [["name", cell], [cell, "-1.5e-3"], [-2, "+inf"]])
    text = (tmp_path / "t.csv").read_bytes().decode()
    assert f"'{cell[:2]}" in text
    assert "'-1.5e-3" not in text
    files.write_rows(tmp_path / "control.csv", [["a\r=1", "b\x1b"]])
    assert (tmp_path / "control.csv").read_bytes() == b"a\\r=1,b\\x1b\n"
    assert files.read_cells(tmp_path / "t.csv") == [["name", cell], [cell, "-1.5e-3"], ["-2", "+inf"]]


def test_a_table_of_predictions_is_continued_in_spite_of_formulas(
    trained_classifier: Path, tmp_path: Path, attack: Attack
) -> None:
    (tmp_path / "in").mkdir()
    for name in ("=1+1", "b"):
        Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / f"in/{name}.png")
    words = [f"run={trained_classifier}", "input=in", "output=out"]
    assert attack("predict", *words).status == 0
    assert "\n'=1+1," in (tmp_path / "out/probabilities.csv").read_text()
    assert "skipping 2 of 2" in attack("predict", *words).printed


# ------------------------------------------------------------------------------------------ the grammar
@pytest.mark.parametrize(
    "value",
    [
        "${data.root}",
        "val/${oc.select:data.monitor,miou}",
        "${a.${b}}",
        "${.monitor}",
        "${mode_of:${.monitor},${task.monitor}}",
        "${scored:${data.eval},val/${oc.select:data.monitor,miou}}",
        "${a[0].b}",
        "$",
        "{}",
        "$HOME",
    ],
)
def test_references_to_keys_are_accepted(value: str) -> None:
    assert untrusted.is_reference(value)


@pytest.mark.parametrize("value", READS_MORE.values(), ids=READS_MORE)
def test_other_interpolations_are_recognised(value: str) -> None:
    assert not untrusted.is_reference(value)


def test_every_file_of_conf_contains_only_references(compose: Any) -> None:
    for words in ([], ["data=potsdam", "data.root=x"], ["task=classification", "decoder=linear"]):
        config = compose(*words)
        config.pop("sweep")  # named after the clock
        for _, value in untrusted.texts(OmegaConf.to_container(config, resolve=False)):
            assert untrusted.is_reference(value)
