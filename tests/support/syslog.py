"""Receivers of syslog over TLS: Debian's rsyslog in the foreground, and one that a test tells what to do."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.certificates import Identity
from tests.support.peers import free_port, requires, requires_file
from tests.support.sinks import wait_for

PATIENCE = 20.0
_LINE = re.compile(
    r"<(?P<priority>\d+)>1 (?P<at>\S+) (?P<host>\S+) konzilium - DICOM\+RFC3881 "
    r'\[meta sequenceId="(?P<seq>\d+)"\]\[origin [^]]+\] \ufeff?(?P<message><AuditMessage>.*)'
)


@dataclass(frozen=True, slots=True)
class Line:
    """One line as a repository keeps it."""

    priority: int
    seq: int
    message: str


def lines_of(text: str) -> list[Line]:
    """The lines of what was received; each has to be one of ours."""
    read = [_LINE.fullmatch(line) for line in text.splitlines()]
    assert all(read), text
    return [Line(int(one["priority"]), int(one["seq"]), one["message"]) for one in read if one]


@contextmanager
def rsyslog(folder: Path, shown: Identity, trusted: Sequence[str]) -> Iterator[tuple[int, Path]]:
    """Run an rsyslog that listens with TLS on this machine: its port, and the file that it writes.

    Args:
        folder: for everything of it.
        shown: its certificate.
        trusted: certificates (PEM) of those who may send.
    """
    program, port, kept = requires("rsyslogd"), free_port(), folder / "received.log"
    requires_file("usr/lib/*/rsyslog/lmnsd_ossl.so")
    (folder / "trusted.pem").write_text("".join(trusted))
    (folder / "rsyslog.conf").write_text(
        f'''
        global(workDirectory="{folder}" maxMessageSize="64k" parser.escapeControlCharactersOnReceive="off"
            defaultNetstreamDriver="ossl" defaultNetstreamDriverCAFile="{folder}/trusted.pem"
            defaultNetstreamDriverCertFile="{shown.certificate}"
            defaultNetstreamDriverKeyFile="{shown.private_key}")
        module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1"
            streamDriver.authMode="x509/certvalid")
        input(type="imtcp" port="{port}" address="127.0.0.1" ruleset="audit")
        template(name="raw" type="string" string="%rawmsg%\\n")
        ruleset(name="audit") {{ action(type="omfile" file="{kept}" template="raw") }}
        '''
    )
    with open(folder / "rsyslog.out", "wb") as out:
        words = [program, "-n", "-C", "-f", folder / "rsyslog.conf", "-i", folder / "rsyslog.pid"]
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        wait_for(port)
        yield port, kept
    finally:
        process.terminate()
        process.wait(PATIENCE)


@dataclass
class Receiver:
    """Receives syslog over TLS on this machine; breaks off as a test tells it."""

    shown: Identity
    lines: list[bytes] = field(default_factory=list)
    breaks_after: int | None = None
    """It goes away without a word after so many messages of a connection."""
    turns_away: bool = False
    """It ends each connection in order, and reads nothing of it, as who does not know the sender does."""
    connections: int = 0

    def __post_init__(self) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(self.shown.certificate, self.shown.private_key)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        while True:
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            raw.settimeout(PATIENCE)
            self.connections += 1
            with raw, suppress(OSError), self._context.wrap_socket(raw, server_side=True) as tls:
                if self.turns_away:
                    tls.setblocking(False)
                    tls.unwrap()
                else:
                    self._take(tls)

    def _take(self, tls: ssl.SSLSocket) -> None:
        """Read messages by their lengths to the end, and answer that in order."""
        with tls.makefile("rb") as stream:
            for count in range(1 << 20):
                if count == self.breaks_after:
                    return
                length = b"".join(iter(lambda: stream.read(1).strip(), b""))
                if not length:
                    break
                self.lines.append(stream.read(int(length)))
            tls.unwrap()
