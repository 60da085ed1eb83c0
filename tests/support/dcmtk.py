"""DCMTK's command line tools, pointed at a node."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from tests.support.node_process import NodeProcess
from tests.support.peers import run

LITTLE_ROOM = "65536"
"""Bytes of TCP buffers (DCMTK's TCP_BUFFER_LENGTH): what the tool has not asked for stays with the sender."""
_STATUS = re.compile(r"^D: DIMSE Status +: 0x([0-9a-fA-F]{4})", re.MULTILINE)
_REASON = re.compile(r"^F: Reason: (.+)$", re.MULTILINE)
_COUNT = re.compile(r"^D: (Completed|Failed|Warning) Suboperations +: (\d+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Said:
    """What a tool said, and what came with it."""

    text: str
    code: int
    rows: list[Dataset] = field(default_factory=list)

    @property
    def statuses(self) -> list[int]:
        """The status of every DIMSE response, in order."""
        return [int(status, 16) for status in _STATUS.findall(self.text)]

    @property
    def echoed(self) -> bool:
        """Whether the C-ECHO was answered with success."""
        return self.code == 0 and "Received Echo Response (Success)" in self.text

    @property
    def status(self) -> int:
        """The status of the last response."""
        assert self.statuses, f"no response:\n{self.text}"
        return self.statuses[-1]

    @property
    def reason(self) -> str:
        """Why the association was rejected."""
        found = _REASON.search(self.text)
        assert found, f"not rejected:\n{self.text}"
        return found[1]

    @property
    def counts(self) -> dict[str, int]:
        """Sub-operations as the last response that counted them did."""
        return {name.lower(): int(count) for name, count in _COUNT.findall(self.text)}


@dataclass(frozen=True, slots=True)
class Dcmtk:
    """The tools, calling a node by one AE title."""

    node: NodeProcess
    calling: str = "SENDER"
    tls: tuple[object, ...] = ()
    """Options that make a tool use TLS; it calls the TLS port then."""

    def call(self, tool: str, *options: object, files: tuple[object, ...] = (), called: str = "") -> Said:
        """Run a tool against the node, telling everything (`-d`)."""
        port = self.node.tls_port if self.tls else self.node.dicom_port
        done: subprocess.CompletedProcess[str] = run(
            tool, "-d", *self.tls, "-aet", self.calling, "-aec", called or self.node.ae_title,
            *options, self.node.host, port, *files, check=False,
        )  # fmt: skip
        return Said(done.stdout, done.returncode)

    def echo(self, *, called: str = "") -> Said:
        """C-ECHO."""
        return self.call("echoscu", called=called)

    def store(self, *files: Path, options: tuple[object, ...] = ()) -> Said:
        """C-STORE of files by storescu."""
        return self.call("storescu", *options, files=files)

    def send(self, *files: Path, options: tuple[object, ...] = ()) -> Said:
        """C-STORE of files or folders by dcmsend."""
        return self.call("dcmsend", *options, files=files)

    def find(self, *keys: str, model: str = "-S", options: tuple[object, ...] = ()) -> Said:
        """C-FIND; the rows are as DCMTK has written them to files."""
        with tempfile.TemporaryDirectory() as folder:
            said = self.call("findscu", model, "-X", "-od", folder, *options, *_keys(keys))
            rows = [dcmread(path) for path in sorted(Path(folder).iterdir())]
        return Said(said.text, said.code, rows)

    def get(self, folder: Path, *keys: str, model: str = "-S", options: tuple[object, ...] = ()) -> Said:
        """C-GET into a folder, bytes as they came."""
        folder.mkdir(parents=True, exist_ok=True)
        return self.call("getscu", model, "+B", "-od", folder, *options, *_keys(keys))

    def move(self, destination: str, *keys: str, model: str = "-S", options: tuple[object, ...] = ()) -> Said:
        """C-MOVE to a destination."""
        return self.call("movescu", model, "-aem", destination, *options, *_keys(keys))


def _keys(keys: tuple[str, ...]) -> list[str]:
    return [word for key in keys for word in ("-k", key)]
