"""Asking for one identity provider at a time (Metadata Query Protocol, draft-young-md-query §3)."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final
from urllib.parse import quote

from node.domain.alert import SECOND
from node.domain.clock import Clock

AT_ONCE: Final = 2
"""Questions at the same time, so that whoever invents names holds up nobody for long."""
REMEMBERED: Final = 1000
QUIET: Final = 300 * SECOND
"""How long a name that was asked for is not asked for again."""


def address(base: str, entity: str) -> str:
    """Where a service is asked for an entity."""
    return f"{base.rstrip('/')}/entities/{quote(entity, safe='')}"


def may_be_asked(entity: str) -> bool:
    """Whether a name could be the entity ID of an identity provider."""
    is_line = entity.isprintable() and " " not in entity
    return is_line and len(entity) <= 1024 and entity.startswith(("https://", "http://", "urn:"))


class Questions:
    """Lets few questions through at a time, and each only once in a while."""

    def __init__(self, clock: Clock) -> None:
        """Nobody has asked yet."""
        self._clock = clock
        self._asked: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()
        self._hands = threading.BoundedSemaphore(AT_ONCE)

    def begin(self, entity: str) -> bool:
        """Whether it may be asked for now; who may says `end` afterwards."""
        if not may_be_asked(entity) or not self._hands.acquire(blocking=False):
            return False
        if self._is_new(entity):
            return True
        self._hands.release()
        return False

    def end(self) -> None:
        """The answer is there, or there is none."""
        self._hands.release()

    def _is_new(self, entity: str) -> bool:
        now = self._clock()
        with self._lock:
            if now - self._asked.get(entity, now - 2 * QUIET) < QUIET:
                return False
            self._asked[entity] = now
            self._asked.move_to_end(entity)
            while len(self._asked) > REMEMBERED:
                self._asked.popitem(last=False)
            return True
