"""What a session needs of HTTP, and connections that several threads may use, one after another."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.message import Message
from typing import Protocol

from services.https.client import Connection, Content, Destination, Waits
from services.soap.framework.blob import BLOCK


class Reply(Protocol):
    """An answer: its head is here, its body is read by whoever wants it."""

    @property
    def status(self) -> int:
        """The status code."""

    @property
    def headers(self) -> Message:
        """The header fields."""

    def read(self, most: int) -> bytes:
        """The whole of a body that may not be longer than `most` bytes."""

    def readinto(self, view: memoryview) -> int:
        """Read bytes until the view is full or the body ends."""


class Wire(Protocol):
    """A connection to one node; `services.https.client.Connection` is one."""

    def request(self, method: str, target: str, *, headers: Mapping[str, str], body: Content) -> Reply:
        """Send a request and read the head of the answer."""

    def close(self) -> None:
        """End the connection."""


class Pool:
    """Connections to one node, opened when they are needed and kept."""

    def __init__(self, open_wire: Callable[[], Wire], keep: int = 4) -> None:
        """A pool.

        Args:
            open_wire: makes a connection that was not used before.
            keep: how many of them rest at most.
        """
        self._open = open_wire
        self._keep = keep
        self._resting: list[Wire] = []
        self._lock = threading.Lock()

    @classmethod
    def to(cls, destination: Destination, tls: ssl.SSLContext, waits: Waits | None = None) -> Pool:
        """Connections over mutual TLS to the node that has one of the destination's certificates."""
        return cls(lambda: Connection(destination, tls, waits))

    @contextmanager
    def lease(self) -> Iterator[Wire]:
        """A connection for one exchange; after an error it is not used again."""
        with self._lock:
            wire = self._resting.pop() if self._resting else None
        wire = wire or self._open()
        try:
            yield wire
        except BaseException:
            wire.close()
            raise
        with self._lock:
            rests = len(self._resting) < self._keep
            if rests:
                self._resting.append(wire)
        if not rests:
            wire.close()

    def close(self) -> None:
        """End the connections that rest."""
        with self._lock:
            resting, self._resting = self._resting, []
        for wire in resting:
            wire.close()


def pieces(reply: Reply) -> Iterator[bytes]:
    """The body of an answer in pieces."""
    buffer = bytearray(BLOCK)
    with memoryview(buffer) as view:
        while count := reply.readinto(view):
            yield bytes(view[:count])
