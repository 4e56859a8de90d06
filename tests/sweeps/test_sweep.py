"""Sweeps: names of jobs, failed jobs, resuming after a kill, tables and launchers."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from omegaconf import OmegaConf
from tests.helpers import Script
from tests.sweeps.test_summary import rows

from pixelwise.runs import sweep
from pixelwise.sweeps.hydra_callback import job_name

DRILL = Path(__file__).parents[1] / "drill.py"
ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"


# --------------------------------------------------------------------------------------------- names
@pytest.mark.fast
def test_job_is_named_after_its_differing_overrides() -> None:
    typed = ["epochs=2", "seed=1", "loss=dice", "+trainer.fast_dev_run=1"]
    assert job_name(typed, ["epochs", "trainer.fast_dev_run"]) == "loss-dice_seed-1"
    assert job_name(reversed(typed), ["epochs", "trainer.fast_dev_run"]) == "loss-dice_seed-1"
    assert job_name(["epochs=2"], ["epochs"]) == "job"


@pytest.mark.fast
def test_job_names_are_unique_and_safe_for_file_systems() -> None:
    awkward = ["data.classes=[a,b]", "data.classes=[a b]", "data.classes=a/b", "data.classes='a=b'"]
    names = [job_name([override]) for override in [*awkward, "a=" + 300 * "x", "a=" + 301 * "x"]]
    assert len(set(names)) == len(names)
    assert not set("".join(names)) & set("/,= '[]")
    assert max(map(len, names)) < 120


# ------------------------------------------------------------------------------- the command as typed
def test_sweep_with_an_invalid_job_starts_nothing(script: Script, tmp_path: Path) -> None:
    phases = "schedule.phases.warmup.epochs=1,2"
    done = script("train.py", "-m", "schedule=freeze_then_finetune,one_cycle", phases, "sweep.name=s")
    assert done.returncode == 2
    assert "schedule=one_cycle schedule.phases.warmup.epochs=1" in done.stderr
    assert not (tmp_path / "runs").exists()


def drill(cwd: Path, *overrides: str, **orders: Any) -> subprocess.CompletedProcess[str]:
    """Run a sweep in its own process; `orders` make jobs fail or stop."""
    return subprocess.run(
        [sys.executable, str(DRILL), "-m", *overrides],
        cwd=cwd,
        env=dict(os.environ) | {"DRILL": json.dumps(orders)},
        capture_output=True,
        text=True,
        timeout=600,
    )


def states(folder: Path) -> dict[str, str]:
    return {job.name: job.state for job in sweep.read(folder)}


def trained(cwd: Path) -> dict[str, list[int]]:
    """The steps that each job took since the last call."""
    notes = [json.loads(line) for line in (cwd / "trace_0.jsonl").read_text().splitlines()]
    (cwd / "trace_0.jsonl").unlink()
    return {name: [n["step"] for n in notes if n["job"] == name] for name in {n["job"] for n in notes}}


@pytest.mark.slow
def test_killed_sweep_with_a_failing_job_is_resumed(tmp_path: Path, tiny: list[str]) -> None:
    command = [*tiny, "callbacks=checkpoint", "loss=dice,focal", "seed=1,2,3", "sweep.name=six"]
    failing, half = "loss-dice_seed-2", "loss-focal_seed-1"
    folder = tmp_path / "runs/six"

    killed = drill(tmp_path, *command, failing_job=failing, job=half, where="batch_end", step=3)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert states(folder) == {
        "loss-dice_seed-1": "finished",
        failing: "failed",
        "loss-dice_seed-3": "finished",
        half: "unfinished",
        "loss-focal_seed-2": "not started",
        "loss-focal_seed-3": "not started",
    }
    noted = {row["state"] for row in rows(folder / "jobs.csv")}  # before the kill
    assert noted == {"finished", "failed: RuntimeError: made to fail", "not started"}
    assert trained(tmp_path) == {
        "loss-dice_seed-1": [0, 1, 2, 3],
        failing: [0],
        "loss-dice_seed-3": [0, 1, 2, 3],
        half: [0, 1, 2],
    }

    again = drill(tmp_path, *command, failing_job=failing)
    assert again.returncode == 1
    assert f"{failing} failed: " in again.stdout
    assert "RuntimeError: made to fail" in again.stdout
    assert sorted(states(folder).values()) == ["failed", *["finished"] * 5]
    assert trained(tmp_path) == {
        failing: [0],
        half: [2, 3],  # from the checkpoint of the first epoch's end
        "loss-focal_seed-2": [0, 1, 2, 3],
        "loss-focal_seed-3": [0, 1, 2, 3],
    }

    last = drill(tmp_path, *command[:-2], "seed=1,2,3,4", "sweep.name=six")
    assert last.returncode == 0, last.stdout + last.stderr
    assert set(states(folder).values()) == {"finished"}
    assert trained(tmp_path).keys() == {failing, "loss-dice_seed-4", "loss-focal_seed-4"}
    assert {row["runs"] for row in rows(folder / "settings.csv")} == {"4"}
    assert "±" in last.stdout

    other = drill(tmp_path, *command, "epochs=3")
    assert other.returncode == 1
    assert "the resumed training would differ from the one that was started" in other.stdout


# ------------------------------------------------------------------------------------ where jobs run
@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "package"),
    [
        ("processes", "hydra_plugins.hydra_joblib_launcher"),
        ("slurm_here", "hydra_plugins.hydra_submitit_launcher"),
        ("ray", "ray"),
    ],
    ids=["processes", "slurm_here", "ray"],
)
def test_launchers_run_jobs_in_their_own_processes(
    launcher: str, package: str, script: Script, tmp_path: Path, tiny: list[str]
) -> None:
    pytest.importorskip(package)
    names = "encoder.name=test_resnet,test_resnet_of_mine"
    command = ["-m", *tiny, "callbacks=checkpoint", names, "sweep.name=s", f"hydra/launcher={launcher}"]
    failing, working = "encoder.name-test_resnet_of_mine", "encoder.name-test_resnet"
    done = script("train.py", *command)
    assert done.returncode == 1, done.stderr
    assert states(tmp_path / "runs/s") == {working: "finished", failing: "failed"}
    assert "has no model 'test_resnet_of_mine'" in (tmp_path / f"runs/s/{failing}/outcome.json").read_text()
    noted = json.loads((tmp_path / f"runs/s/{working}/environment.json").read_text())["command"]
    assert noted.startswith(f"{Path(sys.executable).name} {ROOT / 'train.py'} -m encoder=test_resnet ")
    shown = " ".join(done.stdout.split())  # the table at the end breaks long reasons
    assert re.search(r"test_resnet_of_mine.* failed: encoder\.name", shown)
    table = {row["encoder.name"]: row["state"].split(":")[0] for row in rows(tmp_path / "runs/s/jobs.csv")}
    assert table == {"test_resnet": "finished", "test_resnet_of_mine": "failed"}

    written = (tmp_path / f"runs/s/{working}/checkpoints/last.ckpt").stat().st_mtime_ns
    assert script("train.py", *command).returncode == 1
    assert states(tmp_path / "runs/s") == {working: "finished", failing: "failed"}
    assert (tmp_path / f"runs/s/{working}/checkpoints/last.ckpt").stat().st_mtime_ns == written


@pytest.mark.slow
def test_job_lost_by_ray_does_not_stop_the_others(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    (tmp_path / "job.py").write_text(
        "import os, pathlib, signal, hydra\n"
        "@hydra.main(version_base='1.3', config_path=None)\n"
        "def main(config):\n"
        "    if config.x == 2:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    pathlib.Path(f'{config.x}.txt').touch()\n"
        "main()\n"
    )
    done = subprocess.run(
        [
            sys.executable,
            "job.py",
            "-m",
            "+x=1,2,3",
            "hydra/launcher=ray",
            f"hydra.searchpath=[file://{CONF}]",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1
    assert "+x=2: Ray lost the job" in done.stderr
    assert sorted(file.name for file in tmp_path.glob("*.txt")) == ["1.txt", "3.txt"]


@pytest.mark.fast
def test_each_launcher_config_composes() -> None:
    for file in (CONF / "hydra/launcher").glob("*.yaml"):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = hydra_compose("train", [f"hydra/launcher={file.stem}"], return_hydra_config=True)
        assert config.hydra.launcher._target_.startswith("hydra_plugins."), file


def test_wandb_sweep_is_a_command_that_composes(script: Script, tmp_path: Path) -> None:
    utils = pytest.importorskip("wandb.sdk.launch.sweeps.utils")
    sweep = OmegaConf.to_container(OmegaConf.load(ROOT / "sweeps/wandb.yaml"), resolve=False)
    assert isinstance(sweep, dict)
    for end in (0, -1):  # the smallest and the largest of each
        ends = {
            key: list(p.values())[-1] if "min" in p else p["values"][end]
            for key, p in sweep["parameters"].items()
        }
        args = utils.create_sweep_command_args(
            {"args": {key: {"value": value} for key, value in ends.items()}}
        )
        expanded = []
        for word in utils.create_sweep_command(list(sweep["command"])):
            variables = {
                "${env}": [],
                "${program}": [sweep["program"]],
                "${args_no_hyphens}": args["args_no_hyphens"],
            }
            expanded += variables.get(word, [word])
        assert expanded[:3] == ["python", "train.py", "logger=wandb"]
        done = script("train.py", *expanded[2:], "--cfg", "job")
        assert done.returncode == 0, done.stderr
        config = OmegaConf.create(done.stdout)
        assert (config.optimizer.lr, config.seed) == (ends["optimizer.lr"], ends["seed"])
        assert (sweep["metric"]["name"], config.task.mode) == (config.task.monitor, "max")
