"""The demonstration's nodes: real processes, each on a site folder of its own, on this machine only."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from node.domain.errors import NotASite, Rejected
from node.domain.ids import AETitle, SiteId
from node.settings import FILE, ae_title_of
from services.cli.demo.commands import Commands
from services.cli.demo.idp.people import HOSPITALS
from services.run.lock import running

HOST: Final = "127.0.0.1"
SERVE: Final = (sys.executable, "-m", "services.cli", "serve")
STOPPING: Final = 30.0
"""Seconds that a node may take to stop."""
WEB_HOSTS: Final = {"brno": HOST, "prague": "localhost"}
"""What browsers call the portals: this machine by two names, so that each keeps its own cookies."""
EVERY_ADDRESS: Final = '#host = "0.0.0.0"'
"""How a new `site.toml` says that a door listens on every address of the machine."""


NO_URL: Final = '#url = ""'
NO_SCOPES: Final = '#scopes = ""'
NO_DEMONSTRATION: Final = "#demonstration = false"


@dataclass(slots=True, kw_only=True)
class Node:
    """A site of the demonstration, and its node while one runs."""

    name: SiteId
    directory: Path
    dicom_port: int
    node_port: int
    web_port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def ae_title(self) -> AETitle:
        """By which devices call it."""
        return AETitle(ae_title_of(self.name))

    @property
    def everywhere(self) -> str:
        """The AE title by which devices ask all sites at once."""
        return f"{self.ae_title}-FED"

    @property
    def portal(self) -> str:
        """Where browsers of this machine find its portal."""
        return f"https://{WEB_HOSTS[self.name]}:{self.web_port}"

    @property
    def log(self) -> Path:
        """Where its log goes: beside the site folder."""
        return self.directory.parent / f"{self.name}.log"

    def start(self, **settings: object) -> None:
        """Start the node; `is_open` waits for its doors.

        Args:
            settings: that hold for this run alone, by the name of their environment variable.
        """
        chosen = {name: str(value) for name, value in settings.items()}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*SERVE, str(self.directory), "--json"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=os.environ | chosen,
                start_new_session=True,
            )

    def is_open(self) -> dict[str, Any]:
        """Wait until its doors are open; what it says of them.

        Raises:
            Rejected: it did not start; the error ends with the end of its log.
        """
        assert self.process is not None
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.process.stdout.close()
        if not line:
            raise Rejected(f"the node of {self.name} did not start: {self.log.read_text('utf-8')[-500:]}")
        said: dict[str, Any] = json.loads(line)
        return said

    def kill(self) -> None:
        """Kill every process of the node in the same instant."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def leave(self) -> None:
        """Let it run on when this process ends."""
        self.process = None

    def stop(self) -> None:
        """Stop the node, if one runs."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOPPING)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process = None


def made(konzilium: Commands, folder: Path, name: str) -> Node:
    """A new site on free ports of this machine, whose doors nobody else can reach."""
    dicom, web, nodes = free_ports(3)
    node = Node(name=SiteId(name), directory=folder / name, dicom_port=dicom, node_port=nodes, web_port=web)
    own = ("--dicom-port", dicom, "--dicom-tls-port", 0, "--web-port", web, "--node-port", nodes)
    konzilium("init", node.directory, "--site", name, *own, "--node-url", f"https://{HOST}:{nodes}")
    settings = node.directory / FILE
    text = settings.read_text("utf-8").replace(EVERY_ADDRESS, f'host = "{HOST}"')
    text = text.replace(NO_SCOPES, f'scopes = "{HOSPITALS[name].scope}"')
    before, web_section, after = text.partition("[web]")
    after = after.replace(NO_URL, f'url = "{node.portal}"', 1).replace(
        NO_DEMONSTRATION, "demonstration = true"
    )
    settings.write_text(before + web_section + after, "utf-8")
    return node


class Running(Protocol):
    """Something that has a process of its own while it runs."""

    process: subprocess.Popen[bytes] | None

    def stop(self) -> None:
        """End the process, if there is one."""
        ...


@contextmanager
def ending(nodes: Iterable[Running]) -> Iterator[None]:
    """See that these nodes have stopped at the end, however it comes: also by Ctrl-C, SIGTERM or SIGHUP."""
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, _interrupt) for number in signals}
    try:
        yield
    finally:
        for number in signals:
            signal.signal(number, signal.SIG_IGN)
        for node in nodes:
            if node.process is not None:
                node.process.terminate()
        for node in nodes:
            node.stop()
        for number, handler in before.items():
            signal.signal(number, handler)


def stop_all(folder: Path) -> list[str]:
    """Stop the nodes of the sites in a folder; returns which were running.

    Raises:
        NotASite: it holds no site.
        Rejected: one does not stop.
    """
    sites = {path.parent.name: running(path.parent) for path in sorted(folder.glob(f"*/{FILE}"))}
    if not sites:
        raise NotASite(folder)
    held = {name: pid for name, pid in sites.items() if pid}
    for pid in held.values():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOPPING
    for name, pid in held.items():
        while running(folder / name) is not None:
            if time.monotonic() > deadline:
                raise Rejected(f"the node of {name}, process {pid}, does not stop")
            time.sleep(0.1)
    return list(held)


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody uses now."""
    probes = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
