"""The process that serves the identity providers of a demonstration: how it is started, found and stopped."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from node.domain.errors import Rejected
from services.cli.demo.idp.described import describe
from services.cli.demo.idp.houses import House, made
from services.cli.demo.idp.people import HOSPITALS
from services.cli.demo.running import free_ports

LOCK: Final = "idp.lock"
"""Held, with the number of the process in it, as long as it serves."""
_SERVE: Final = (sys.executable, "-m", "services.cli.demo.idp")
_STOPPING: Final = 10.0


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the folder alone, under the number of this process."""
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        yield
        os.ftruncate(lock, 0)
    finally:
        os.close(lock)


@dataclass(slots=True)
class IdentityProviders:
    """The two identity providers, and their process while one runs."""

    folder: Path
    houses: list[House] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Make both and serve them; returns when they answer.

        Raises:
            Rejected: they do not.
        """
        ports = free_ports(len(HOSPITALS))
        self.houses = [made(self.folder, site, port) for site, port in zip(HOSPITALS, ports, strict=True)]
        for house in self.houses:
            describe(house)
        log = self.folder / "idp.log"
        with log.open("ab") as said:
            self.process = subprocess.Popen(
                [*_SERVE, str(self.folder)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
                start_new_session=True,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.process.stdout.close()
        if not line:
            raise Rejected(f"the identity providers did not start: {log.read_text('utf-8')[-500:]}")

    def leave(self) -> None:
        """Let them run on when this process ends."""
        self.process = None

    def stop(self) -> None:
        """Stop them, if they run."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(_STOPPING)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None


def stop(folder: Path) -> bool:
    """Stop the process that serves a folder; whether one did.

    Raises:
        Rejected: it does not stop.
    """
    pid = _holder(folder)
    if pid is None:
        return False
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOPPING
    while _holder(folder) is not None:
        if time.monotonic() > deadline:
            raise Rejected(f"the identity providers, process {pid}, do not stop")
        time.sleep(0.05)
    return True


def _holder(folder: Path) -> int | None:
    """The process that holds the folder, if one does."""
    try:
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        said = os.pread(lock, 32, 0)
        return int(said) if said.isdigit() else None
    finally:
        os.close(lock)
    return None
