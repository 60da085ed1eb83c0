"""A herald tells one sink what it is owed, in order, until it was told: at least once, under one id.

```
due ── the sink takes it ──▶ told ── that is noted in the book ──▶ noted
 ▲ └── the sink fails: a pause that doubles ──┐  └── the book cannot be written: noted later, not told again
 └────────────────────────────────────────────┘
```

Only a crash between *told* and *noted* tells something twice; who receives it knows it by its id.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from node.catalog.catalog import Catalog
from node.domain.alert import SECOND, Alert, Notice
from node.domain.clock import Clock
from node.domain.errors import NodeError, NoticeUntold
from node.domain.ids import SiteId
from node.watch.book import Book
from node.watch.look import MUTE
from node.watch.sink import Sink

log = logging.getLogger(__name__)

FIRST_PAUSE: Final = 30 * SECOND
LONGEST_PAUSE: Final = 900 * SECOND


class Herald:
    """Tells one sink."""

    def __init__(
        self, site: SiteId, sink: Sink, books: Sequence[Book], catalog: Catalog, clock: Clock
    ) -> None:
        """A herald for a sink.

        Args:
            site: whose alerts.
            sink: whom it tells.
            books: where the alerts are.
            catalog: where it is noted that the sink fails.
            clock: microseconds since 1970.
        """
        self._site = site
        self._sink = sink
        self._books = books
        self._catalog = catalog
        self._clock = clock
        self._unnoted: set[str] = set()
        self._pause = 0
        self._rests_until = 0
        self._mute: bool | None = None

    def tell(self) -> int:
        """Tell everything that is due, unless the sink has just failed; how much that was."""
        if self._clock() < self._rests_until:
            return 0
        count = 0
        for book in self._books:
            try:
                for alert in book.pending():
                    count += self._tell_all(book, alert)
            except NoticeUntold as error:
                self._failed(error)
                return count
            except NodeError as error:
                self._rests_until = self._clock() + FIRST_PAUSE
                log.warning("alerts could not be read or noted", extra={"error": str(error)})
        if count:
            self._pause = 0
            self._note(mute=False)
        return count

    def _tell_all(self, book: Book, alert: Alert) -> int:
        """Tell what is due of one episode, in order."""
        count = 0
        while notice := alert.due(self._sink.name, self._site, self._clock()):
            if notice.id not in self._unnoted:
                self._send(notice)
                self._unnoted.add(notice.id)
            alert = book.heard(alert, self._sink.name, notice)
            self._unnoted.discard(notice.id)
            count += 1
        return count

    def _send(self, notice: Notice) -> None:
        """Let the sink tell it.

        Raises:
            NoticeUntold: it did not, whatever the reason.
        """
        try:
            self._sink.tell(notice)
        except NodeError:
            raise
        except Exception as error:
            log.exception("a sink failed unexpectedly", extra={"sink": self._sink.name})
            raise NoticeUntold(self._sink.name, type(error).__name__) from error

    def _failed(self, error: NoticeUntold) -> None:
        self._pause = min(max(self._pause * 2, FIRST_PAUSE), LONGEST_PAUSE)
        self._rests_until = self._clock() + self._pause
        log.warning("a notice was not sent", extra={"sink": self._sink.name, "error": str(error)})
        self._note(mute=True)

    def _note(self, *, mute: bool) -> None:
        """Note since when the sink fails, or that it does not, where that has changed."""
        if self._mute is mute:
            return
        name = self._sink.name
        try:
            with self._catalog.reading() as unit:
                known = unit.gauges.noted(MUTE, name)
            if bool(known) != mute:
                self._catalog.perform(lambda unit: unit.gauges.note(MUTE, name, unit.now if mute else 0))
            self._mute = mute
        except NodeError as failure:
            log.warning("a failing sink could not be noted", extra={"error": str(failure)})


def try_all(sinks: Sequence[Sink], notice: Notice) -> dict[str, str]:
    """Send a notice by every sink; the error of each, empty where it was sent."""
    return {sink.name: _error(sink, notice) for sink in sinks}


def _error(sink: Sink, notice: Notice) -> str:
    try:
        sink.tell(notice)
    except NoticeUntold as error:
        return str(error)
    return ""
