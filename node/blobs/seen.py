"""Files whose bytes were compared with their digest a short while ago and have not been written since."""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Final

LIFE: Final = 300.0
"""Seconds for which a comparison counts: what was read so lately comes from memory again."""
MOST: Final = 65_536
"""Files that are remembered."""
_Mark = tuple[int, int, int]


class Seen:
    """Remembers files by their number, size and time of writing: another file, or a write, is another one."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Nothing yet; `monotonic` tells seconds."""
        self._monotonic = monotonic
        self._until: OrderedDict[_Mark, float] = OrderedDict()
        self._lock = Lock()

    def has(self, status: os.stat_result) -> bool:
        """Whether a file was compared lately and is unchanged."""
        with self._lock:
            return self._until.get(_mark(status), 0.0) > self._monotonic()

    def add(self, status: os.stat_result) -> None:
        """A file was compared just now, and found right; its status is that from before it was read."""
        with self._lock:
            self._until[_mark(status)] = self._monotonic() + LIFE
            if len(self._until) > MOST:
                self._until.popitem(last=False)


def _mark(status: os.stat_result) -> _Mark:
    return status.st_ino, status.st_size, status.st_mtime_ns
