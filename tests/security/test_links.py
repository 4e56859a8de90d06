"""Nothing is written through a link in a stranger's folder, and nothing outside of it is read."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.helpers import refused
from tests.security.conftest import Attack, assert_refused, edit

from pixelwise import files
from pixelwise.errors import UserError
from pixelwise.runs.untrusted import check_links
from pixelwise.runtime.terminal import LogFile

PRIVATE = "the diary of the user\n"
LINKS = [
    "train.log",
    "evaluate.log",
    "metrics.csv",
    "metrics.json",
    "environment.json",
    "report.html",
    "checkpoints/best.ckpt.part",
    "pictures/plan.png",
]
COMMANDS = [
    ["train", "resume=run", "trainer.max_epochs=1"],
    ["evaluate", "run=run"],
    ["predict", "run=run", "input=x", "output=y"],
    ["export", "run=run", "format=hub"],
    ["report", "run"],
]


@pytest.fixture
def diary(tmp_path: Path) -> Path:
    """A file of the user, which must stay as it is, and must not be published."""
    file = tmp_path / "home/diary.txt"
    file.parent.mkdir()
    file.write_text(PRIVATE)
    return file


@pytest.mark.parametrize("name", LINKS)
def test_a_link_out_of_a_run_folder_is_refused(
    name: str, stranger: Path, diary: Path, attack: Attack
) -> None:
    (stranger / name).unlink(missing_ok=True)
    (stranger / name).symlink_to(diary)
    for words in COMMANDS if name == "train.log" else COMMANDS[:1]:
        assert_refused(attack(*words), "leads out of the run folder")
    assert diary.read_text() == PRIVATE


@pytest.mark.parametrize("name", ["pictures/samples", "pictures", "checkpoints", "tensorboard", "export"])
def test_a_folder_that_is_a_link_is_refused(name: str, stranger: Path, diary: Path, attack: Attack) -> None:
    shutil.rmtree(stranger / name, ignore_errors=True)
    (stranger / name).symlink_to(diary.parent, target_is_directory=True)
    assert_refused(
        attack("train", "resume=run", "allow_change=true", "seed=2"), "leads out of the run folder"
    )
    assert list(diary.parent.iterdir()) == [diary]


def test_files_of_others_are_deleted_without_the_check(
    trained: Path, diary: Path, tmp_path: Path, attack: Attack
) -> None:
    shutil.copytree(trained, tmp_path / "run")
    shutil.rmtree(tmp_path / "run/pictures/samples")
    (tmp_path / "run/pictures/samples").symlink_to(diary.parent, target_is_directory=True)
    attack(
        "train",
        "resume=run",
        "allow_change=true",
        "seed=2",
        "trainer.max_steps=3",
        without=["pixelwise.runs.folder.check_links", "pixelwise.runs.untrusted.check_links"],
    )
    assert not diary.exists()


def test_links_inside_a_run_folder_stay(stranger: Path, attack: Attack) -> None:
    (stranger / "wandb").mkdir()
    (stranger / "wandb/latest-run").symlink_to("../checkpoints")
    assert attack("report", "run").status == 0


@pytest.mark.parametrize("place", ["wandb", "job/wandb"])
def test_finished_runs_of_wandb_may_link_to_its_logs(place: str, tmp_path: Path) -> None:
    logs = tmp_path / "sweep" / place / "offline-run-20260131_120000-a/logs"
    logs.mkdir(parents=True)
    (logs / "debug-core.log").symlink_to(tmp_path)
    check_links(tmp_path / "sweep")


@pytest.mark.parametrize("place", ["wandb/other", "wandb", "job/other", "a/job/wandb/run-1_1-a"])
def test_other_links_that_lead_out_are_refused(place: str, tmp_path: Path) -> None:
    (tmp_path / "sweep" / place).mkdir(parents=True)
    (tmp_path / "sweep" / place / "link").symlink_to(tmp_path)
    with pytest.raises(UserError, match="leads out of the run folder"):
        check_links(tmp_path / "sweep")


def test_a_new_run_does_not_write_through_links(
    tiny: list[str], diary: Path, tmp_path: Path, attack: Attack
) -> None:
    (tmp_path / "new").mkdir()
    for name in ("train.log", "environment.json"):
        (tmp_path / "new" / name).symlink_to(diary)
    done = attack("train", *tiny, "hydra.run.dir=new")
    assert done.status in (1, 2), done.printed
    assert diary.read_text() == PRIVATE


@pytest.mark.parametrize("name", ["jobs.json", "multirun.yaml", "jobs.csv", "job/metrics.json"])
def test_a_sweep_does_not_write_through_links(
    name: str, tiny: list[str], diary: Path, tmp_path: Path, attack: Attack
) -> None:
    file = tmp_path / "runs/s" / name
    file.parent.mkdir(parents=True)
    file.symlink_to(diary)
    done = attack("train", "-m", *tiny, "seed=1,2", "sweep.name=s")
    assert_refused(done, "leads out of the run folder")
    assert diary.read_text() == PRIVATE


def test_a_log_file_replaces_a_link(diary: Path, tmp_path: Path) -> None:
    (tmp_path / "x.log").symlink_to(diary)
    LogFile(tmp_path / "x.log").close()
    assert diary.read_text() == PRIVATE
    assert not (tmp_path / "x.log").is_symlink()


# ------------------------------------------------------------------------------------------------ reports
@pytest.mark.parametrize("place", ["/etc/hostname", "../home/diary.txt", "../home/photo.png", "ABSOLUTE"])
def test_a_report_shows_no_file_from_outside(place: str, stranger: Path, diary: Path, attack: Attack) -> None:
    photo = diary.with_name("photo.png")
    Image.fromarray(np.full((8, 8, 3), 77, np.uint8)).save(photo)
    record = json.loads((stranger / "samples.json").read_text())
    record["samples"][0]["pictures"]["image"] = str(photo) if place == "ABSOLUTE" else place
    (stranger / "samples.json").write_text(json.dumps(record))
    (stranger / "report.html").unlink()
    assert_refused(attack("report", "run"), "names a file outside of it")
    assert not (stranger / "report.html").exists()


def test_a_report_shows_only_pictures(stranger: Path, attack: Attack) -> None:
    record = json.loads((stranger / "samples.json").read_text())
    record["samples"][0]["pictures"]["image"] = "environment.json"
    (stranger / "samples.json").write_text(json.dumps(record))
    assert_refused(attack("report", "run"), "environment.json cannot be read as a picture of the run")


def test_phases_of_a_report_name_no_file_from_outside(stranger: Path, diary: Path, attack: Attack) -> None:
    Image.fromarray(np.full((8, 8, 3), 77, np.uint8)).save(diary.with_name("x.png"))
    record = json.loads((stranger / "plan.json").read_text())
    (stranger / "pictures/batch_").mkdir()
    record["phases"][0]["name"] = "/../../../home/x"
    (stranger / "plan.json").write_text(json.dumps(record))
    assert_refused(attack("report", "run"), "names a file outside of it")


def test_colours_of_a_report_are_numbers(stranger: Path, attack: Attack) -> None:
    record = json.loads((stranger / "samples.json").read_text())
    record["colours"][0] = ["0); background-image: url(http://127.0.0.1/x)", 0, 0]
    (stranger / "samples.json").write_text(json.dumps(record))
    attack("report", "run")
    assert "url(http" not in (stranger / "report.html").read_text()


@pytest.mark.parametrize("name", ["../run", "/etc", "a/../../run", ".."])
def test_jobs_of_a_sweep_are_folders_in_it(name: str, stranger: Path, tmp_path: Path, attack: Attack) -> None:
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep/jobs.json").write_text(json.dumps({name: ["seed=1"]}))
    assert_refused(attack("report", "sweep"), "which is no name of a folder in it")


@pytest.mark.fast
@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "link/x"])
def test_names_that_lead_out_of_a_folder_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/link").symlink_to("/")
    assert files.inside(tmp_path / "in", "a/../b") == tmp_path / "in/a/../b"
    with refused("names a file outside of it"):
        files.inside(tmp_path / "in", name)


def test_scripts_in_names_stay_text(stranger: Path, attack: Attack) -> None:
    script = "<script>alert(1)</script>"
    edit(stranger, data__classes=[script, "<img src=x onerror=alert(1)>", "dog"])
    record = json.loads((stranger / "samples.json").read_text())
    record["samples"][0]["key"] = record["classes"][0] = script
    (stranger / "samples.json").write_text(json.dumps(record))
    attack("report", "run")
    page = (stranger / "report.html").read_text()
    assert script not in page
    assert "<img src=x" not in page
    assert base64.b64encode(PRIVATE.encode()).decode()[:12] not in page
