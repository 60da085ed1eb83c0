"""The watch over a running site: one thread that looks, and one for each sink that is told."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from node.domain.alert import Notice, Severity, Step
from node.domain.clock import Clock
from node.domain.errors import NodeError, StoreFull
from node.settings import AlertSettings
from node.watch.book import CatalogBook
from node.watch.herald import Herald
from node.watch.look import Eye, Place
from node.watch.mail import MailSink
from node.watch.sink import LogSink, Sink
from node.watch.watch import Watch
from node.watch.webhook import WebhookSink
from node.wiring import Site

log = logging.getLogger(__name__)

LOOK = 30.0
"""Seconds between two looks at the site."""
TELL = 2.0
"""Seconds between two looks at what a sink is owed."""
LEAVE = 2.0
"""Seconds that a sink may still take when the process ends; the rest is told after the next start."""


def sinks_of(settings: AlertSettings, clock: Clock) -> list[Sink]:
    """The sinks that the settings name: the log always, mail and webhook where they are set up."""
    sinks: list[Sink] = [LogSink()]
    if settings.mail_host:
        sinks.append(MailSink(settings))
    if settings.webhook_url:
        sinks.append(WebhookSink(settings, clock=clock))
    return sinks


def eye_of(site: Site) -> Eye:
    """Looks at a site."""
    return Eye(Place(settings=site.settings, home=site.home))


def trial(site: Site) -> Notice:
    """A notice by which somebody tries the sinks."""
    now = site.clock()
    return Notice(
        id=f"test/{now}/{Step.TEST}",
        step=Step.TEST,
        site=site.settings.site.name,
        key="test",
        severity=Severity.INFO,
        what="This is a test: alerts of this site get through.",
        todo="Nothing.",
        since_at=now,
        at=now,
    )


class Watcher:
    """Keeps the watch until the process ends."""

    def __init__(
        self, site: Site, sinks: Sequence[Sink] | None = None, *, look: float = LOOK, tell: float = TELL
    ) -> None:
        """A watch over a site.

        Args:
            site: which one.
            sinks: who is told; those of its settings, if not given.
            look: seconds between two looks.
            tell: seconds between two tries to tell.
        """
        told = sinks_of(site.settings.alerts, site.clock) if sinks is None else sinks
        self._watch = Watch(
            site.catalog,
            eye_of(site),
            sinks={sink.name: sink.least for sink in told},
            clock=site.clock,
            probe=lambda: probe(site),
        )
        books = (self._watch.emergencies, CatalogBook(site.catalog))
        name = site.settings.site.name
        self._heralds = [Herald(name, sink, books, site.catalog, site.clock) for sink in told]
        self._look, self._tell = look, tell

    def run(self, stop: threading.Event) -> None:
        """Look and tell until told to stop."""
        threads = [
            threading.Thread(
                target=_again, args=(herald.tell, self._tell, stop), name=f"herald-{number}", daemon=True
            )
            for number, herald in enumerate(self._heralds)
        ]
        for thread in threads:
            thread.start()
        _again(self._watch.round, self._look, stop)
        for thread in threads:
            thread.join(LEAVE)


def _again(act: Callable[[], object], pause: float, stop: threading.Event) -> None:
    """Do it again and again, whatever comes of it, until told to stop."""
    while not stop.is_set():
        try:
            act()
        except NodeError as error:
            log.warning("the watch could not look or tell", extra={"error": str(error)})
        except Exception:
            log.exception("the watch failed unexpectedly; it goes on in a moment")
        stop.wait(pause)


def probe(site: Site) -> str:
    """Write to the store, and leave nothing there; why that failed, if it did.

    A store without room is a matter of its disk.
    """
    try:
        with site.blobs.writer() as writer:
            writer.write(b"watch")
    except StoreFull:
        return ""
    except NodeError as error:
        return str(error)
    return ""
