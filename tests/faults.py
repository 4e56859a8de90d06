"""Faults of a machine for the child of `tests.forked`: a small disk, and folders that cannot be written.

Those of mounts and rights last until the process ends, and reach no other process.
"""

from __future__ import annotations

import ctypes
import functools
import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NEW_MOUNTS, _NEW_USER = 0x20000, 0x10000000
_READ_ONLY, _REMOUNT, _BIND, _RECURSIVE, _PRIVATE = 1, 32, 4096, 16384, 1 << 18
_CAPABILITY_VERSION = 0x20080522


@contextmanager
def small_disk(folder: Path, size: int, left: Path) -> Iterator[None]:
    """Mount a disk of `size` bytes on a folder, and copy to `left` what is on it at the end."""
    _own_mounts()
    folder.mkdir(exist_ok=True)
    _mount("tmpfs", folder, "tmpfs", 0, f"size={size}")
    try:
        yield
    finally:
        shutil.copytree(folder, left, symlinks=True)


@contextmanager
def small_files(size: int) -> Iterator[None]:
    """Let no file grow beyond `size` bytes; Python ignores the signal that the system sends."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Mount a folder on itself so that it cannot be written."""
    _own_mounts()
    _mount(str(folder), folder, "", _BIND, "")
    _mount("none", folder, "", _BIND | _REMOUNT | _READ_ONLY, "")
    yield


@contextmanager
def powerless(folder: Path) -> Iterator[None]:
    """Forbid to write a folder, also for root, who loses the right to ignore permissions."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    if os.geteuid() == 0:
        header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
        _call("capset", header, (ctypes.c_uint32 * 6)())
    yield


@functools.cache
def can_mount() -> bool:
    """Whether a process may mount disks that no other process sees: as root, or in a user namespace."""
    child = os.fork()
    if child == 0:
        try:
            _own_mounts()
            _mount("tmpfs", Path("/tmp"), "tmpfs", 0, "size=4096")
        except (OSError, AttributeError):
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def _own_mounts() -> None:
    """Give this process its own list of mounts."""
    user, group = os.geteuid(), os.getegid()
    _call("unshare", _NEW_MOUNTS | (_NEW_USER if user else 0))
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    _mount("none", Path("/"), "", _RECURSIVE | _PRIVATE, "")


def _mount(source: str, folder: Path, kind: str, flags: int, options: str) -> None:
    _call("mount", source.encode(), bytes(folder), kind.encode(), ctypes.c_ulong(flags), options.encode())


def _call(name: str, *arguments: object) -> None:
    """Call a function of the C library; raises `OSError` if it fails."""
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")
