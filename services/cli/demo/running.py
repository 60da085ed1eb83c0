"""The demonstration's node: real processes, started and stopped by the commands a site owner uses."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.domain.errors import Misconfigured

COMMAND = (sys.executable, "-m", "services.cli")
STOPPING = 30.0
"""Seconds that a node may take to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A node that is open."""

    ae_title: str
    port: int
    pid: int


def konzilium(*arguments: object) -> str:
    """Run a command as a site owner would, and return what it says.

    Raises:
        Misconfigured: it failed; the error holds its own words.
    """
    done = subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode not in (0, 5):
        raise Misconfigured(done.stderr.strip() or f"konzilium {arguments[0]} ended with {done.returncode}")
    return done.stdout


@contextmanager
def serving(directory: Path) -> Iterator[Running]:
    """A node on the site folder, from its first open door until it has stopped."""
    log = directory.parent / "node.log"
    with log.open("ab") as stderr:
        process = subprocess.Popen(
            [*COMMAND, "serve", str(directory), "--json"],
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
        )
    assert process.stdout is not None
    try:
        doors = _announcement(process.stdout.readline(), log)
        yield Running(
            ae_title=doors["ae_title"],
            port=next(door["port"] for door in doors["doors"] if door["name"] == "DICOM"),
            pid=process.pid,
        )
    finally:
        _stop(process)
        process.stdout.close()


def kill(running: Running) -> None:
    """Kill every process of the node in the same instant."""
    os.killpg(running.pid, signal.SIGKILL)


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody uses now."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def _announcement(line: bytes, log: Path) -> dict[str, Any]:
    if not line:
        raise Misconfigured(f"the node did not start: {log.read_text('utf-8')[-500:]}")
    said: dict[str, Any] = json.loads(line)
    return said


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOPPING)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
