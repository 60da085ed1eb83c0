"""One connection's socket: the handshake, the heads and the bodies that come over it.

```
accepted ── handshake ──▶ secured ── first byte of a head ──▶ gathering ── its end ──▶ a request
    │                        ▲                                    │                       │
    │ handshake_seconds      │ idle_seconds                       │ head_seconds          │ answered
    ▼                        └────────────────────────────────────┼───────────────────────┘
 closed ◀─────────────────────────────────────────────────────────┘
```

Until a head is complete nothing here waits: what has come is taken in, and the connection goes back to where
one thread watches all that rest. Bodies are read by the thread of their request, within `Patience`.
"""

from __future__ import annotations

import errno
import socket
import ssl
import time
from contextlib import suppress
from typing import Final

from node.domain.instance import Chunk
from services.https.limits import Limits, Patience
from services.https.tls import Secured, shown

END: Final = b"\r\n\r\n"
PIECE: Final = 16 * 1024
BUFFER: Final = 64 * 1024
"""Bytes that a reader of bodies reads ahead."""

SLICE: Final = 128 * 1024
"""Bytes that the other side has to take within `stall_seconds`."""

LINGER_SECONDS: Final = 2.0
LINGER_BYTES: Final = 8 * 1024 * 1024


class Wire:
    """The socket of a connection, in the state that the drawing shows."""

    def __init__(self, accepted: socket.socket, limits: Limits) -> None:
        self.socket = accepted
        self.expires = time.monotonic() + limits.handshake_seconds
        self.certificate: str | None = None
        self.certificate_der: bytes | None = None
        self.secured: Secured | None = None
        self._limits = limits
        self._held = bytearray()
        self._patience = Patience(grace=limits.stall_seconds, lowest_rate=limits.lowest_rate)
        accepted.setblocking(False)

    def shake(self, current: Secured) -> bool:
        """Go on with the handshake; whether it is done.

        Raises:
            OSError: it failed.
        """
        if self.secured is not None:
            return True
        if not isinstance(self.socket, ssl.SSLSocket):
            self.socket = current.context.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )
        try:
            self.socket.do_handshake()
        except ssl.SSLWantReadError:
            return False
        self.certificate_der = self.socket.getpeercert(binary_form=True)
        self.certificate = shown(self.socket)
        self.secured = current
        self.rest()
        return True

    def gather(self) -> bool:
        """Take in what has come of a head; whether it is complete, or too long to wait for its end.

        Raises:
            OSError: the connection has ended.
        """
        self.socket.setblocking(False)
        while not self._has_head():
            try:
                piece = self.socket.recv(PIECE)
            except ssl.SSLWantReadError:
                return False
            if not piece:
                raise _ended()
            if not self._held:
                self.expires = time.monotonic() + self._limits.head_seconds
            self._held += piece
        return True

    def begin(self) -> None:
        """Wait from now on for what is read and written, as a request does."""
        self.socket.settimeout(self._limits.stall_seconds)
        self._patience = Patience(grace=self._limits.stall_seconds, lowest_rate=self._limits.lowest_rate)

    def rest(self) -> None:
        """Wait for the next request."""
        seconds = self._limits.head_seconds if self._held else self._limits.idle_seconds
        self.expires = time.monotonic() + seconds

    def is_ready(self) -> bool:
        """Whether there is something to do although nothing new may come."""
        return self._has_head() or self._pending() > 0

    def readinto(self, view: memoryview) -> int:
        """Read some bytes, at least one; as many as asked for, if more are than a buffer would read ahead.

        Raises:
            OSError: the connection has ended, or its bytes come too slowly (`TimeoutError`).
        """
        count = min(len(self._held), len(view))
        if count:
            view[:count] = self._held[:count]
            del self._held[:count]
            return count
        take = self._patience.all if len(view) > BUFFER else self._patience.some
        count = take(self._read, view)
        if count < (len(view) if len(view) > BUFFER else 1):
            raise _ended()
        return count

    def readline(self, size: int) -> bytes:
        """Read up to the end of a line, or `size` bytes of it."""
        while (end := self._held.find(b"\n", 0, size) + 1) == 0 and len(self._held) < size:
            piece = memoryview(bytearray(PIECE))
            count = self._patience.some(self._read, piece)
            if not count:
                raise _ended()
            self._held += piece[:count]
        line = bytes(self._held[: end or size])
        del self._held[: end or size]
        return line

    def write(self, chunk: Chunk) -> None:
        """Send all of a chunk, without a copy of it.

        Raises:
            OSError: the connection has ended, or the other side takes too long.
        """
        rest = memoryview(chunk).cast("B")
        try:
            while rest.nbytes:
                self.socket.sendall(rest[:SLICE])
                rest = rest[SLICE:]
        except ssl.SSLError:  # the other side hung up without a word
            raise _ended() from None

    def refuse(self, answer: bytes) -> None:
        """Say something in passing, if that takes no time."""
        with suppress(OSError):
            self.socket.setblocking(False)
            if self.secured is not None:
                self.socket.recv(PIECE)
        with suppress(OSError):
            if self.secured is not None:
                self.socket.send(answer)

    def linger(self) -> None:
        """Let the other side read the last answer although it is still sending."""
        deadline, left = time.monotonic() + LINGER_SECONDS, LINGER_BYTES
        with suppress(OSError):
            socket.socket.shutdown(self.socket, socket.SHUT_WR)
            while left > 0 and (wait := deadline - time.monotonic()) > 0:
                self.socket.settimeout(wait)
                count = len(self.socket.recv(PIECE))
                left = left - count if count else 0

    def close(self) -> None:
        """End the connection."""
        with suppress(OSError):
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)
        with suppress(OSError):
            self.socket.close()

    def _read(self, most: int, view: memoryview) -> int:
        return self.socket.recv_into(view, most)

    def _has_head(self) -> bool:
        return END in self._held or len(self._held) > self._limits.head_bytes

    def _pending(self) -> int:
        """Bytes that were decrypted and not read."""
        return self.socket.pending() if isinstance(self.socket, ssl.SSLSocket) else 0


def _ended() -> OSError:
    return ConnectionResetError(errno.ECONNRESET, "the connection has ended")
