"""One association's socket: buffered reads, deadlines and writes, over TLS and plain TCP alike."""

from __future__ import annotations

import mmap
import select
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain

from node.domain.instance import Chunk

CAPACITY = 1 << 20
"""Bytes of the read buffer; the most that one `need` may ask for."""

BATCH = 1 << 20
"""The most that one write to a TLS connection joins."""

VECTORS = 512
"""The most buffers handed to one `sendmsg` (IOV_MAX is 1024 on Linux)."""

_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)


class WireError(Exception):
    """The conversation cannot go on; a handler lets this pass."""


class Gone(WireError):
    """The peer closed the connection."""


class Silent(WireError):
    """The peer did not send a byte for as long as it may be silent."""


class Wire:
    """A connection with a read buffer of its own, used by one thread at a time.

    Bytes stay in the buffer until they are skipped or taken, so a reader may look at a message and
    still leave it to somebody else. Views into the buffer are valid until the next call.
    """

    def __init__(
        self, sock: socket.socket, *, timeout: float | None = None, capacity: int = CAPACITY
    ) -> None:
        """Take over a connected socket.

        Args:
            sock: the connection; its own time-out is replaced when `timeout` is given.
            timeout: how long the peer may be silent inside a message and while it is written to.
            capacity: bytes of the read buffer.
        """
        self.socket = sock
        self.capacity = capacity
        self._view = memoryview(mmap.mmap(-1, capacity, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
        self._start = 0
        self._end = 0
        self._deadline: float | None = None
        self._timeout: float | None = None
        self._tls = isinstance(sock, ssl.SSLSocket)
        self.be_patient(sock.gettimeout() if timeout is None else timeout)
        self._no_delay()

    @property
    def held(self) -> int:
        """Bytes that were read from the connection and not yet taken."""
        return self._end - self._start

    def be_patient(self, seconds: float | None) -> None:
        """Let every read and write wait so long from now on."""
        self._timeout = seconds
        self.socket.settimeout(seconds)

    def finish_by(self, deadline: float | None) -> None:
        """Let every read end by this moment of the monotonic clock, or never with None."""
        self._deadline = deadline
        self.be_patient(self._timeout)

    def ready(self) -> bool:
        """Whether a read would return at once.

        Raises:
            Gone: the socket is closed.
        """
        return self._poll(None, 0)

    def wait(self, bell: socket.socket, seconds: float) -> bool:
        """Wait until bytes arrive, the bell rings or the time is over; say whether there are bytes.

        Raises:
            Gone: the socket is closed.
        """
        if not self.held:
            self.acknowledge()
        return self._poll(bell, seconds)

    def need(self, count: int) -> memoryview:
        """A view of everything held, at least `count` bytes, without taking any.

        Raises:
            Gone: the connection ended before.
            Silent: nothing came for too long.
            ValueError: more than the buffer can hold.
        """
        if count > self.capacity:
            raise ValueError("more than the read buffer can hold")
        while self._end - self._start < count:
            if not self._fill(count):
                raise Gone
        return self._view[self._start : self._end]

    def skip(self, count: int) -> None:
        """Take `count` bytes that are held and drop them."""
        self._start += count
        if self._start == self._end:
            self._start = self._end = 0

    def unread(self, data: bytes) -> None:
        """Put bytes back in front of those that are held."""
        if len(data) > self._start:
            room = len(data) + self.held
            self._view[len(data) : room] = self._view[self._start : self._end]
            self._start, self._end = len(data), room
        self._start -= len(data)
        self._view[self._start : self._start + len(data)] = data

    def read(self, count: int) -> bytearray:
        """Take `count` bytes; fewer only when the connection ended before.

        Raises:
            Gone: the connection broke.
            Silent: nothing came for too long.
        """
        taken = bytearray()
        while len(taken) < count and (self.held or self._fill(1)):
            size = min(self.held, count - len(taken))
            taken += self._view[self._start : self._start + size]
            self.skip(size)
        return taken

    def discard(self) -> bool:
        """Drop what has arrived; say whether the connection still stands."""
        self._start = self._end = 0
        try:
            while self.ready():
                if not self.socket.recv_into(self._view):
                    return False
        except (OSError, Gone):
            return False
        return True

    def send(self, parts: Sequence[Chunk]) -> None:
        """Write all parts, in as few writes as the connection allows.

        Raises:
            Gone: the peer does not take them, or not in time; nothing more can be sent.
        """
        try:
            if self._tls:
                self._send_joined(parts)
            else:
                self._send_gathered(parts)
        except OSError as error:
            raise Gone from error
        self.acknowledge()

    def acknowledge(self) -> None:
        """Have received bytes acknowledged at once: peers with Nagle's algorithm wait for it."""
        if _QUICKACK is not None:
            with suppress(OSError):
                self.socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)

    def _fill(self, count: int) -> bool:
        """Read once, making room for `count` bytes in all; False where the connection has ended."""
        if self._start + count > self.capacity:
            self._view[: self.held] = self._view[self._start : self._end]
            self._start, self._end = 0, self.held
        self._limit()
        try:
            got = self.socket.recv_into(self._view[self._end :])
        except TimeoutError as error:
            raise Silent from error
        except OSError as error:
            raise Gone from error
        self._end += got
        return got > 0

    def _limit(self) -> None:
        """Shorten the time-out of the next read to what the deadline leaves."""
        if self._deadline is None:
            return
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise Silent
        self.socket.settimeout(left if self._timeout is None else min(left, self._timeout))

    def _poll(self, bell: socket.socket | None, seconds: float) -> bool:
        """Whether there is something to read now, or comes before the bell rings or the time is over."""
        if self.held or self._pending():
            return True
        poll = select.poll()
        try:
            poll.register(self.socket, select.POLLIN)
            if bell is not None:
                poll.register(bell, select.POLLIN)
            mine = self.socket.fileno()
            return any(fd == mine for fd, _ in poll.poll(seconds * 1000)) and self._decrypted()
        except (OSError, ValueError) as error:
            raise Gone from error

    def _pending(self) -> bool:
        """Whether TLS holds decrypted bytes that no poll can see."""
        return isinstance(self.socket, ssl.SSLSocket) and self.socket.pending() > 0

    def _decrypted(self) -> bool:
        """Whether what has come is more than a piece of TLS's own conversation; it is read then."""
        if not self._tls:
            return True
        self.socket.settimeout(0)
        try:
            self._end += self.socket.recv_into(self._view[self._end :])
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except OSError:
            return True  # the next read says what it is
        finally:
            self.socket.settimeout(self._timeout)
        return True

    def _send_gathered(self, parts: Sequence[Chunk]) -> None:
        """Write by scatter and gather: no byte of the parts is copied."""
        for first in range(0, len(parts), VECTORS):
            waiting = parts[first : first + VECTORS]
            while waiting:
                waiting = _after(waiting, self.socket.sendmsg(waiting))

    def _send_joined(self, parts: Sequence[Chunk]) -> None:
        """Write joined runs: TLS knows no gathering, and each write would become a record."""
        for run in _runs(parts):
            self.socket.sendall(run)

    def _no_delay(self) -> None:
        """Send each write at once: responses are small and the peer waits for them."""
        with suppress(OSError, AttributeError):
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _after(parts: Sequence[Chunk], sent: int) -> Sequence[Chunk]:
    """What is left of the parts after the first `sent` bytes."""
    for place, part in enumerate(parts):
        if sent < len(part):
            return list(chain((memoryview(part)[sent:],), parts[place + 1 :]))
        sent -= len(part)
    return ()


def _runs(parts: Sequence[Chunk]) -> Iterator[bytes | Chunk]:
    """The parts joined into runs of about `BATCH` bytes; a long part goes as it is."""
    run: list[Chunk] = []
    size = 0
    for part in parts:
        if run and size + len(part) > BATCH:
            yield b"".join(run)
            run, size = [], 0
        run.append(part)
        size += len(part)
    if run:
        yield run[0] if len(run) == 1 else b"".join(run)
