"""What was received lately, so that nothing is received twice."""

from __future__ import annotations

import heapq
import threading
from typing import Final

from node.domain.errors import IssuedBeforeStart, Replayed, TooBusy
from node.identity.xmlnames import instant

MAX_REMEMBERED: Final = 400_000
"""Messages of five minutes; about 100 MB at the very worst."""
MAX_OF_ONE: Final = 100_000
"""Messages of one sender: it cannot make the node forget, or refuse, those of the others."""


class Memory:
    """Remembers messages until they expire anyway; for those older than itself it cannot vouch."""

    def __init__(self, *, started: int, most: int = MAX_REMEMBERED, most_of_one: int = MAX_OF_ONE) -> None:
        """An empty memory.

        Args:
            started: since when this process has seen every message; microseconds since 1970.
            most: how many messages it remembers.
            most_of_one: how many of one sender.
        """
        self._started = started
        self._most = most
        self._most_of_one = most_of_one
        self._lock = threading.Lock()
        self._known: set[tuple[str, str]] = set()
        self._due: list[tuple[int, str, str]] = []
        self._of: dict[str, int] = {}

    def once(self, sender: str, name: str, *, issued: int, until: int, now: int) -> None:
        """Let a message pass the first time.

        Args:
            sender: who sent it; names are its own.
            name: what it calls the message.
            issued: when it says it was issued.
            until: when the message expires, for whoever is the last to take it.
            now: microseconds since 1970, as are the others.

        Raises:
            IssuedBeforeStart: it was issued before this process started, which has forgotten what came then.
            Replayed: it was received before.
            TooBusy: too many messages are in their time; this one was not taken.
        """
        if issued < self._started:
            raise IssuedBeforeStart(instant(issued))
        with self._lock:
            self._forget(now)
            if (sender, name) in self._known:
                raise Replayed(f"{name} of {sender}")
            if len(self._known) >= self._most or self._of.get(sender, 0) >= self._most_of_one:
                raise TooBusy("more messages came in five minutes than it can remember")
            self._known.add((sender, name))
            self._of[sender] = self._of.get(sender, 0) + 1
            heapq.heappush(self._due, (until, sender, name))

    def _forget(self, now: int) -> None:
        """Drop what has expired."""
        while self._due and self._due[0][0] < now:
            _, sender, name = heapq.heappop(self._due)
            self._known.discard((sender, name))
            self._of[sender] -= 1
            if not self._of[sender]:
                del self._of[sender]
