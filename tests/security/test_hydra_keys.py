"""Nothing in a run folder configures Hydra: not its config, not its overrides."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.security.conftest import Attack, assert_refused, edit, override

FIRE = "{_target_: logging.FileHandler, filename: CANARY}"
"""A class whose construction creates a file. It is on no list of dangerous names."""

HYDRA = {
    "callback": f"hydra: {{callbacks: {{evil: {FIRE}}}}}",
    "log handler": "hydra: {job_logging: {version: 1, handlers: {evil: {class: logging.FileHandler, "
    "filename: CANARY}}, root: {handlers: [evil]}}}",
    "launcher": f"hydra: {{launcher: {FIRE}}}",
    "sweeper": f"hydra: {{sweeper: {FIRE}}}",
    "environment": "hydra: {job: {env_set: {LD_PRELOAD: CANARY}}}",
    "search path": "hydra: {searchpath: ['file://CANARY']}",
    "folder": "hydra: {run: {dir: CANARY}}",
    "defaults": "defaults: [{override hydra/launcher: joblib}]",
    "another key": "formats: {onnx: {_target_: logging.FileHandler, filename: CANARY}}",
}
NO_CHECK = ("pixelwise.runs.folder.check_config",)


def add(stranger: Path, text: str, canary: Path) -> None:
    file = stranger / "config.yaml"
    file.write_text(file.read_text() + text.replace("CANARY", str(canary)) + "\n")


@pytest.mark.parametrize("command", ["evaluate", "train"])
@pytest.mark.parametrize("payload", HYDRA)
def test_config_of_a_run_cannot_configure_hydra(
    payload: str, command: str, stranger: Path, canary: Path, attack: Attack
) -> None:
    add(stranger, HYDRA[payload], canary)
    assert_refused(
        attack(command, "run=run" if command == "evaluate" else "resume=run"), "config.yaml is not the config"
    )
    assert not canary.exists()


@pytest.mark.parametrize(
    "words",
    [["predict", "run=run", "input=x", "output=y"], ["export", "run=run", "format=onnx"], ["report", "run"]],
    ids=str,
)
def test_no_command_gives_the_config_of_a_run_to_hydra(
    words: list[str], stranger: Path, canary: Path, attack: Attack
) -> None:
    add(stranger, HYDRA["callback"], canary)
    assert_refused(attack(*words), "config.yaml is not the config")
    assert not canary.exists()


@pytest.mark.parametrize("payload", ["callback", "log handler"])
def test_the_payloads_fire_without_the_check(
    payload: str, stranger: Path, canary: Path, attack: Attack
) -> None:
    add(stranger, HYDRA[payload], canary)
    attack("evaluate", "run=run", without=NO_CHECK)
    assert canary.exists()


def test_the_package_header_of_a_config_is_a_comment(stranger: Path, canary: Path, attack: Attack) -> None:
    file = stranger / "config.yaml"
    file.write_text("# @package hydra\n" + file.read_text())
    edit(stranger, callbacks__evil={"_target_": "logging.FileHandler", "filename": str(canary)})
    attack("evaluate", "run=run")
    assert not canary.exists()


def test_completion_does_not_give_the_config_to_hydra(stranger: Path, canary: Path, attack: Attack) -> None:
    add(stranger, HYDRA["callback"], canary)
    done = attack("evaluate", "-sc", "query=bash", COMP_LINE="python evaluate.py run=run data.")
    assert_refused(done, "config.yaml is not the config")
    assert not canary.exists()


OVERRIDES = [
    "--config-dir=evil",
    "--config-path=evil",
    "--config-name=evil",
    "--multirun",
    "--info",
    "--cfg=all",
    "-m",
    "--experimental-rerun=evil.pickle",
    "+hydra.callbacks.evil={_target_:logging.FileHandler,filename:CANARY}",
    "++hydra.callbacks.evil={_target_:logging.FileHandler,filename:CANARY}",
    "hydra.searchpath=[file://CANARY]",
    "hydra.run.dir=CANARY",
    "hydra.mode=MULTIRUN",
    "hydra/launcher=joblib",
    "~hydra.job_logging",
    "+loss@hydra.callbacks=dice",
    "+loss@_global_=dice",
    "+loss@:hydra.callbacks=dice",
    "loss=../../run/evil",
    "loss='../../run/evil'",
    "+loss=[dice,../../run/evil]",
    "+loss/../../run=evil",
    "+/loss=../../run/evil",
    "+loss@data/../../run=evil",
    "callbacks=[default,../../../../../../../../CANARY]",
    "+unknown.key=1",
    "=1",
    "epochs",
    "data.classes=[a,\x1b]0;evil\x07b]",
]


@pytest.mark.parametrize("word", OVERRIDES)
def test_overrides_of_a_run_are_plain_and_of_known_keys(
    word: str, stranger: Path, canary: Path, tmp_path: Path, attack: Attack
) -> None:
    evil = (
        "# @package _global_\nhydra: {callbacks: {evil: {_target_: logging.FileHandler, filename: CANARY}}}\n"
    )
    for name in ("run/evil.yaml", "evil/train.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(evil.replace("CANARY", str(canary)))
    (tmp_path / "conf/loss").mkdir(parents=True)  # relative paths are looked up from here
    override(stranger, word.replace("CANARY", str(canary)))
    assert_refused(
        attack("train", "resume=run"), "overrides.yaml holds an override that does not belong to a run"
    )
    assert not canary.exists()


@pytest.mark.parametrize("word", [OVERRIDES[8], "loss=../../run/evil"])
def test_overrides_fire_without_the_check(
    word: str, stranger: Path, canary: Path, tmp_path: Path, attack: Attack
) -> None:
    evil = (
        "# @package _global_\nhydra: {callbacks: {evil: {_target_: logging.FileHandler, filename: CANARY}}}\n"
    )
    (stranger / "evil.yaml").write_text(evil.replace("CANARY", str(canary)))
    (tmp_path / "conf/loss").mkdir(parents=True)
    override(stranger, word.replace("CANARY", str(canary)))
    attack("train", "resume=run", without=["pixelwise.runs.folder.check_overrides"])
    assert canary.exists()


def test_a_conf_beside_the_files_of_a_run_is_not_used(
    stranger: Path, canary: Path, tmp_path: Path, attack: Attack
) -> None:
    (tmp_path / "conf").mkdir()
    evil = f"hydra: {{callbacks: {{evil: {{_target_: logging.FileHandler, filename: {canary}}}}}}}\n"
    (tmp_path / "conf/views.yaml").write_text(f"tta: null\nviews: {{}}\n{evil}")
    for name in ("config.yaml", "jobs.json", "multirun.yaml", "study.db"):
        (tmp_path / name).touch()
        attack("evaluate", "run=run", "split=nothing")
        assert not canary.exists(), name
        (tmp_path / name).unlink()
    attack("evaluate", "run=run", "split=nothing")  # the user's own conf/
    assert canary.exists()
