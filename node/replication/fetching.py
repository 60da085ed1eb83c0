"""Stage B of a courier: the bytes that are wanted of one site, in packs, several at the same time.

```
wants, most urgent first ──▶ ticket ──▶ packs ──▶ streams ──▶ store ──▶ intake
       ▲ those that the site does not give: others are asked, in turn ──┘
```
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from node.archive.derive import state_of
from node.catalog.catalog import Catalog
from node.catalog.unit import Unit
from node.domain.ids import Digest, SiteId
from node.domain.job import SECOND
from node.domain.replica import CopyState, Urgency, Want
from node.replication.habits import Habits
from node.replication.intake import Intake
from node.replication.nearness import is_failing, nearest_first
from node.replication.peer import Peer, TicketGrant

BYTES_SECONDS = 5.0
"""Seconds after which bytes wait for facts: new studies are heard of in the middle of a backfill."""
ABSENT = 600 * SECOND
"""Microseconds until bytes that the other site did not have are asked for again."""


class Fetching:
    """Fetches what is wanted of one site."""

    def __init__(self, site: SiteId, catalog: Catalog, intake: Intake, habits: Habits) -> None:
        """The bytes of a site.

        Args:
            site: who has them.
            catalog: what is wanted.
            intake: takes in what comes.
            habits: how much at a time.
        """
        self._site = site
        self._catalog = catalog
        self._intake = intake
        self._habits = habits

    def fetch(self, peer: Peer) -> bool:
        """Fetch what is wanted, for some time; whether there was any.

        The next tickets are asked for while the packs of the last ones are on their way, so that the line
        does not run dry.
        """
        until = time.monotonic() + BYTES_SECONDS
        flying: dict[Future[None], Sequence[Want]] = {}
        any_came = False
        with ThreadPoolExecutor(self._habits.streams, thread_name_prefix=f"fetch-{self._site}") as streams:
            while True:
                if len(flying) <= self._habits.streams and time.monotonic() < until:
                    flying |= self._take_off(peer, streams, flying.values())
                if not flying:
                    return any_came
                any_came = True
                done, _ = wait(flying, return_when=FIRST_COMPLETED)
                for landed in done:
                    del flying[landed]
                    landed.result()

    def _take_off(
        self, peer: Peer, streams: ThreadPoolExecutor, flying: Iterable[Sequence[Want]]
    ) -> dict[Future[None], Sequence[Want]]:
        """Ask for a ticket for what is wanted next, and begin to fetch it."""
        under_way = {want.digest for pack in flying for want in pack}
        with self._catalog.reading() as unit:
            wants = self.next(unit, self._habits.batch + len(under_way))
        wants = self._intake.without_stored(self._site, [w for w in wants if w.digest not in under_way])
        if not wants:
            return {}
        grant = peer.prepare_to_get([want.digest for want in wants])
        granted = {digest for digest, _ in grant.items}
        for want in wants:
            if want.digest not in granted:
                self._absent(want)
        packs = self._packs([want for want in wants if want.digest in granted])
        return {streams.submit(self._pack, peer, grant, pack): pack for pack in packs}

    def next(self, unit: Unit, many: int) -> Sequence[Want]:
        """What may be fetched now, most urgent first."""
        wants = unit.wants.next(self._site, many)
        if self._habits.is_open():
            return wants
        return [want for want in wants if want.urgency >= Urgency.ON_DEMAND]

    def _pack(self, peer: Peer, grant: TicketGrant, pack: Sequence[Want]) -> None:
        """Fetch a pack and catalogue what came of it, also if it broke off."""
        came: list[Digest] = []
        try:
            for digest in peer.fetch(grant, [want.digest for want in pack]):
                came.append(digest)
        finally:
            self._intake.arrived(self._site, came)
        for want in pack:
            if want.digest not in came:
                self._absent(want)

    def _absent(self, want: Want) -> None:
        """The other site does not have these bytes, or they are damaged there: ask who else has them.

        All others that say so are asked in turn, at once, those that answer first; after the last one there
        is a pause. What a person has withdrawn is given by nobody, and not wanted any more.
        """

        def note(unit: Unit) -> None:
            if state_of(unit, want.instance).withdrawn:
                unit.wants.drop(want.digest)
                return
            others = sorted(_others(unit, want.digest, self._site), key=lambda one: _turn(unit, one))
            behind = [site for site in others if _turn(unit, site) > _turn(unit, self._site)]
            if others and not behind:
                unit.wants.ask(want.digest, others[0])
            unit.wants.failed(want.digest, f"{self._site} does not give it", pause=ABSENT)
            if behind:
                unit.wants.ask(want.digest, behind[0])

        self._catalog.perform(note)

    def _packs(self, wants: Sequence[Want]) -> Iterator[list[Want]]:
        """Wants, so many together as one request carries."""
        pack: list[Want] = []
        size = 0
        for want in wants:
            full = len(pack) >= self._habits.pack_blobs or size + want.size > self._habits.pack_bytes
            if pack and full:
                yield pack
                pack, size = [], 0
            pack.append(want)
            size += want.size
        if pack:
            yield pack

    def ask_elsewhere(self, unit: Unit) -> None:
        """Ask other sites for what this one does not answer about, where they have it, too."""
        for want in unit.wants.next(self._site, self._habits.batch):
            others = nearest_first(unit, _others(unit, want.digest, self._site))
            if others:
                unit.wants.ask(want.digest, others[0])


def _turn(unit: Unit, site: SiteId) -> tuple[bool, SiteId]:
    """Where a site stands when all are asked in turn: an order that is the same from one to the next."""
    return is_failing(unit, site), site


def _others(unit: Unit, digest: Digest, asked: SiteId) -> list[SiteId]:
    """Active members, besides the one that was asked, that say that they have these bytes."""
    active = {member.site for member in unit.members.active()}
    return [
        copy.site
        for copy in unit.replicas.of_digest(digest)
        if copy.state in (CopyState.VERIFIED, CopyState.HELD) and copy.site in active - {asked}
    ]
