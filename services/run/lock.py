"""One node per site folder: a lock that the node and all its processes hold together."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from node.domain.errors import AlreadyRunning, NotASite
from node.settings import FILE

LOCK = "node.lock"
PATIENCE = 30.0
"""Seconds to wait for the last processes of a node whose supervisor was killed."""


@contextmanager
def hold(directory: Path, patience: float = PATIENCE) -> Iterator[int]:
    """Hold the site alone; the descriptor is for child processes, which keep the lock with their lives.

    Raises:
        AlreadyRunning: a node runs on the folder.
        NotASite: it is no site folder.
    """
    lock = _open(directory)
    try:
        _acquire(lock, directory, time.monotonic() + patience)
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        yield lock
        os.ftruncate(lock, 0)
    finally:
        os.close(lock)


def running(directory: Path) -> int | None:
    """The process that holds the site (0 if it did not say), or None when nobody does."""
    lock = _open(directory)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(lock)
    finally:
        os.close(lock)
    return None


def _open(directory: Path) -> int:
    if not (directory / FILE).is_file():
        raise NotASite(directory)
    return os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _acquire(lock: int, directory: Path, deadline: float) -> None:
    """Take the lock; wait for it only while its owner is dead and what it started is finishing."""
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(lock)
            if _alive(holder) or time.monotonic() > deadline:
                raise AlreadyRunning(directory, holder) from None
        time.sleep(0.05)


def _holder(lock: int) -> int:
    text = os.pread(lock, 32, 0)
    return int(text) if text.isdigit() else 0


def _alive(process: int) -> bool:
    if process <= 0:
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
