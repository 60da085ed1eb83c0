"""A line between two nodes that misbehaves as it is told: it breaks, goes silent, garbles, leads elsewhere.

```
with BadLine(brno.node_port) as line:      # others call Brno at line.url
    line.cut_after(1_000_000)
    ...
    line.heal()
```
"""

from __future__ import annotations

import selectors
import socket
import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from tests.support.peers import free_port

NOISE = bytes(range(256)) * 16
PIECE = 1 << 16


class BadLine:
    """Forwards every connection to a door of this machine, until it is told otherwise.

    Attributes:
        port: where it is called.
        carried: bytes that came back from the door.
        harmed: connections that were broken, garbled, or answered by somebody else.
    """

    def __init__(self, port: int | None = None) -> None:
        self.port = port or free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.carried = 0
        self.harmed = 0
        self._door = 0
        self._treat: Callable[[_Link, bytes], bytes | None] = _pass
        self._links: set[_Link] = set()
        self._babbles = False
        self._is_over = threading.Event()
        self._flows = threading.Event()
        self._flows.set()

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._flows.set()
        self._listener.close()

    def lead_to(self, door: int) -> None:
        """Forward new connections to the door at this port."""
        self._door = door

    def hang_up(self) -> None:
        """Break the connections that are there."""
        for link in list(self._links):
            link.close()

    def cut_after(self, count: int) -> None:
        """Break each connection when so many bytes have come back on it from now on."""
        carried: dict[_Link, int] = defaultdict(int)

        def cut(link: _Link, piece: bytes) -> bytes | None:
            carried[link] += len(piece)
            return piece if carried[link] < count else None

        self._treat = cut

    def garble_after(self, count: int) -> None:
        """Turn over one bit of what comes back on each connection, so many bytes from now on."""
        carried: dict[_Link, int] = defaultdict(int)

        def garble(link: _Link, piece: bytes) -> bytes:
            at = count - carried[link]
            carried[link] += len(piece)
            if not 0 <= at < len(piece):
                return piece
            self.harmed += 1
            return piece[:at] + bytes([piece[at] ^ 1]) + piece[at + 1 :]

        self._treat = garble

    def babble(self) -> None:
        """Answer new connections with noise."""
        self._babbles = True

    def fall_silent(self) -> None:
        """Carry nothing more, and break nothing."""
        self._flows.clear()

    def heal(self) -> None:
        """Carry everything again."""
        self._treat = _pass
        self._babbles = False
        self._flows.set()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(caller,), daemon=True).start()

    def _serve(self, caller: socket.socket) -> None:
        with caller, suppress(OSError):
            if self._babbles:
                self.harmed += 1
                caller.sendall(NOISE)
                return
            with socket.create_connection(("127.0.0.1", self._door), 10) as door:
                link = _Link(caller, door)
                self._links.add(link)
                try:
                    link.run(self)
                finally:
                    self._links.discard(link)

    def passes(self, link: _Link, piece: bytes) -> bytes | None:
        """What is carried on of bytes that came back; nothing, if the connection breaks now."""
        self._flows.wait()
        kept = self._treat(link, piece)
        if kept is None:
            self.harmed += 1
            return None
        self.carried += len(kept)
        return kept


class _Link:
    """One connection and its continuation."""

    def __init__(self, caller: socket.socket, door: socket.socket) -> None:
        self._ends = {caller: door, door: caller}
        self._door = door

    def close(self) -> None:
        """Break it."""
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def run(self, line: BadLine) -> None:
        """Forward until one side has hung up, or the line breaks."""
        with selectors.DefaultSelector() as selector:
            for end in self._ends:
                end.settimeout(60)
                selector.register(end, selectors.EVENT_READ)
            while not line._is_over.is_set():
                for key, _ in selector.select(0.5):
                    if not self._forward(line, key.fileobj):  # type: ignore[arg-type]
                        return

    def _forward(self, line: BadLine, end: socket.socket) -> bool:
        piece = end.recv(PIECE)
        if not piece:
            return False
        if end is self._door:
            kept = line.passes(self, piece)
            if kept is None:
                return False
            piece = kept
        else:
            line._flows.wait()
        self._ends[end].sendall(piece)
        return True


def _pass(_: _Link, piece: bytes) -> bytes:
    """Change nothing."""
    return piece
