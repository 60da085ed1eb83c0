"""A whole site back from its peers: facts first, then rows, then bytes.

```
known members ──▶ facts of all journals, its own included ──▶ rows that searches find ──▶ bytes, read back
                  a new epoch begins                          what peers describe          by the couriers
```

Every stage may be broken off and begun again: what is there is not asked for twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from node.blobs.store import BlobStore
from node.catalog.catalog import Catalog
from node.catalog.unit import Unit
from node.catalog.wants import ARRIVED, WANTED
from node.domain.errors import LinkSuspended, NodeError, PeerUnreachable, Rejected
from node.domain.ids import Digest, InstanceUID, SiteId
from node.domain.member import Member
from node.identity import addresses
from node.identity.home import Home
from node.replication.courier import Courier
from node.replication.describing import Describing
from node.replication.intake import LONGEST_FACT, Intake
from node.replication.peer import Peers
from node.replication.reconcile import Reconciled, reconcile
from node.replication.service import Service

log = logging.getLogger(__name__)

NAMED = 10_000
"""Missing instances that a report names."""
_HEX = "0123456789abcdef"
_TRIES = 100
"""Rounds in which members that others introduce are asked, too."""

Progress = Callable[[str, int], None]
"""Told what is under way, and how much of it is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """How it went with one peer."""

    site: SiteId
    facts: int = 0
    """Facts of its journal that are here."""
    error: str = ""
    """Why it could not be asked, if it could not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalled:
    """What came back of the site's own journal."""

    epoch: int
    """Under way now."""
    facts: int
    """Its own facts that are here, of all epochs."""
    last_epoch: int = 0
    last_seq: int = 0
    """The last fact of an earlier epoch that any peer had."""
    last_at: int = 0
    """When it was stated; microseconds since 1970."""
    unknown: int = 0
    """Numbers before it of which no peer has the fact: what concerned this site alone, or was withheld."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """How much is still to come."""

    objects: int = 0
    bytes: int = 0
    unproved: int = 0
    """Objects that have come and are not read back yet."""
    refused: int = 0
    """Objects for which all were asked in vain; they are asked again later."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be had now."""
        return self.objects <= self.refused and not self.unproved


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """An instance whose bytes nobody has given."""

    instance: InstanceUID
    digest: Digest
    why: str


class Restore:
    """Brings one site back."""

    def __init__(
        self, catalog: Catalog, blobs: BlobStore, intake: Intake, service: Service, home: Home, peers: Peers
    ) -> None:
        """Restore a site.

        Args:
            catalog: where facts and rows go.
            blobs: what is left of its bytes.
            intake: takes in what peers tell.
            service: tells them how this site is.
            home: this site; its keys stand beside the addresses of its members.
            peers: makes the peers to call.
        """
        self._catalog = catalog
        self._blobs = blobs
        self._intake = intake
        self._service = service
        self._home = home
        self._peers = peers

    def find_members(self) -> Sequence[Member]:
        """The members that can be asked: those of the catalog, or those that stand beside the keys.

        Raises:
            Rejected: none is known.
        """
        with self._catalog.reading() as unit:
            known = unit.members.all()
        if not known:
            kept = addresses.load(self._home.key_folder)
            self._catalog.perform(lambda unit: _remember(unit, self._home.site, kept))
            with self._catalog.reading() as unit:
                known = unit.members.all()
        if not known:
            raise Rejected(
                f"no other site is known here; have one of them say `konzilium invite DIR --site "
                f"{self._home.site} --returning`, and give the token to --invitation"
            )
        return [member for member in known if member.url is not None]

    def facts(self, progress: Progress = lambda what, done: None) -> Sequence[Heard]:
        """Read the journals of all members that answer, and this site's own from each of them."""
        heard: dict[SiteId, Heard] = {}
        for _ in range(_TRIES):
            todo = [one for one in self.find_members() if one.site not in heard and one.is_active]
            for member in todo:
                heard[member.site] = self._facts_of(member.site)
                progress("journals", sum(one.facts for one in heard.values()))
            if not todo:
                break
        with self._catalog.reading() as unit:
            others = [one for one in unit.members.all() if one.site not in heard]
        return [*heard.values(), *(_not_asked(one) for one in others)]

    def rows(self, progress: Progress = lambda what, done: None) -> int:
        """Catalogue what is to come by what peers say of it; how many rows were added."""
        describing, rows = Describing(self._catalog), 0
        for own in (True, False):
            for member in self._active():
                before = rows
                try:
                    with self._peers(member.site) as peer:
                        rows += describing.describe(peer, _added(progress, before), own=own)
                except NodeError as error:
                    log.warning("a site described nothing", extra={"peer": member.site, "error": str(error)})
        return rows

    def vanished(self) -> int:
        """Want back what is catalogued here and not in the store any more; how many copies those are."""
        found = 0
        for prefix in (one + other for one in _HEX for other in _HEX):
            with self._catalog.reading() as unit:
                held = sorted(unit.holdings.beginning(prefix))
            for first in range(0, len(held), LONGEST_FACT):
                found += len(self._intake.epochs.vanished(held[first : first + LONGEST_FACT]))
        return found

    def left(self) -> Left:
        """How much is still to come."""
        with self._catalog.reading() as unit:
            total, refused = unit.wants.total(), unit.wants.given_up_for_now()
        objects, size = total.get(WANTED, (0, 0))
        return Left(objects=objects, bytes=size, unproved=total.get(ARRIVED, (0, 0))[0], refused=refused)

    def recalled(self) -> Recalled:
        """What came back of this site's own journal."""
        with self._catalog.reading() as unit:
            journals, closed = unit.journal.origins(), unit.journal.closed()
            facts = sum(count for (origin, _), count in journals.items() if origin == unit.origin)
            ends = [unit.journal.at(unit.origin, epoch, end.seq) for epoch, end in closed.items()]
            last = max((end for end in ends if end is not None), key=lambda end: end.at, default=None)
            holes = [hole for epoch in closed for hole in unit.journal.holes(unit.origin, epoch)]
            return Recalled(
                epoch=unit.epoch,
                facts=facts,
                last_epoch=last.epoch if last else 0,
                last_seq=last.seq if last else 0,
                last_at=last.at if last else 0,
                unknown=sum(high - low + 1 for low, high in holes),
            )

    def missing(self) -> Sequence[Missing]:
        """What is catalogued here, or told of, and nobody has given."""
        with self._catalog.reading() as unit:
            waiting = unit.wants.left(NAMED)
            away = unit.instances.away(NAMED)
        asked = [Missing(instance=one.instance, digest=one.digest, why=why) for one, why in waiting]
        lost = [Missing(instance=uid, digest=digest, why="no site has a copy") for uid, digest in away]
        return [*asked, *lost]

    def compared(self) -> Iterator[tuple[SiteId, Reconciled | NodeError]]:
        """What this site and each of its peers hold, compared."""
        for member in self._active():
            try:
                with self._peers(member.site) as peer:
                    yield member.site, reconcile(self._catalog, peer)
            except NodeError as error:
                yield member.site, error

    def _active(self) -> Sequence[Member]:
        with self._catalog.reading() as unit:
            return [member for member in unit.members.active() if member.url is not None]

    def _facts_of(self, site: SiteId) -> Heard:
        courier = Courier(
            site,
            catalog=self._catalog,
            blobs=self._blobs,
            intake=self._intake,
            service=self._service,
            peers=self._peers,
        )
        error: NodeError | None = None
        try:
            for _ in range(_TRIES):
                before = self._facts_here()
                error = _caught_up(courier)
                if not isinstance(error, LinkSuspended) or self._facts_here() == before:
                    break
                self.find_members()  # forgotten while what was decided about it is read, page by page
        finally:
            courier.close()
        return Heard(site=site, facts=self._facts_here(site), error=str(error or ""))

    def _facts_here(self, site: SiteId | None = None) -> int:
        with self._catalog.reading() as unit:
            journals = unit.journal.origins()
        return sum(many for (origin, _), many in journals.items() if site in (None, origin))


def _caught_up(courier: Courier) -> NodeError | None:
    """Exchange facts to the end; why that did not work."""
    try:
        courier.catch_up()
    except NodeError as error:
        return error
    return None


def _remember(unit: Unit, here: SiteId, kept: Sequence[Member]) -> None:
    """Know members for as long as it takes to read what this site had decided about them."""
    if not unit.members.all():
        for member in kept:
            if member.site != here:
                unit.members.put(member)


def _not_asked(member: Member) -> Heard:
    if member.url is None:
        return Heard(site=member.site, error=str(PeerUnreachable(member.site, "only it can call this site")))
    return Heard(
        site=member.site, error=f"it is {member.standing}: {member.reason or 'nothing goes either way'}"
    )


def _added(progress: Progress, before: int) -> Callable[[int], None]:
    return lambda rows: progress("rows", before + rows)
