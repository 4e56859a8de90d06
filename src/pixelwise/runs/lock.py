"""The lock of a run folder: one process writes to it, while others may read.

`run.lock` names the process that holds the lock. The lock itself is a POSIX record lock on this file: the
system releases it when the process ends, however it ends, and child processes such as the workers of a data
loader do not inherit it. Machines that share a folder do not always see each other's locks. The file of
another machine therefore counts as locked until its process, or the user, removes it.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import psutil

from pixelwise.errors import FolderInUse
from pixelwise.files import unwritable

NAME = "run.lock"
"""The lock file in the folder of a run, a study or a prediction; it is removed at the end."""

_BOOT = Path("/proc/sys/kernel/random/boot_id")
"""Identifies a start of a machine; containers on one machine have the same."""


class Owner(NamedTuple):
    """The process that holds a lock."""

    host: str
    pid: int
    started: float
    """Start of the process, in seconds since 1970; another process may get the same number later."""
    boot: str | None
    """Identifies the machine; null if the system does not say."""
    job: str | None
    """The job of SLURM, which keeps its number when it is queued again."""

    @classmethod
    def current(cls) -> Owner:
        """This process."""
        boot = _BOOT.read_text().strip() if _BOOT.is_file() else None
        started = psutil.Process().create_time()
        return cls(socket.gethostname(), os.getpid(), started, boot, os.environ.get("SLURM_JOB_ID"))

    @classmethod
    def read(cls, text: str) -> Owner | None:
        """The content of a lock file; None if it is empty, damaged or made up."""
        try:
            owner = cls(**json.loads(text))
        except (ValueError, TypeError):
            return None
        fits = (
            type(owner.pid) is int
            and 0 < owner.pid < 2**31
            and type(owner.started) in (int, float)
            and 0 <= owner.started < 2**33
            and isinstance(owner.host, str)
        )
        return owner if fits else None

    def is_here(self) -> bool:
        """Whether the process runs, or ran, on this machine or in a container on it."""
        here = Owner.current()
        return self.host == here.host or (self.boot is not None and self.boot == here.boot)

    def may_run(self, has_lock: bool) -> bool:
        """Whether the process may still run.

        Args:
            has_lock: whether this process has got the lock of the system, which nobody else on this machine
                holds then; false on a file system without locks.
        """
        here = Owner.current()
        if self.job is not None and self.job == here.job:  # an earlier start of the same job
            return False
        if not self.is_here():
            return True
        if self.host != here.host:  # a container, which numbers its processes itself
            return not has_lock
        if self.boot != here.boot:  # the machine was restarted
            return False
        try:  # a process loses the lock of the system if it opens and closes the file once more
            process = psutil.Process(self.pid)
            is_same = abs(process.create_time() - self.started) < 2
            return is_same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder inside the block; the lock of a process that has ended is taken over.

    Nothing else in this process may open `run.lock`: closing it would release the lock of the system.

    Raises:
        FolderInUse: another process holds it, or may hold it on another machine.
        UserError: the folder cannot be written.
    """
    folder = folder.absolute()
    file = folder / NAME
    try:
        descriptor = _take(file)
    except OSError as error:
        raise unwritable(str(folder), error, folder, "a folder that you may write, or a copy") from error
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
        os.close(descriptor)


def _take(file: Path) -> int:
    """Lock the file and write this process into it; return its descriptor, which must stay open."""
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            has_lock = _lock(descriptor)
            owner = Owner.read(os.pread(descriptor, 4096, 0).decode(errors="replace"))
            if has_lock is False or (owner is not None and owner.may_run(has_lock is True)):
                raise _in_use(file, owner)
            if _is_same(file, descriptor):  # else its owner has removed it in the meantime
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, (json.dumps(Owner.current()._asdict()) + "\n").encode(), 0)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    """Whether this process has got the lock of the system; None on a file system without locks."""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return None
    return True


def _is_same(file: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(file.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _in_use(file: Path, owner: Owner | None) -> FolderInUse:
    """The error for a second process."""
    what = f"{file.parent} is in use by another process"
    if owner is None:
        return FolderInUse(what, found=f"{file} is locked", fix="wait until it ends")
    since = datetime.fromtimestamp(owner.started).astimezone().isoformat(" ", "seconds")
    found = f"process {owner.pid} on {owner.host}, started {since}"
    if owner.is_here():
        return FolderInUse(what, found=found, fix=f"wait until it ends, or stop it with kill {owner.pid}")
    return FolderInUse(
        what,
        found=found,
        fix=f"wait until it ends. Whether it still runs cannot be seen from here: if not, remove {file}",
    )
