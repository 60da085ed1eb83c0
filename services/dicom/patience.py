"""Threads of pynetdicom that wait where they would poll every millisecond.

Each association has two of them. Polling costs an idle one some per cent of a processor; here the
upper layer thread waits for its socket and for primitives at once, and the association thread sleeps
until something has been delivered to it.
"""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pynetdicom.association import Association

NAP = 0.5
"""Seconds after which a waiting thread looks at its timers."""


class Bell:
    """Wakes a thread that waits for a socket."""

    def __init__(self) -> None:
        self.ear, self._hammer = socket.socketpair()
        for end in (self.ear, self._hammer):
            end.setblocking(False)

    def ring(self) -> None:
        """Wake who listens at `ear`, now or when it next waits."""
        with suppress(OSError):
            self._hammer.send(b"!")

    def hush(self) -> None:
        """Forget the rings so far."""
        with suppress(OSError):
            self.ear.recv(4096)

    def close(self) -> None:
        """Give the sockets back."""
        self.ear.close()
        self._hammer.close()


class Announcing(queue.Queue[Any]):
    """A queue that tells when something is put into it."""

    def __init__(self, announce: Callable[[], None]) -> None:
        super().__init__()
        self._announce = announce

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Put an item and tell."""
        super().put(item, block, timeout)
        self._announce()


class Checkpoint(threading.Event):
    """Where the association thread pauses between looks at its queues: until there is news, or a nap."""

    def __init__(self, news: threading.Event, *queues: Announcing) -> None:
        super().__init__()
        self._news = news
        self._queues = queues
        self.set()

    def set(self) -> None:
        """Let the thread pass, at once."""
        super().set()
        self._news.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for news, then until the thread may pass."""
        if all(queue.empty() for queue in self._queues):
            self._news.wait(NAP)
        self._news.clear()
        return super().wait(timeout)


def make_patient(association: Association, bell: Bell) -> None:
    """Let both threads of an association that has not started wait instead of poll."""
    news = threading.Event()
    messages, primitives = Announcing(news.set), Announcing(news.set)
    association._reactor_checkpoint = Checkpoint(news, messages, primitives)
    association.dimse.msg_queue = messages
    association.dul.to_user_queue = primitives
    association.dul.to_provider_queue = Announcing(bell.ring)
