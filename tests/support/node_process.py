"""A node as a person runs it: `konzilium init` and `konzilium serve` in processes of their own.

```
node = NodeProcess.make(tmp_path / "brno", ae_title="BRNO")
node.add_device("SENDER")
with node:                       # serve; stopped in order at the end
    ... node.dicom_port ...
    node.kill()                  # as a power switch would: every process of the node, at once
    node.start()                 # it must come up by itself
```
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from tests.support.peers import free_port

KONZILIUM = Path(sys.executable).with_name("konzilium")
PATIENCE = 60.0
"""Seconds a node may take to open its doors, or to stop, on a machine that is busy."""


class NodeProcess:
    """One site folder and, while it is served, the processes of its node."""

    def __init__(
        self,
        folder: Path,
        *,
        site: str,
        ae_title: str,
        dicom_port: int,
        tls_port: int,
        node_port: int,
        url: str | None = None,
        logs: Path | None = None,
    ) -> None:
        self.folder = folder
        self.site = site
        self.ae_title = ae_title
        self.host = "127.0.0.1"
        self.dicom_port = dicom_port
        self.tls_port = tls_port
        self.node_port = node_port
        self.url = url or f"https://{self.host}:{node_port}"
        self.log = (logs or folder.parent) / f"{folder.name}.{dicom_port}.log"
        self.said = self.log.with_suffix(".out")
        self.environment: dict[str, str] = {}
        self._mark = f"SERVED_FOR_TEST={uuid4()}"
        self._served: subprocess.Popen[bytes] | None = None

    @classmethod
    def make(
        cls,
        folder: Path,
        *,
        site: str = "brno",
        ae_title: str = "KONZILIUM",
        url: str | None = None,
        logs: Path | None = None,
    ) -> Self:
        """Make a site folder with `konzilium init`, on ports that are free.

        Args:
            folder: the site folder to make.
            site: its name.
            ae_title: the AE title of its node.
            url: where other nodes are told to call it, `none` for nowhere; at its door unless it is said.
            logs: where the node's log goes; beside the site folder unless it is said.
        """
        made = cls(
            folder, site=site, ae_title=ae_title, url=url, logs=logs,
            dicom_port=free_port(), tls_port=free_port(), node_port=free_port(),
        )  # fmt: skip
        made._init()
        return made

    def _init(self) -> None:
        """Run `konzilium init` for the chosen names and ports."""
        konzilium(
            "init", self.folder, "--site", self.site, "--ae-title", self.ae_title,
            "--dicom-port", self.dicom_port, "--dicom-tls-port", self.tls_port,
            "--node-port", self.node_port, "--node-url", self.url, "--web-port", 0,
        )  # fmt: skip

    def command(self, *words: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `konzilium COMMAND... DIR ARGUMENTS...`; the words up to the first `...` precede the folder."""
        place = words.index(...)
        return konzilium(*words[:place], self.folder, *words[place + 1 :], check=check)

    def add_device(self, ae_title: str, host: str = "127.0.0.1", port: int = 11112, *options: object) -> None:
        """Put a device on the list; it may store, query and retrieve unless the options say less."""
        self.command("device", "add", ..., ae_title, host, port, *options)

    def set(self, setting: str, value: object) -> None:
        """Change a setting (`dicom.max_associations`) of the node when it is started again.

        It is changed in the environment that the node inherits, where an administrator may do so too.
        """
        section, _, key = setting.partition(".")
        self.environment[f"KONZILIUM_{section}__{key}".upper()] = str(value)

    def status(self) -> dict[str, Any]:
        """What `konzilium status --json` says."""
        said = self.command("status", ..., "--json", check=False).stdout
        answer: dict[str, Any] = json.loads(said)
        return answer

    @property
    def pid(self) -> int:
        """The process that supervises the others (or the program that it runs under)."""
        assert self._served is not None, "the node is not running"
        return self._served.pid

    @property
    def running(self) -> bool:
        """Whether the supervising process lives."""
        return self._served is not None and self._served.poll() is None

    def start(self, *before: str) -> Self:
        """Serve the site and return when its doors are open.

        Args:
            *before: a program to run the node under, with its arguments (`strace`, `-f`, ...).
        """
        assert not self.running, "the node is running already"
        with self.log.open("ab") as log, self.said.open("wb") as said:
            self._served = subprocess.Popen(
                [*before, str(KONZILIUM), "serve", str(self.folder), "--json"],
                stdin=subprocess.DEVNULL, stdout=said, stderr=log, start_new_session=True,
                env=os.environ | self.environment | dict([self._mark.split("=")]),
            )  # fmt: skip
        try:
            self._wait(lambda: b'"doors"' in self.said.read_bytes(), "say that its doors are open")
        except BaseException:
            self.kill()
            raise
        return self

    def wait_for_door(self, port: int) -> None:
        """Return when somebody listens on the port, as after a process of the node was killed."""

        def open_() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex((self.host, port)) == 0

        self._wait(open_, f"open port {port}")

    def _wait(self, done: Callable[[], bool], what: str) -> None:
        """Return when it is done; a node that ended instead is an error with its log."""
        until = time.monotonic() + PATIENCE
        while not done():
            assert self.running, f"the node ended instead of serving:\n{self.last_words()}"
            assert time.monotonic() < until, f"the node did not {what}:\n{self.last_words()}"
            time.sleep(0.02)

    def last_words(self, lines: int = 60) -> str:
        """The end of what the node wrote."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def processes(self) -> list[int]:
        """The process ids of the node, the supervisor first; orphans of a dead supervisor too."""
        return sorted(carriers(self._mark), key=lambda pid: (self._served is None or pid != self.pid, pid))

    def part(self, name: str) -> int | None:
        """The process of a part of the node (`dicom`, `nodes`, `worker`), if it lives."""
        for pid in self.processes():
            with suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if b"services.run" in words and name.encode() in words:
                    return pid
        return None

    def stop(self) -> int:
        """Ask the node to stop and return its exit code; what does not stop is killed, and an error."""
        if self._served is None:
            return 0
        if self.running:
            self._served.send_signal(signal.SIGTERM)
        try:
            code = self._served.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the node did not stop:\n{self.last_words()}") from None
        left = self.processes()
        self.kill()
        assert not left, f"the node has stopped and left processes: {left}"
        return code

    def kill(self) -> None:
        """End every process of the node at once with SIGKILL, and return when all are gone."""
        until = time.monotonic() + PATIENCE
        while found := self.processes():
            for pid in found:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            assert time.monotonic() < until, f"processes outlive SIGKILL: {found}"
        if self._served is not None:
            self._served.wait()
            self._served = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def konzilium(*words: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end; with `check`, a failure is an error with what it said."""
    done = subprocess.run(
        [str(KONZILIUM), *map(str, words)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE * 2, check=False,
    )  # fmt: skip
    if check and done.returncode:
        raise AssertionError(f"konzilium {words}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def carriers(mark: str) -> list[int]:
    """The living processes that were started with the mark in their environment."""
    found = []
    for place in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if mark.encode() in place.read_bytes():
                found.append(int(place.parent.name))
    return found
