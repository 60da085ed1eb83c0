"""Calls to other sites at the same time: whoever does not wait any longer leaves them behind, counted.

A site that hangs holds the thread of each call until the call itself gives up. So there are only so many
threads, and only so many for each site: one that hangs uses up its own and no others.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

from node.domain.errors import TooBusy
from node.domain.ids import SiteId

MOST = 64
"""Calls under way, to all sites together."""
EACH = 8
"""Calls under way to one site."""


class Calls:
    """Starts calls in threads of their own, within bounds."""

    def __init__(self, *, most: int = MOST, each: int = EACH) -> None:
        """Bound the calls.

        Args:
            most: calls under way, to all sites together.
            each: calls under way to one site.
        """
        self._most = most
        self._each = each
        self._open: Counter[SiteId] = Counter()
        self._left: Counter[SiteId] = Counter()
        self._lock = threading.Lock()

    @property
    def left_behind(self) -> dict[SiteId, int]:
        """Calls under way that nobody waits for any more, by site."""
        with self._lock:
            return {site: count for site, count in self._left.items() if count}

    def start(self, site: SiteId, work: Callable[[], None]) -> Call:
        """Begin a call; `work` tells its outcome itself and raises nothing.

        Raises:
            TooBusy: as many as there may be are under way, to this site or in all.
        """
        with self._lock:
            if self._open[site] >= self._each:
                raise TooBusy(f"{site} has not answered {self._open[site]} calls")
            if self._open.total() >= self._most:
                raise TooBusy("too many other sites have not answered")
            self._open[site] += 1
        call = Call(self, site)
        thread = threading.Thread(target=call.run, args=(work,), name=f"call-{site}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no thread to be had
            self.ended(call)
            raise TooBusy("no thread can be started") from error
        return call

    def ended(self, call: Call) -> None:
        """Note that a call has ended."""
        with self._lock:
            call.is_over = True
            self._open[call.site] -= 1
            self._left[call.site] -= call.is_left

    def leave(self, call: Call) -> None:
        """Wait for a call no longer."""
        with self._lock:
            if not call.is_over and not call.is_left:
                call.is_left = True
                self._left[call.site] += 1


class Call:
    """A call under way."""

    def __init__(self, calls: Calls, site: SiteId) -> None:
        """A call to a site that is about to begin."""
        self.site = site
        self.is_over = False
        self.is_left = False
        self._calls = calls

    def run(self, work: Callable[[], None]) -> None:
        """Carry it out."""
        try:
            work()
        finally:
            self._calls.ended(self)

    def leave(self) -> None:
        """Wait for it no longer; it ends by itself, when its time is over."""
        self._calls.leave(self)
