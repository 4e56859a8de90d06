"""Two processes on the CPU train, score, resume and write like one process."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.drills import RUN, differing, drill, order, result, trace

PLAIN = (
    "encoder.name=test_convnext",  # no batch-norm: its statistics depend on the batches of a process
    "decoder=linear",
    "loss=cross_entropy",
    "augmentation=none",
    "epochs=5",
    "data.crop_size=32",
    "data.batch_size=4",
    "data.source.counts={train:16,val:5,test:1}",  # an odd number for val, fewer than processes for test
    "trainer.precision=32-true",
    "trainer.log_every_n_steps=1",
)


def losses(folder: Path) -> list[float]:
    with (folder / "metrics.csv").open() as stream:
        return [float(row["train/loss"]) for row in csv.DictReader(stream) if row["train/loss"]]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working directory of a training with two processes."""
    cwd = tmp_path_factory.mktemp("two")
    drill(cwd, *PLAIN, "trainer=ddp_sim", "hydra.run.dir=run")
    return cwd


def test_two_processes_train_like_one(two: Path, tmp_path: Path) -> None:
    drill(tmp_path, *PLAIN, "trainer.accelerator=cpu", "hydra.run.dir=run")
    alone = losses(tmp_path / "run")
    assert len(alone) == 20
    assert losses(two / "run") == pytest.approx(alone, abs=1e-5)
    first, second = trace(two), trace(two, rank=1)
    for note, mine, other in zip(trace(tmp_path), first, second, strict=True):
        assert mine["keys"] == note["keys"][0::2]
        assert other["keys"] == note["keys"][1::2]


def test_only_the_first_process_writes(two: Path) -> None:
    files = {str(f.relative_to(two / "run")) for f in (two / "run").rglob("*") if f.is_file()}
    expected = {
        "config.yaml",
        "overrides.yaml",
        "environment.json",
        "data.json",
        "metrics.csv",
        "metrics.json",
    }
    expected |= {
        "train.log",
        "uncommitted.diff",
        "pictures/batch_all.png",
        "pictures/plan.png",
        "pictures/test.png",
    }
    expected |= {"plan.json", "speed.csv", "confusion.json", "samples.json", "report.html"}
    expected |= {f for f in files if f.startswith("pictures/samples/")}
    assert files <= expected | {f"checkpoints/{name}.ckpt" for name in ("best", "last", "previous")}
    log = (two / "run/train.log").read_text()
    assert len(re.findall("epoch 1/5", log)) == 1
    assert {p.name for p in two.iterdir()} == {"run", "latest", "trace_0.jsonl", "trace_1.jsonl"}


def test_scores_are_equal_for_any_number_of_processes(two: Path) -> None:
    written = (two / "run/metrics.json").read_text()
    for devices in (1, 2):
        command = [sys.executable, str(Path(__file__).parents[2] / "evaluate.py"), "run=run"]
        command += [f"trainer.devices={devices}", f"output={devices}.json"]
        done = subprocess.run(command, cwd=two, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert "to the last digit" in done.stdout
        assert (two / f"{devices}.json").read_text() == written


@pytest.mark.slow
def test_ranks_stay_equal_when_a_part_is_unfrozen(tmp_path: Path) -> None:
    run = [o for o in RUN if not o.startswith("trainer.accelerator")] + [
        "trainer=ddp_sim",
        "hydra.run.dir=run",
    ]
    drill(tmp_path / "unbroken", *run)
    drill(tmp_path / "cut", *run, step=7, where="batch_end")
    drill(tmp_path / "cut", "resume=run")
    assert differing(result(tmp_path / "cut/run"), result(tmp_path / "unbroken/run")) == []
    assert order(tmp_path / "cut") == order(tmp_path / "unbroken")
    encoder = [[note["encoder"] for note in trace(tmp_path / "unbroken", rank)] for rank in (0, 1)]
    assert encoder[0] == encoder[1]
    assert len(set(encoder[0][:5])) == 1, "the encoder is frozen for four steps"
    assert len(set(encoder[0][4:])) == len(encoder[0][4:]), "the encoder trains after them"


@pytest.mark.slow
def test_moving_average_resumes_exactly_in_two_processes(tmp_path: Path) -> None:
    run = [o for o in RUN if not o.startswith("trainer.accelerator")]
    run += ["trainer=ddp_sim", "callbacks=[default,ema]", "callbacks.ema.decay=0.5", "hydra.run.dir=run"]
    run += ["callbacks.checkpoint.every_n_steps=3"]
    drill(tmp_path / "unbroken", *run)
    drill(tmp_path / "cut", *run, step=7, where="batch_end")
    drill(tmp_path / "cut", "resume=run")
    unbroken, cut = (result(tmp_path / name / "run") for name in ("unbroken", "cut"))
    assert differing(cut, unbroken) == []
    assert not torch.equal(*(next(iter(unbroken[kind].values())) for kind in ("weights", "raw weights")))


@pytest.mark.slow
def test_resuming_with_fewer_processes_keeps_the_batches(two: Path, tmp_path: Path) -> None:
    drill(tmp_path, *PLAIN, "trainer=ddp_sim", "hydra.run.dir=run", step=13, where="batch_end")
    drill(tmp_path, "resume=run", "trainer.devices=1")
    assert "processes: 2 when this run was started, 1 now" in (tmp_path / "run/train.log").read_text()
    assert losses(tmp_path / "run") == pytest.approx(losses(two / "run"), abs=1e-5)


@pytest.mark.slow
def test_jobs_of_a_sweep_start_their_own_processes(tmp_path: Path) -> None:
    once = [override for override in PLAIN if not override.startswith("epochs")]
    drill(tmp_path, "-m", *once, "trainer=ddp_sim", "epochs=1", "seed=1,2", "hydra.sweep.dir=sweep")
    scores = [json.loads((tmp_path / f"sweep/seed-{seed}/metrics.json").read_text()) for seed in (1, 2)]
    assert scores[0] != scores[1]
    assert len({note["pid"] for note in trace(tmp_path, 1)}) == 2


@pytest.mark.slow
def test_torchrun_starts_the_processes(tmp_path: Path, two: Path) -> None:
    script = str(Path(__file__).parents[2] / "train.py")
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc_per_node=2",
        "--master_port=29876",
        script,
    ]
    done = subprocess.run(
        [*command, *PLAIN, "trainer=ddp_sim"], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    (folder,) = [f for f in (tmp_path / "runs").iterdir() if not f.is_symlink()]
    assert losses(folder) == losses(two / "run")
