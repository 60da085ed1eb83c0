"""One courier for each member, as the list of members is now; and one that proves what they brought."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, time
from time import monotonic

from node.domain.errors import NodeError
from node.domain.ids import SiteId
from node.identity import addresses
from node.identity.upkeep import Upkeep
from node.replication.courier import Courier
from node.replication.habits import Habits
from node.replication.peer import Peers
from node.replication.storing import sweep
from node.settings import ReplicationSettings
from node.wiring import Site

log = logging.getLogger(__name__)

LOOK = 1.0
"""Seconds between two looks at the list of members, and at what is to be proved."""
UPKEEP = 60.0
"""Seconds between two looks at what is due for this site itself: announcements, a change of keys."""
PROVER_NICE = 10
"""How far reading back stands aside for everything else (Linux gives each thread a niceness of its own)."""
PROVED = 128
"""Copies that are read back between two looks."""
_MIB = 1 << 20


class Couriers:
    """Starts a courier for each member that can be called, and stops them."""

    def __init__(self, site: Site, peers: Peers) -> None:
        """The couriers of a site.

        Args:
            site: whose.
            peers: makes what they call.
        """
        self._site = site
        self._peers = peers
        self._threads: dict[SiteId, threading.Thread] = {}
        self._upkeep = Upkeep(site.catalog, site.members)
        self._tended = float("-inf")
        self._kept: list[str] = []
        self._habits = habits(site.settings.replication, only_calls=site.home.url is None)

    def run(self, stop: threading.Event) -> None:
        """Keep a courier under way for each member until told to stop."""
        prover = threading.Thread(target=self._prove, args=(stop,), name="prover", daemon=True)
        prover.start()
        while not stop.is_set():
            try:
                self._start_missing(stop)
                self._tend()
            except NodeError as error:
                log.warning("the members could not be read", extra={"error": str(error)})
            except Exception:
                log.exception("the couriers could not be looked after; they are again in a moment")
            stop.wait(LOOK)
        for thread in (*self._threads.values(), prover):
            thread.join()

    def _tend(self) -> None:
        """Look after this site's own place in the federation, now and then."""
        now = monotonic()
        if now - self._tended >= UPKEEP:
            self._tended = now
            self._upkeep.tend()
            sweep(self._site.catalog, self._site.uploads)

    def _start_missing(self, stop: threading.Event) -> None:
        active = self._site.members.active()
        if active and (told := [member.descriptor for member in active]) != self._kept:
            addresses.save(self._site.home.key_folder, active)
            self._kept = told
        for member in active:
            if member.site not in self._threads:
                courier = Courier(
                    member.site,
                    catalog=self._site.catalog,
                    blobs=self._site.blobs,
                    intake=self._site.intake,
                    service=self._site.service,
                    peers=self._peers,
                    habits=self._habits,
                )
                thread = threading.Thread(target=courier.run, args=(stop,), name=f"courier-{member.site}")
                self._threads[member.site] = thread
                thread.start()

    def _prove(self, stop: threading.Event) -> None:
        """Read back what has arrived, as long as there is any; what is still to come goes first."""
        with suppress(OSError):  # where it may not stand aside, it works beside the others
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), PROVER_NICE)
        while not stop.is_set():
            try:
                if self._site.intake.prove(PROVED, stop=stop.is_set):
                    continue
            except NodeError as error:
                log.warning("copies could not be proved", extra={"error": str(error)})
            except Exception:
                log.exception("copies could not be proved; they are tried again in a moment")
            stop.wait(LOOK)


def habits(settings: ReplicationSettings, *, only_calls: bool) -> Habits:
    """How couriers work by the settings."""
    return Habits(
        streams=settings.streams,
        pack_bytes=settings.pack_mb * _MIB,
        heartbeat=settings.heartbeat,
        only_calls=only_calls,
        is_open=opening(settings.hours, datetime.now),
    )


def opening(hours: str, now: Callable[[], datetime]) -> Callable[[], bool]:
    """Whether a time is within hours of the day, which may go over midnight; empty is always."""
    if not hours:
        return lambda: True
    begin, end = (time.fromisoformat(text) for text in hours.split("-"))

    def is_open() -> bool:
        at = now().time()
        return begin <= at < end if begin <= end else at >= begin or at < end

    return is_open
