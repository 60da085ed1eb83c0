"""Two sites that know each other: joined as their administrators would, served on hosts of their own.

Everything runs in network namespaces (`bench.network.hosts`), so the addresses of the sites, which stand in
the metadata that they exchange, can be the same in each run.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import servers
from bench.blaster import CALLING
from bench.network.hosts import ADDRESSES, Host, hosts
from bench.wire import RefusedError

BRNO, PRAGUE = "brno", "prague"
DICOM_PORT = 11112
_NODE_PORTS = {BRNO: 8443, PRAGUE: 9443}
_SECONDS = 120
_IDLE = 60_000
"""Microseconds of processor time in a second that two sites use when there is nothing to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The folders of two sites that do not run."""

    brno: Path
    prague: Path

    def copy(self, folder: Path) -> Pair:
        """The same in another folder; the stored objects, which never change, are shared."""
        for site in (self.brno, self.prague):
            shutil.copytree(site, folder / site.name, copy_function=_copied)
        return Pair(brno=folder / BRNO, prague=folder / PRAGUE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A site that is served on a host."""

    folder: Path
    host: Host
    process: subprocess.Popen[bytes]

    def cpu(self) -> int:
        """Microseconds of processor time that it has used so far, all its processes together."""
        return servers.cpu_of(self.process.pid)


def joined(folder: Path, *, instances: int = 0) -> Pair:
    """Make two sites that exchange everything; Prague has cut the link until it is resumed.

    Args:
        folder: where their folders are made.
        instances: CT slices that Brno has received meanwhile, which it owes to Prague.
    """
    pair = Pair(brno=folder / BRNO, prague=folder / PRAGUE)
    with hosts(None) as (one, other):
        for number, (host, site) in enumerate(((one, pair.brno), (other, pair.prague))):
            _init(host, site, DICOM_PORT + number)
        said(one, "device", "add", pair.brno, CALLING, "127.0.0.1", 104)
        with serving(one, pair.brno):
            invitation = json.loads(said(one, "invite", pair.brno, "--site", PRAGUE, "--yes", "--json"))
            code = ("--code", invitation["code"], "--yes", "--json")
            said(other, "join", pair.prague, invitation["token"], *code)
            said(other, "suspend", pair.prague, BRNO)
            if instances:
                inside(one, "store", instances, seconds=_SECONDS + instances)
    return pair


@contextmanager
def serving(host: Host, folder: Path) -> Iterator[Running]:
    """Serve a site, from when all its doors are open until it is told to stop."""
    log = folder.with_suffix(".log")
    with log.open("ab") as errors:
        process = subprocess.Popen(
            host.command(servers.KONZILIUM, "serve", folder, "--json"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    assert process.stdout is not None
    try:
        ready, _, _ = select.select([process.stdout], [], [], servers.START_SECONDS)
        if not ready or not process.stdout.readline():
            raise RefusedError(f"{folder.name} did not start: {log.read_text(errors='replace')[-500:]}")
        yield Running(folder=folder, host=host, process=process)
    finally:
        servers.stop(process)
        process.stdout.close()


def at_rest(*sites: Running) -> None:
    """Wait until sites that were just started have nothing more to do."""
    used, give_up = 0, time.monotonic() + servers.START_SECONDS
    while time.monotonic() < give_up:
        before, used = used, sum(site.cpu() for site in sites)
        if used - before < _IDLE:
            return
        time.sleep(1)


def said(host: Host, *words: object, seconds: float = _SECONDS) -> str:
    """What `konzilium` says to a command on a host.

    Raises:
        RefusedError: it failed.
    """
    return _output(host.command(servers.KONZILIUM, *words), seconds)


def inside(host: Host, *words: object, seconds: float = _SECONDS) -> str:
    """What `bench.inside` says to a task on a host; its network is not that of this process."""
    return _output(host.command(sys.executable, "-m", "bench.inside", *words), seconds)


def _output(command: list[str], seconds: float) -> str:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
        cwd=Path(__file__).parents[1],
    )
    if done.returncode not in (0, 5):
        raise RefusedError(f"{' '.join(command[4:7])}: {(done.stderr or done.stdout).strip()[-500:]}")
    return done.stdout


def _init(host: Host, folder: Path, dicom_port: int) -> None:
    site = folder.name
    port = _NODE_PORTS[site]
    address = f"https://{ADDRESSES[site == PRAGUE]}:{port}"
    said(
        host, "init", folder, "--site", site, "--dicom-port", dicom_port, "--dicom-tls-port", 0,
        "--web-port", 0, "--node-port", port, "--node-url", address,
    )  # fmt: skip


def _copied(source: str, target: str) -> str:
    if f"{os.sep}blobs{os.sep}" in source:
        os.link(source, target)
    else:
        shutil.copy2(source, target)
    return target
