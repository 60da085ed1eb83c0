"""The two servers: started in fresh folders, asked for the processor time they used, stopped."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.blaster import CALLING, SINK, Node
from bench.wire import RefusedError
from node.domain.ids import SiteId
from services.cli.demo.running import free_ports

CACHE = Path(__file__).parent / ".cache"
ORTHANC = "/usr/sbin/Orthanc"
KONZILIUM = Path(sys.executable).with_name("konzilium")
SITE, AE_TITLE = SiteId("bench-site"), "BENCH-SITE"
START_SECONDS = 60
UNAUDITED = Path(__file__).parent / "unaudited"
_TICK_MICROSECONDS = 1_000_000 // os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server that runs: how to call it, and the process that leads it."""

    node: Node
    process: subprocess.Popen[bytes]

    def cpu(self) -> int:
        """Microseconds of processor time that its whole process tree has used so far."""
        return cpu_of(self.process.pid)


def cpu_of(leader: int) -> int:
    """Microseconds of processor time that a process and all below it have used so far."""
    statistics = dict(_statistics())
    tree = [leader]
    for pid in tree:
        tree += [child for child, (parent, _ticks) in statistics.items() if parent == pid]
    return sum(statistics[pid][1] for pid in tree if pid in statistics) * _TICK_MICROSECONDS


@contextmanager
def run_folder() -> Iterator[Path]:
    """A fresh folder on the disk of the checkout, removed afterwards with all that is in it."""
    folder = CACHE / f"run-{os.getpid()}-{time.monotonic_ns()}"
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def discard_leftovers() -> None:
    """Remove the folders of runs whose process is gone."""
    for folder in CACHE.glob("run-*-*"):
        if not Path("/proc", folder.name.split("-")[1]).exists():
            shutil.rmtree(folder)


@contextmanager
def konzilium(
    folder: Path, sink_port: int = 104, *, scrub_mb: int | None = None, audited: bool = True
) -> Iterator[Server]:
    """Our node as shipped, in a site folder that is made where it is missing.

    Args:
        folder: of the site.
        sink_port: where the sink listens.
        scrub_mb: how fast copies are read back, if not as shipped.
        audited: whether it writes the audit record; it always does as shipped.
    """
    if not folder.exists():
        make_site(folder, sink_port)
    port, tls, node = free_ports(3)
    environment = {
        "KONZILIUM_DICOM__PORT": str(port),
        "KONZILIUM_DICOM__TLS_PORT": str(tls),
        "KONZILIUM_WEB__PORT": "0",
        "KONZILIUM_NODE__PORT": str(node),
    }
    if scrub_mb is not None:
        environment["KONZILIUM_RECOVERY__SCRUB_MB"] = str(scrub_mb)
    if not audited:
        environment["PYTHONPATH"] = str(UNAUDITED)
    command = [str(KONZILIUM), "serve", str(folder)]
    with _running(command, folder.with_suffix(".log"), port, environment) as process:
        yield Server(node=Node(ae_title=AE_TITLE, address=("127.0.0.1", port)), process=process)


def make_site(folder: Path, sink_port: int = 104) -> None:
    """Make a site folder and name the devices, as an administrator would."""
    _konzilium("init", str(folder), "--site", SITE, "--web-port", "0")
    _konzilium("device", "add", str(folder), CALLING, "127.0.0.1", "104")
    _konzilium("device", "add", str(folder), SINK, "127.0.0.1", str(sink_port))


@contextmanager
def orthanc(folder: Path, sink_port: int = 104) -> Iterator[Server]:
    """Orthanc with its default settings; only names, ports and folders are set.

    Raises:
        RefusedError: it is not installed.
    """
    if not Path(ORTHANC).exists():
        raise RefusedError("the peer is missing: install Debian's package orthanc, as `make test` does")
    folder.mkdir(exist_ok=True)
    port, http = free_ports(2)
    settings = {
        "StorageDirectory": str(folder),
        "IndexDirectory": str(folder),
        "DicomPort": port,
        "HttpPort": http,
        "DicomModalities": {
            "bench": [CALLING, "127.0.0.1", 104],
            "sink": [SINK, "127.0.0.1", sink_port],
        },
    }
    configuration = folder.with_suffix(".json")
    configuration.write_text(json.dumps(settings, indent=1))
    command = [ORTHANC, str(configuration)]
    with _running(command, folder.with_suffix(".log"), port, {}) as process:
        yield Server(node=Node(ae_title="ORTHANC", address=("127.0.0.1", port)), process=process)


def _konzilium(*arguments: str) -> None:
    done = subprocess.run([str(KONZILIUM), *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RefusedError(f"konzilium {arguments[0]}: {(done.stderr or done.stdout).strip()[-500:]}")


@contextmanager
def _running(
    command: Sequence[str], log: Path, port: int, environment: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A server in the foreground, from when its DICOM door is open until it is told to stop."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            env=os.environ | {"TCP_NODELAY": "1"} | environment,
        )
    try:
        _await_door(process, port, log)
        yield process
    finally:
        stop(process)


def _await_door(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RefusedError(f"the server did not start: {log.read_text(errors='replace').strip()[-500:]}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """Tell a server to stop, and see that it does."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _statistics() -> Iterator[tuple[int, tuple[int, int]]]:
    """Of every process: its parent and its clock ticks, with those of children that have ended (proc(5))."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            yield int(entry.name), (int(fields[1]), sum(map(int, fields[11:15])))
