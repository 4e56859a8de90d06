"""One process writes to a run folder; a second one is refused, and the lock of a dead one is taken over."""

from __future__ import annotations

import errno
import fcntl
import json
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from PIL import Image
from tests.helpers import Command, copy_run, refused

from pixelwise.errors import FolderInUse
from pixelwise.runs.lock import NAME, Owner, locked

FORK = multiprocessing.get_context("fork")


def hold(folder: Path, with_child: bool) -> None:
    """Hold the lock until the process is killed, as a training with a worker of its data loader does."""
    with locked(folder):
        if with_child and os.fork() == 0:
            time.sleep(5)
            os._exit(0)
        (folder / "held").touch()
        time.sleep(60)


@contextmanager
def holder(folder: Path, with_child: bool = False) -> Iterator[int]:
    """Another process that holds the lock; it is killed at the end."""
    process = FORK.Process(target=hold, args=(folder, with_child))
    process.start()
    while not (folder / "held").exists():
        time.sleep(0.01)
    try:
        yield int(process.pid or 0)
    finally:
        process.kill()
        process.join()


@pytest.mark.fast
def test_a_second_process_is_told_who_holds_a_folder(tmp_path: Path) -> None:
    with holder(tmp_path) as pid, pytest.raises(FolderInUse) as caught, locked(tmp_path):
        pass
    for word in (str(tmp_path), f"process {pid} on {socket.gethostname()}", f"kill {pid}"):
        assert word in str(caught.value)


@pytest.mark.fast
@pytest.mark.parametrize("with_child", [False, True])
def test_the_lock_of_a_killed_process_is_taken_over(with_child: bool, tmp_path: Path) -> None:
    with holder(tmp_path, with_child):
        pass
    assert (tmp_path / NAME).is_file()  # it was killed by SIGKILL
    with locked(tmp_path):
        assert json.loads((tmp_path / NAME).read_text())["pid"] == os.getpid()
    assert not (tmp_path / NAME).exists()


def alive(**changes: object) -> Owner:
    """The parent of this process, which runs."""
    parent = psutil.Process(os.getppid())
    return Owner.current()._replace(pid=parent.pid, started=parent.create_time(), **changes)  # type: ignore[arg-type]


OWNERS: dict[str, tuple[Callable[[], Owner], bool, bool]] = {
    "here, its lock of the system lost": (alive, True, True),
    "here, no locks": (alive, False, True),
    "here, ended": (lambda: alive()._replace(pid=2**22 + 1), True, False),
    "here, ended, no locks": (lambda: alive()._replace(pid=2**22 + 1), False, False),
    "here, its number was given away": (lambda: alive()._replace(started=1.0), True, False),
    "before the machine was restarted": (lambda: alive(boot="other"), False, False),
    "a container that is gone": (lambda: alive(host="other"), True, False),
    "a container, no locks": (lambda: alive(host="other"), False, True),
    "another machine": (lambda: alive(host="other", boot="other"), True, True),
    "another machine, no locks": (lambda: alive(host="other", boot="other"), False, True),
    "an earlier start of the same job": (lambda: alive(host="other", boot="other", job="17"), True, False),
}


@pytest.mark.fast
@pytest.mark.parametrize("case", OWNERS)
def test_a_lock_is_respected_while_its_owner_may_run(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, has_locks, respected = OWNERS[case]
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    if not has_locks:  # as on some network file systems

        def lockf(*_: object) -> None:
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

        monkeypatch.setattr(fcntl, "lockf", lockf)
    owner = make()._replace(job="17" if "job" in case else None)
    (tmp_path / NAME).write_text(json.dumps(owner._asdict()))
    if not respected:
        with locked(tmp_path):
            assert Owner.read((tmp_path / NAME).read_text()) == Owner.current()
        return
    message = f"remove {tmp_path / NAME}" if owner.host == "other" and "machine" in case else owner.host
    with refused(message), locked(tmp_path):
        pass
    assert Owner.read((tmp_path / NAME).read_text()) == owner


WRONG = {"pid": "1; rm -rf ~", "started": 1e300, "host": None}
DAMAGED = ["", "{", "[]", "{}", '{"pid": 1}', "\0" * 9, *WRONG]


@pytest.mark.fast
@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_lock_file_is_replaced(text: str, tmp_path: Path) -> None:
    if text in WRONG:  # of a stranger: the message would show it
        text = json.dumps(alive(host="other", boot="other")._asdict() | {text: WRONG[text]})
    (tmp_path / NAME).write_text(text)
    with locked(tmp_path):
        assert Owner.read((tmp_path / NAME).read_text()) == Owner.current()


@pytest.mark.fast
def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "diary").write_text("dear diary")
    (tmp_path / NAME).symlink_to(tmp_path / "diary")
    with refused("cannot be written"), locked(tmp_path):
        pass
    assert (tmp_path / "diary").read_text() == "dear diary"


def contend(folder: Path) -> None:
    """Enter the lock often; inside, nobody else may be."""
    entered = 0
    while entered < 30:
        try:
            with locked(folder):
                (folder / "inside").touch(exist_ok=False)
                (folder / "inside").unlink()
                entered += 1
        except FolderInUse:
            pass


@pytest.mark.fast
def test_an_ended_process_that_nobody_waited_for_is_dead(tmp_path: Path) -> None:
    process = FORK.Process(target=hold, args=(tmp_path, False))
    process.start()
    while not (tmp_path / "held").exists():
        time.sleep(0.01)
    os.kill(int(process.pid or 0), signal.SIGKILL)
    while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    with locked(tmp_path):
        pass
    process.join()


@pytest.mark.fast
def test_of_many_processes_one_is_inside(tmp_path: Path) -> None:
    processes = [FORK.Process(target=contend, args=(tmp_path,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------------------- at the command line
def contents(folder: Path) -> dict[str, bytes]:
    files = {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}
    return {name: content for name, content in files.items() if not name.endswith(".log")}


SECOND = {
    "resume": ["resume=run", "trainer.max_epochs=3"],
    "a new run in the same folder": ["hydra.run.dir=run"],
    "a job of a sweep": ["-m", "seed=1", "hydra.sweep.dir=.", "hydra.sweep.subdir=run"],
}


@pytest.mark.parametrize("case", SECOND)
def test_a_second_training_in_a_folder_is_refused(
    case: str, trained: Path, tiny: list[str], tmp_path: Path, command: Command
) -> None:
    folder = copy_run(trained, tmp_path / "run")
    with locked(folder):
        before = contents(folder)
        done = command("train", *([] if case == "resume" else tiny), *SECOND[case])
        assert contents(folder) == before
    assert done.status == (1 if "-m" in SECOND[case] else 2), done.printed  # a sweep has other jobs
    assert f"{folder} is in use by another process" in done.printed
    assert f"process {os.getpid()} on {socket.gethostname()}" in done.printed
    assert "Traceback" not in done.printed


def test_of_two_new_runs_in_a_folder_one_is_refused(
    tiny: list[str], tmp_path: Path, command: Command
) -> None:
    (tmp_path / "run").mkdir()
    with locked(tmp_path / "run"):
        done = command("train", *tiny, "hydra.run.dir=run")
    assert done.status == 2
    assert "is in use by another process" in done.printed
    assert list((tmp_path / "run").iterdir()) == []


READERS = {
    "evaluate": ["run=run"],
    "predict": ["run=run", "input=photo.png", "output=maps"],
    "report": ["run"],
}


@pytest.mark.parametrize("name", READERS)
def test_a_run_in_training_can_be_read(name: str, trained: Path, tmp_path: Path, command: Command) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "photo.png")
    copy_run(trained, tmp_path / "run")
    with locked(tmp_path / "run"):
        done = command(name, *READERS[name])
    assert done.status == 0, done.printed


OUTPUTS = {"transfer": ["output=own"], "predict": ["run=run", "input=photo.png", "output=own"]}


@pytest.mark.parametrize("name", OUTPUTS)
def test_an_output_in_use_is_refused(name: str, trained: Path, tmp_path: Path, command: Command) -> None:
    copy_run(trained, tmp_path / "run")
    Image.new("RGB", (40, 40)).save(tmp_path / "photo.png")
    (tmp_path / "own").mkdir()
    with locked(tmp_path / "own"):
        done = command(name, *OUTPUTS[name])
    assert done.status == 2, done.printed
    assert f"{tmp_path / 'own'} is in use by another process" in done.printed


def test_a_training_removes_its_lock(trained: Path) -> None:
    assert not (trained / NAME).exists()


@pytest.mark.slow
def test_a_killed_training_leaves_a_lock_that_resuming_takes(tmp_path: Path) -> None:
    from tests.drills import RUN, drill

    drill(tmp_path, *RUN, "data.num_workers=2", "hydra.run.dir=run", step=5, where="batch_end")
    left = Owner.read((tmp_path / "run" / NAME).read_text())
    assert left is not None
    with pytest.raises(ProcessLookupError):
        os.kill(left.pid, signal.SIG_DFL)
    drill(tmp_path, "resume=run")
    assert not (tmp_path / "run" / NAME).exists()
