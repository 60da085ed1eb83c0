"""A connection to one node: it shows this node's certificate and knows the other's by its fingerprint.

No authority and no host name has a say: the fingerprints come from the signed metadata of the federation, and
the handshake proves that the other side holds the key (RFC 8446 4.4.3). Nothing is sent before they matched.
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any, Final, TypeAlias, cast

from node.domain.errors import PeerUnreachable
from node.domain.instance import Chunk
from services.https.limits import Patience, Read
from services.https.tls import shown

LONGEST_HEAD: Final = 16 * 1024
PIECE: Final = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where a node is, and by what it is recognised."""

    name: str
    host: str
    port: int
    fingerprints: frozenset[str]
    """SHA-256 of its certificates: one, or during a rotation two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """How long this node waits for another."""

    connect_seconds: float = 10.0
    stall_seconds: float = 30.0
    lowest_rate: int = 1024
    """Bytes a second of a body on average, once `stall_seconds` were spent waiting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A body that is made while it is sent, and made again where it has to be sent again."""

    length: int
    chunks: Callable[[], Iterable[Chunk]]


Content: TypeAlias = bytes | Upload


class Connection:
    """One connection, opened when it is needed and kept for the next request.

    `opened` counts how often it had to be.
    """

    def __init__(self, destination: Destination, tls: ssl.SSLContext, waits: Waits | None = None) -> None:
        self.destination = destination
        self.opened = 0
        self._tls = tls
        self._waits = waits or Waits()
        self._wire: HTTPConnection | None = None
        self._answer: HTTPResponse | None = None

    def __enter__(self) -> Connection:
        """Itself."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Close."""
        self.close()

    def request(
        self, method: str, target: str, *, headers: Mapping[str, str] | None = None, body: Content = b""
    ) -> Answer:
        """Send a request and read the head of the answer.

        A connection that the other side closed while it rested is opened again, once.

        Raises:
            PeerUnreachable: there is no answer, or it is another node that answers.
        """
        if self._answer is not None and not self._answer.isclosed():
            self.close()
        while True:
            rested = self._wire is not None
            try:
                return self._exchange(method, target, dict(headers or {}), body)
            except (OSError, HTTPException) as error:
                self.close()
                if not rested or isinstance(error, TimeoutError):
                    raise self.failed(error) from error

    def close(self) -> None:
        """End the connection; the next request opens another."""
        for part in (self._answer, self._wire):
            if part is not None:
                with suppress(OSError):
                    part.close()
        self._wire = self._answer = None

    def failed(self, error: Exception) -> PeerUnreachable:
        """What an error of the network means to the node."""
        return PeerUnreachable(self.destination.name, _reason(error))

    def _exchange(self, method: str, target: str, headers: dict[str, str], body: Content) -> Answer:
        wire = self._wire = self._wire or self._open()
        if isinstance(body, Upload):
            self._answer = self._bring(wire, method, target, headers, body)
        else:
            wire.request(method, target, body or None, headers)
            self._answer = wire.getresponse()
        if wire.sock is None:  # the answer is the last of this connection, and holds it open
            self._wire = None
        return Answer(self, self._answer)

    def _bring(
        self, wire: HTTPConnection, method: str, target: str, headers: dict[str, str], body: Upload
    ) -> HTTPResponse:
        """Send a body once the other side wants it (RFC 9110 10.1.1)."""
        wire.putrequest(method, target)
        fields = {**headers, "Content-Length": str(body.length), "Expect": "100-continue"}
        for name, value in fields.items():
            wire.putheader(name, value)
        wire.endheaders()
        said = _head(wire.sock)
        if said.split(b" ", 2)[1:2] != [b"100"]:
            return _response_after(wire, self._waits, said)
        try:
            for chunk in body.chunks():
                wire.sock.sendall(chunk)
        except TimeoutError:
            raise
        except OSError as error:
            return _early_answer(wire, error)
        return wire.getresponse()

    def _open(self) -> HTTPConnection:
        """Connect, shake hands, and see whom it reached.

        Raises:
            PeerUnreachable: it is another node.
        """
        to, waits = self.destination, self._waits
        plain = socket.create_connection((to.host, to.port), waits.connect_seconds)
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            secured = self._tls.wrap_socket(plain)
        except OSError:
            plain.close()
            raise
        if shown(secured) not in to.fingerprints:
            secured.close()
            raise PeerUnreachable(to.name, "another certificate answers at its address")
        secured.settimeout(waits.stall_seconds)
        self.opened += 1
        wire = HTTPConnection(to.host, to.port)
        wire.sock = secured
        wire.auto_open = 0
        wire.response_class = cast(Any, _ResponseClass(waits))
        return wire


class Answer:
    """The answer to a request: its head is here, its body is read by whoever wants it."""

    def __init__(self, connection: Connection, response: HTTPResponse) -> None:
        self._connection = connection
        self._response = response
        self.status = response.status
        self.headers = response.headers

    @property
    def left(self) -> int | None:
        """Bytes of the body that are still to come, or None where that was not said."""
        return self._response.length if not self._response.isclosed() else 0

    @property
    def peer(self) -> str:
        """The name of the node that answers."""
        return self._connection.destination.name

    def close(self) -> None:
        """Read no more; the connection is kept if nothing was left to read."""
        if self.left != 0:
            self._connection.close()

    def readinto(self, view: memoryview) -> int:
        """Read bytes until the view is full or the body ends.

        Raises:
            PeerUnreachable: the connection broke, or the bytes come too slowly.
        """
        try:
            return self._response.readinto(view)
        except (OSError, HTTPException, ValueError) as error:
            raise self.broken(_reason(error)) from error

    def fill(self, view: memoryview) -> None:
        """Read as many bytes as the view holds.

        Raises:
            PeerUnreachable: there are not so many.
        """
        if self.readinto(view) < len(view):
            raise self.broken("the answer ended early")

    def read(self, most: int) -> bytes:
        """The whole of a body that may not be longer than `most` bytes.

        Raises:
            PeerUnreachable: it is longer, or the connection broke.
        """
        buffer = bytearray(min(most, self.left if self.left is not None else most) + 1)
        count = self.readinto(memoryview(buffer))
        if count > most or self.left:
            raise self.broken(f"the answer is longer than {most} bytes")
        return bytes(buffer[:count])

    def broken(self, reason: str) -> PeerUnreachable:
        """Give the connection up, and say why."""
        self._connection.close()
        return PeerUnreachable(self._connection.destination.name, reason)


@dataclass(frozen=True, slots=True)
class _ResponseClass:
    """Makes responses that read from a socket with patience."""

    waits: Waits
    begun: bytes = b""
    """What was read of the response already."""

    def __call__(self, sock: ssl.SSLSocket, **options: Any) -> HTTPResponse:
        patience = Patience(grace=self.waits.stall_seconds, lowest_rate=self.waits.lowest_rate)
        return HTTPResponse(cast(socket.socket, _Readable(_Incoming(sock, patience, self.begun))), **options)


@dataclass(frozen=True, slots=True)
class _Readable:
    """What a response takes for a socket."""

    incoming: _Incoming

    def makefile(self, mode: str) -> _Incoming:
        """A file to read the response from."""
        return self.incoming


class _Incoming:
    """The bytes that come over a socket, as a response reads them: lines of its head, then runs of its body.

    It stands where a buffered reader would, which costs several calls for each TLS record.
    """

    def __init__(self, sock: ssl.SSLSocket, patience: Patience, begun: bytes) -> None:
        self._read = cast(Read, sock.read)
        self._hold = sock.makefile("rb", buffering=0)
        self._patience = patience
        self._held = bytearray(begun)

    def readline(self, limit: int) -> bytes:
        """Read up to the end of a line, or `limit` bytes of it."""
        while (end := self._held.find(b"\n", 0, limit) + 1) == 0 and len(self._held) < limit:
            piece = memoryview(bytearray(PIECE))
            count = self._patience.some(self._read, piece)
            if not count:
                end = len(self._held)
                break
            self._held += piece[:count]
        return self._take(end or limit)

    def readinto(self, buffer: memoryview) -> int:
        """Read until the buffer is full or the connection ends."""
        view = memoryview(buffer)
        count = min(len(self._held), len(view))
        view[:count] = self._take(count)
        return count + self._patience.all(self._read, view[count:])

    def read(self, size: int) -> bytes:
        """Read so many bytes, or what comes until the connection ends."""
        content = bytearray(size)
        return bytes(content[: self.readinto(memoryview(content))])

    def flush(self) -> None:
        """Nothing: what is read needs none."""

    def close(self) -> None:
        """Hold the socket no longer."""
        self._hold.close()

    def _take(self, count: int) -> bytes:
        taken = bytes(self._held[:count])
        del self._held[:count]
        return taken


def _head(sock: socket.socket) -> bytes:
    """The head of what the other side says next, and nothing behind it."""
    head = bytearray()
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        if not byte or len(head) >= LONGEST_HEAD:
            raise ConnectionResetError(errno.ECONNRESET, "the connection has ended")
        head += byte
    return bytes(head)


def _response_after(wire: HTTPConnection, waits: Waits, begun: bytes) -> HTTPResponse:
    """The response whose head was read."""
    plain, wire.response_class = wire.response_class, cast(Any, _ResponseClass(waits, begun))
    try:
        return wire.getresponse()
    finally:
        wire.response_class = plain


def _early_answer(wire: HTTPConnection, error: OSError) -> HTTPResponse:
    """What the other side said before it stopped listening to the body of a request."""
    try:
        return wire.getresponse()
    except (OSError, HTTPException):
        raise error from None


def _reason(error: Exception) -> str:
    """What went wrong on the network, in a few words."""
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or 'failed').lower().replace('_', ' ')}"
    if isinstance(error, TimeoutError):
        return "it takes too long"
    strerror = error.strerror if isinstance(error, OSError) else None
    return strerror or type(error).__name__
