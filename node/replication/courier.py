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
from node.domain.chain import Head
from node.domain.change import Cursor, News
from node.domain.errors import Damaged, LinkSuspended, NodeError, PeerUnreachable
from node.domain.ids import SiteId
from node.domain.job import SECOND
from node.domain.member import Member
from node.replication.entries import agreement
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
        self._told = (0, -1)
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
        more = self._tell_and_read(peer, member, news)
        more |= self._fetching.fetch(peer)
        if self._habits.only_calls:
            more |= self._pushing.put(peer)
        return more

    def catch_up(self) -> None:
        """Exchange facts until the other site's journal is read to its end; bytes are left to others.

        Raises:
            NodeError: the other site could not be reached, or refused; nothing is lost.
        """
        more = True
        while more:
            with self._catalog.reading() as unit:
                member = unit.members.find(self._site)
                news = self._service.news(unit, self._site)
            if member is None or not member.is_active:
                raise LinkSuspended(news.site, self._site)
            more = self._tell_and_read(self._peer(), member, news, trusting=True)

    def _tell_and_read(self, peer: Peer, member: Member, news: News, *, trusting: bool = False) -> bool:
        """Exchange news and facts; whether any came, or went where only we can call."""
        answer = peer.heartbeat(news)
        self._heard(answer, news)
        more = self._own(peer, answer, trusting=trusting)
        more |= self._facts(peer, answer)
        self._fill_gaps(peer, news, answer)
        if self._habits.only_calls:
            more |= self._pushing.offer(peer, member, answer)
        return more

    def _own(self, peer: Peer, answer: News, *, trusting: bool) -> bool:
        """Take back what it has of our own journal, if this site was restored; whether it just noticed."""
        noticed = self._intake.epochs.notice(self._site, answer)
        here = self._intake.epochs.recall(peer, answer, trusting=trusting)
        self._intake.arrived(self._site, here)
        return noticed

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
            rested = not _is_within(self._pause, contact.failed_at, unit.now)
            if self._pause and not rested and contact.heard_at <= contact.failed_at:
                return False
            silent = not _is_within(self._habits.heartbeat, self._spoke_at, unit.now)
            behind = contact.head > unit.cursors.find(self._site, contact.epoch).seq
            untold = (unit.epoch, unit.journal.head().seq) != self._told
            return silent or behind or untold or bool(self._fetching.next(unit, 1))

    def _peer(self) -> Peer:
        if self._open is None:
            manager = self._peers(self._site)
            self._open = manager, manager.__enter__()
        return self._open[1]

    def _heard(self, answer: News, told: News) -> None:
        """Note that the other site has answered."""
        self._told = told.epoch, told.head
        with self._catalog.reading() as unit:
            skew, rtt = clocks(told.at, answer.at, unit.now)

        def note(unit: Unit) -> None:
            known = unit.members.contact(self._site)
            heard = replace(
                known,
                heard_at=unit.now,
                head=answer.head,
                epoch=answer.epoch,
                error="",
                failed_at=0,
                skew=skew,
                rtt=rtt,
            )
            unit.members.save_contact(heard, heads_of(answer))
            self._spoke_at = unit.now

        self._catalog.perform(note)

    def _facts(self, peer: Peer, answer: News) -> bool:
        """Stage A: read its journal up to its ends; whether anything came.

        The current epoch comes first: what its site had to state again is here before it goes elsewhere.
        """
        came = self._read(peer, answer.epoch, answer.head)
        for epoch, end in sorted(answer.ends.items(), key=lambda item: int(item[0]), reverse=True):
            came |= self._ended(peer, answer, int(epoch), end)
        return came

    def _read(self, peer: Peer, epoch: int, head: int) -> bool:
        with self._catalog.reading() as unit:
            reached = unit.cursors.find(self._site, epoch).seq
        came = False
        while reached < head:
            after = Cursor(origin=self._site, epoch=epoch, seq=reached)
            changes = peer.changes(after, LONGEST_PAGE)
            before, reached = reached, self._intake.take(changes).seq
            if reached == before:
                break
            came = True
        return came

    def _ended(self, peer: Peer, answer: News, epoch: int, end: Head) -> bool:
        """Read an epoch that the other site has ended; where we had read another branch, in its place."""
        with self._catalog.reading() as unit:
            reached = unit.cursors.find(self._site, epoch)
            kept = unit.journal.end(self._site, epoch).seq
        if reached == end:
            return False
        is_recalled = answer.recalled.get(str(epoch), 0) >= reached.seq
        try:
            if reached.seq < end.seq:
                return self._read(peer, epoch, end.seq)
        except Damaged:
            log.info("an ended epoch goes on otherwise than it was read", extra={"peer": self._site})
        if is_recalled:
            same = agreement(self._catalog, peer, self._site, epoch, min(kept, end.seq))
            after = Cursor(origin=self._site, epoch=epoch, seq=same)
            self._intake.take(replace(peer.changes(after, LONGEST_PAGE), anew=True))
            self._read(peer, epoch, end.seq)
        return is_recalled

    def _fill_gaps(self, peer: Peer, told: News, answer: News) -> None:
        """Ask again for what was withheld, or not wanted, when the terms of either side have changed."""
        with self._catalog.reading() as unit:
            contact = unit.members.contact(self._site)
            epochs = unit.cursors.all(self._site)
            gaps = {epoch: unit.cursors.gaps(self._site, epoch) for epoch in epochs}
        terms = _terms(told, answer)
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


def clocks(called: int, told: int, heard: int) -> tuple[int, int]:
    """How far another site's clock is ahead of ours, and how long the call took, in microseconds.

    It told its time somewhere between the call and its answer: halfway, give or take half of the call.

    Args:
        called: when we called, by our clock.
        told: the time that it told; 0 for none.
        heard: when it had answered, by our clock.
    """
    if not told or heard < called:
        return 0, 0
    return told - (called + heard) // 2, max(heard - called, 1)


def _is_within(seconds: float, moment: int, now: int) -> bool:
    """Whether a moment was within the last seconds; one ahead of a clock that was put back is long ago."""
    return 0 <= now - moment < seconds * SECOND


def _terms(told: News, answer: News) -> int:
    """A number for the terms of both sides: each of theirs grows, so that going back is a change, too."""
    return zlib.crc32(f"{answer.epoch} {answer.terms} {told.epoch} {told.terms}".encode())
