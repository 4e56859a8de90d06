"""The built wheel, installed into an environment of its own and used in an empty folder.

Each command is a separate process of the installed program.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.repository.test_howtos import FENCE, copy_repository

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
TINY = (
    "encoder=test_resnet",
    "epochs=1",
    "data.crop_size=32",
    "data.batch_size=4",
    "data.source.counts={train:8,val:4,test:4}",
    "trainer.accelerator=cpu",
)
Program = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without a network."""
    pytest.importorskip("setuptools", reason="builds the wheel")
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    copy_repository(source)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", str(target)]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return next(target.glob("pixelwise-*.whl"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder to work in."""
    return tmp_path_factory.mktemp("elsewhere")


@pytest.fixture(scope="module")
def program(wheel: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Program:
    """`program(*words)` runs `pixelwise WORDS` with the wheel and the installed libraries."""
    prefix = tmp_path_factory.mktemp("environment")
    venv.create(prefix, with_pip=False)
    python = prefix / "bin/python"
    install = ["-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([sys.executable, *install, str(wheel)], check=True)
    (site,) = prefix.glob("lib/python*/site-packages")
    libraries = {str(Path(module.__file__).parents[1]) for module in (np, pytest) if module.__file__}
    (site / "libraries.pth").write_text("\n".join(libraries))
    unset = ("PYTHONPATH", "PIXELWISE_PACKAGES", "HYDRA_FULL_ERROR")
    environment = {name: value for name, value in os.environ.items() if name not in unset}

    def run(
        *words: str, cwd: Path = folder, start: tuple[str, ...] = (str(prefix / "bin/pixelwise"),), **env: str
    ) -> subprocess.CompletedProcess[str]:
        command = [str(python) if word == "python" else word for word in start]
        return subprocess.run(
            [*command, *words], cwd=cwd, env=environment | env, capture_output=True, text=True, timeout=600
        )

    return run


@pytest.fixture(scope="module")
def run(program: Program, folder: Path) -> Path:
    """The folder of a run of `pixelwise train`."""
    done = program("train", "task=segmentation", "loss=dice", *TINY)
    assert done.returncode == 0, done.stderr
    assert "run folder: " + str(folder / "runs") in done.stdout
    return (folder / "runs/latest").resolve()


def succeeds(done: subprocess.CompletedProcess[str]) -> str:
    """The output of a command that must succeed."""
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_contains_every_file_of_conf(wheel: Path) -> None:
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("pixelwise/conf/")}
    assert packed == {f"pixelwise/conf/{file.relative_to(CONF)}" for file in CONF.rglob("*.yaml")}


def test_the_package_is_imported_from_the_wheel(program: Program) -> None:
    code = "import pixelwise; print(pixelwise.__file__, pixelwise.compose('loss=dice').loss._target_)"
    file, target = succeeds(program("-c", code, start=("python",))).split()
    assert not Path(file).is_relative_to(ROOT)
    assert target.startswith("pixelwise.losses.")


def test_training_writes_below_the_current_folder(run: Path, folder: Path) -> None:
    assert run.parent == folder / "runs"
    assert (run / "metrics.json").is_file()
    assert "pixelwise train" in (run / "environment.json").read_text()


def test_a_run_is_evaluated_exported_and_reported(run: Path, program: Program) -> None:
    assert "to the last digit" in succeeds(program("evaluate", "run=runs/latest"))
    assert "config.json" in succeeds(program("export", "run=runs/latest", "format=hub"))
    assert "report.html" in succeeds(program("report", "runs/latest"))
    assert "this run is finished" in succeeds(program("train", "resume=runs/latest"))


def test_a_run_predicts_images(run: Path, folder: Path, program: Program) -> None:
    Image.fromarray(np.zeros((40, 48, 3), np.uint8)).save(folder / "photo.png")
    succeeds(program("predict", "run=runs/latest", "input=photo.png", "output=maps"))
    assert Image.open(folder / "maps/photo.png").size == (48, 40)


def test_plan_audit_and_search_work(folder: Path, program: Program) -> None:
    assert "plan_three_phase.png" in succeeds(program("plan", *TINY[:1], "schedule=three_phase"))
    succeeds(program("audit", *TINY[2:]))
    pytest.importorskip("optuna")
    words = ["search=loss_and_rate", "search.trials=1", "sweep.name=few", *TINY]
    assert "best of 1 trials" in succeeds(program("search", *words))
    assert (folder / "runs/few/trial-0000/metrics.json").is_file()


@pytest.mark.parametrize("start", [(), ("python", "-m", "pixelwise")], ids=["pixelwise", "python -m"])
def test_help_and_errors_name_the_installed_program(start: tuple[str, ...], program: Program) -> None:
    settings = {"start": start} if start else {}
    assert "  train " in succeeds(program("--help", **settings))
    text = succeeds(program("train", "--help", **settings))
    assert "pixelwise train task=segmentation loss=dice" in text
    assert ".py" not in text
    done = program("trian", **settings)
    assert done.returncode == 2
    assert "did you mean pixelwise train?" in done.stderr
    done = program("train", "search=loss_and_rate", **settings)
    assert "fix:      pixelwise search search=" in done.stderr


def test_several_processes_train_together(program: Program, folder: Path) -> None:
    words = [*TINY, "trainer=ddp_sim", "hydra.run.dir=runs/two", "callbacks=checkpoint"]
    succeeds(program("train", *words))
    assert (folder / "runs/two/metrics.json").is_file()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of docs/howto/install.md, and a file that replaces an option of the project."""
    project = tmp_path_factory.mktemp("project")
    shown = FENCE.findall((ROOT / "docs/howto/install.md").read_text())
    files = {title: text for _, title, text in shown if title}
    assert files.keys() == {"conf/loss/brier.yaml", "mine/losses.py"}
    files["conf/augmentation/light.yaml"] = (CONF / "augmentation/none.yaml").read_text()
    for name, text in files.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    return project


def test_own_options_extend_and_replace_options(program: Program, project: Path) -> None:
    text = succeeds(program("train", "--help", cwd=project))
    assert "brier" in next(line for line in text.splitlines() if line.startswith("loss:"))
    assert "did you mean loss=brier?" in program("train", "loss=brierr", cwd=project).stderr
    own_light, none = (
        succeeds(program("train", "--cfg", "job", "-p", "augmentation", *words, cwd=project))
        for words in (["augmentation=light"], ["augmentation=none"])
    )
    assert own_light == none


def test_own_classes_are_used_if_allowed(program: Program, project: Path) -> None:
    words = ["train", "loss=brier", *TINY, "hydra.run.dir=runs/own"]
    refused = program(*words, cwd=project)
    assert refused.returncode == 1
    assert "'mine.losses.Brier' is not allowed" in refused.stderr
    assert "fix:      PIXELWISE_PACKAGES=NAME" in refused.stderr
    words[-1] = "hydra.run.dir=runs/allowed"
    assert "brier" in succeeds(program(*words, cwd=project, PIXELWISE_PACKAGES="mine"))
    again = program("evaluate", "run=runs/allowed", cwd=project, PIXELWISE_PACKAGES="mine")
    assert "to the last digit" in succeeds(again)


def test_a_run_folder_runs_no_code(program: Program, project: Path, run: Path) -> None:
    """Inside the run folder of somebody else, neither its conf/ nor its package is used."""
    for name, text in {
        "conf/hydra/job_logging/pixelwise.yaml": "version: 1\nhandlers: {a: {class: mine.losses.Evil}}\n",
        "mine/__init__.py": "open('evil', 'w')\n",
    }.items():
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text(text)
    assert "to the last digit" in succeeds(program("evaluate", "run=.", cwd=run))
    assert not (run / "evil").exists()
