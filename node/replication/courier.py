"""One courier per member: keeps this site in step with the other one, for as long as it takes.

```
due ── heartbeat: both tell their heads ──▶ facts (stage A) ──▶ gaps, if terms changed ──▶ bytes (stage B)
 ▲                                            and, where only we can call: offer facts, put bytes
 └── at once if there was more, after a tick if not; after a failure a pause that doubles,
     forgotten as soon as the other site makes contact
```

What is owed stands in the catalog, so a courier can be killed at any moment and begun again anywhere.
"""

from __future__ import annotations

import logging
import threading
import zlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

from node.blobs.store import BlobStore
from node.catalog.catalog import Catalog
from node.catalog.unit import Unit
from node.domain.change import Cursor, News
from node.domain.errors import NodeError, PeerUnreachable
from node.domain.ids import SiteId
from node.domain.job import SECOND
from node.domain.member import Member
from node.replication.fetching import Fetching
from node.replication.habits import Habits
from node.replication.intake import Intake, without
from node.replication.peer import LONGEST_PAGE, Peer, Peers
from node.replication.pushing import Pushing
from node.replication.service import Service, heads_of

log = logging.getLogger(__name__)

TICK = 0.5
"""Seconds between two looks at the catalog when there was nothing to do."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 600.0
"""Seconds to wait after a failure."""
AWAY = 60.0
"""Seconds: where a courier pauses for so long, its site is taken to be away, and others are asked."""


class Courier:
    """Exchanges with one member."""

    def __init__(
        self,
        site: SiteId,
        *,
        catalog: Catalog,
        blobs: BlobStore,
        intake: Intake,
        service: Service,
        peers: Peers,
        habits: Habits | None = None,
    ) -> None:
        """A courier to a site.

        Args:
            site: the member.
            catalog: where facts, wants and cursors are.
            blobs: where the bytes go.
            intake: takes in what the other site tells and gives.
            service: tells what this site tells.
            peers: makes the peer to call.
            habits: how much at a time.
        """
        self._site = site
        self._catalog = catalog
        self._intake = intake
        self._service = service
        self._peers = peers
        self._habits = habits or Habits()
        self._fetching = Fetching(site, catalog, intake, self._habits)
        self._pushing = Pushing(catalog, blobs, service, self._habits)
        self._told = -1
        self._spoke_at = 0
        self._pause = 0.0
        self._open: tuple[AbstractContextManager[Peer], Peer] | None = None

    def run(self, stop: threading.Event) -> None:
        """Keep in step until told to stop."""
        try:
            while not stop.is_set():
                stop.wait(self._turn())
        finally:
            self.close()

    def close(self) -> None:
        """Hang up."""
        if self._open is not None:
            manager, _ = self._open
            self._open = None
            manager.__exit__(None, None, None)

    def round(self) -> bool:
        """Exchange once; whether there is more to do at once.

        Raises:
            NodeError: the other site could not be reached, or refused; nothing is lost.
        """
        with self._catalog.reading() as unit:
            member = unit.members.find(self._site)
            news = self._service.news(unit, self._site)
        if member is None or not member.is_active or member.url is None:
            self.close()
            return False
        peer = self._peer()
        answer = peer.heartbeat(news)
        self._heard(answer, news)
        more = self._facts(peer, answer)
        self._fill_gaps(peer, member, answer)
        more |= self._fetching.fetch(peer)
        if self._habits.only_calls:
            more |= self._pushing.push(peer, member, answer)
        return more

    def _turn(self) -> float:
        """One turn of the loop; how many seconds to wait before the next."""
        try:
            if not self._is_due():
                return TICK
            more = self.round()
        except NodeError as error:
            return self._failed(error)
        except Exception as error:
            log.exception("a courier failed unexpectedly", extra={"peer": self._site})
            return self._failed(PeerUnreachable(self._site, type(error).__name__))
        self._pause = 0.0
        return 0.0 if more else TICK

    def _failed(self, error: NodeError) -> float:
        """Note a failure; how long to wait. The other site's call ends the wait early."""
        self.close()
        self._pause = min(max(self._pause * 2, FIRST_PAUSE), LONGEST_PAUSE)
        log.warning("a site cannot be reached", extra={"peer": self._site, "error": str(error)})

        def note(unit: Unit) -> None:
            known = unit.members.contact(self._site)
            unit.members.save_contact(replace(known, error=str(error), failed_at=unit.now))
            if self._pause >= AWAY:
                self._fetching.ask_elsewhere(unit)

        try:
            self._catalog.perform(note)
        except NodeError as worse:
            log.warning("a failure could not be noted", extra={"error": str(worse)})
        return TICK

    def _is_due(self) -> bool:
        """Whether there is a reason to call now."""
        with self._catalog.reading() as unit:
            member, contact = unit.members.find(self._site), unit.members.contact(self._site)
            if member is None or not member.is_active or member.url is None:
                return False
            rested = unit.now - contact.failed_at >= self._pause * SECOND
            if self._pause and not rested and contact.heard_at <= contact.failed_at:
                return False
            silent = unit.now - self._spoke_at >= self._habits.heartbeat * SECOND
            behind = contact.head > unit.cursors.find(self._site, contact.epoch).seq
            untold = unit.journal.head().seq != self._told
            return silent or behind or untold or bool(self._fetching.next(unit, 1))

    def _peer(self) -> Peer:
        if self._open is None:
            manager = self._peers(self._site)
            self._open = manager, manager.__enter__()
        return self._open[1]

    def _heard(self, answer: News, told: News) -> None:
        """Note that the other site has answered."""
        self._told = told.head

        def note(unit: Unit) -> None:
            known = unit.members.contact(self._site)
            heard = replace(
                known, heard_at=unit.now, head=answer.head, epoch=answer.epoch, error="", failed_at=0
            )
            unit.members.save_contact(heard, heads_of(answer))
            self._spoke_at = unit.now

        self._catalog.perform(note)

    def _facts(self, peer: Peer, answer: News) -> bool:
        """Stage A: read its journal up to its head; whether anything came."""
        with self._catalog.reading() as unit:
            reached = unit.cursors.find(self._site, answer.epoch).seq
        came = False
        while reached < answer.head:
            after = Cursor(origin=self._site, epoch=answer.epoch, seq=reached)
            changes = peer.changes(after, LONGEST_PAGE)
            before, reached = reached, self._intake.take(changes).seq
            if reached == before:
                break
            came = True
        return came

    def _fill_gaps(self, peer: Peer, member: Member, answer: News) -> None:
        """Ask again for what was withheld, or not wanted, when the terms of either side have changed."""
        with self._catalog.reading() as unit:
            contact = unit.members.contact(self._site)
            epochs = unit.cursors.all(self._site)
            gaps = {epoch: unit.cursors.gaps(self._site, epoch) for epoch in epochs}
        terms = _terms(member, answer)
        if terms == contact.terms:
            return
        for epoch, ranges in gaps.items():
            self._ask_again(peer, epoch, ranges)

        def note(unit: Unit) -> None:
            now = {epoch: unit.cursors.gaps(self._site, epoch) for epoch in epochs}
            if not any(without(now[epoch], gaps[epoch]) for epoch in epochs):
                unit.members.save_contact(replace(unit.members.contact(self._site), terms=terms))

        self._catalog.perform(note)

    def _ask_again(self, peer: Peer, epoch: int, ranges: Sequence[tuple[int, int]]) -> None:
        left = list(ranges)
        while left:
            changes = peer.again(self._site, epoch, left[:LONGEST_PAGE], LONGEST_PAGE)
            if not changes.entries:
                return
            last = changes.entries[-1].seq
            self._intake.fill(changes, left)
            left = [(max(first, last + 1), end) for first, end in left if end > last]


def _terms(member: Member, answer: News) -> int:
    """A number for the terms of both sides: what they give us, and what we accept."""
    return zlib.crc32(f"{answer.epoch} {answer.terms} {member.accept.told()}".encode())
