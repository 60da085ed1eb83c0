"""Sites in one process that call each other without a network, through the doors that members come to.

```
lines = Lines()
brno, prague = ..., ...                 # each calls by `lines.peers(Caller(...))`
lines.open(brno); lines.open(prague)
lines.cut("brno", "prague")             # from now on neither reaches the other
```
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from node.audit.heads import SignedHead
from node.audit.proof import Proof
from node.blobs.store import BlobStore
from node.domain.change import Changes, Cursor, News
from node.domain.errors import BlobMissing, DigestMismatch, PeerUnreachable
from node.domain.ids import Digest, SiteId, StudyUID
from node.domain.instance import Description
from node.domain.member import Member
from node.domain.principal import Kind, Principal
from node.domain.query import Query
from node.domain.replica import Replica
from node.identity.home import Home
from node.identity.members import Members
from node.replication.answer import Answers
from node.replication.peer import (
    Announced,
    Compared,
    Disclosed,
    Found,
    Offered,
    Peer,
    Peers,
    Question,
    Range,
    TicketGrant,
)
from node.replication.service import Service

T = TypeVar("T")
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A site that calls others."""

    name: SiteId
    home: Home
    """Its key tells who it is."""
    blobs: BlobStore
    """Where what it fetches goes, and where what it puts elsewhere comes from."""


class Doors(Protocol):
    """What a site shows to others."""

    @property
    def name(self) -> SiteId:
        """Which site."""

    @property
    def members(self) -> Members:
        """Recognises who calls."""

    @property
    def service(self) -> Service:
        """The doors."""

    @property
    def answers(self) -> Answers:
        """The doors for searches."""

    @property
    def blobs(self) -> BlobStore:
        """The bytes."""


class Lines:
    """The lines between sites of one process."""

    def __init__(self) -> None:
        """No site is known, and no line is cut."""
        self._sites: dict[SiteId, Doors] = {}
        self._cut: set[frozenset[SiteId]] = set()

    def open(self, site: Doors) -> None:
        """Let a site be called."""
        self._sites[site.name] = site

    def cut(self, one: SiteId, other: SiteId) -> None:
        """Cut the line between two sites, both ways."""
        self._cut.add(frozenset((one, other)))

    def heal(self) -> None:
        """Make every line whole again."""
        self._cut.clear()

    def reach(self, caller: SiteId, site: SiteId) -> Doors:
        """The site that is called.

        Raises:
            PeerUnreachable: the line is cut, or there is no such site.
        """
        called = self._sites.get(site)
        if called is None or frozenset((caller, site)) in self._cut:
            raise PeerUnreachable(site, "the line is cut")
        return called

    def peers(self, caller: Caller) -> Peers:
        """The sites that one of them calls."""

        @contextmanager
        def peer(site: SiteId, *, timeout: float | None = None) -> Iterator[Peer]:
            yield DirectPeer(self, caller, site)

        return peer


class DirectPeer(Peer):
    """Another site of this process."""

    def __init__(self, lines: Lines, caller: Caller, site: SiteId) -> None:
        """A site to call.

        Args:
            lines: how it is reached.
            caller: who calls.
            site: which site.
        """
        self.site = site
        self._lines = lines
        self._caller = caller

    def _called(self) -> tuple[Doors, Member]:
        """The other site, once it has recognised who calls."""
        called = self._lines.reach(self._caller.name, self.site)
        return called, called.members.recognise(self._caller.home.key().fingerprint)

    def _call(self, door: Callable[[Service, Member], T]) -> T:
        called, member = self._called()
        answer = door(called.service, member)
        self._lines.reach(self._caller.name, self.site)
        return answer

    def _node(self) -> Principal:
        return Principal(kind=Kind.NODE, name=self._caller.name, site=self._caller.name)

    def heartbeat(self, news: News) -> News:
        """Tell our news and hear its."""
        return self._call(lambda service, member: service.heartbeat(member, news))

    def changes(self, after: Cursor, many: int) -> Changes:
        """Its journal after the cursor."""
        return self._call(lambda service, member: service.changes(member, after, many))

    def again(self, origin: SiteId, epoch: int, gaps: Sequence[tuple[int, int]], many: int) -> Changes:
        """Entries that it withheld before."""
        return self._call(lambda service, member: service.again(member, origin, epoch, gaps, many))

    def offer(self, changes: Changes) -> int:
        """Tell it entries of our journal."""
        return self._call(lambda service, member: service.offer(member, changes))

    def wanted(self, many: int) -> TicketGrant:
        """What it wants of us and cannot fetch."""
        return self._call(lambda service, member: service.wanted(member, many))

    def prepare_to_get(self, digests: Sequence[Digest], principal: Principal | None = None) -> TicketGrant:
        """A ticket to fetch bytes."""
        asks = principal or self._node()
        return self._call(lambda service, member: service.prepare_to_get(member, asks, digests))

    def describe(self, digests: Sequence[Digest]) -> Sequence[Description]:
        """What it has catalogued of these instances."""
        return self._call(lambda service, member: service.describe(member, digests))

    def fetch(self, grant: TicketGrant, digests: Sequence[Digest]) -> Iterator[Digest]:
        """Fetch bytes into the store of who calls; damaged ones are turned away."""
        called, member = self._called()
        called.service.to_get(grant.ticket, member.site, digests)
        for digest in digests:
            self._lines.reach(self._caller.name, self.site)
            if carry(digest, called.blobs, self._caller.blobs):
                yield digest

    def upload(self, grant: TicketGrant, digests: Sequence[Digest]) -> Sequence[Digest]:
        """Put bytes into its store."""
        called, member = self._called()
        called.service.to_put(grant.ticket, member.site, digests)
        came = [digest for digest in digests if carry(digest, self._caller.blobs, called.blobs)]
        return called.service.put_here(member, came)

    def verify(self, digests: Sequence[Digest]) -> Sequence[Replica]:
        """Let it read its copies back from disk now."""
        return self._call(lambda service, member: service.verify(member, digests))

    def repair(self, digests: Sequence[Digest]) -> Sequence[Digest]:
        """Tell it that its copies look damaged."""
        return self._call(lambda service, member: service.repair(member, digests))

    def compare(self, ranges: Sequence[Range]) -> Sequence[Compared]:
        """Compare ranges of the digests that both hold or owe."""
        return self._call(lambda service, member: service.compare(member, ranges))

    def search(self, query: Query, principal: Principal) -> Found:
        """Search its archive."""
        called, member = self._called()
        return called.answers.search_for(member, principal, query)

    def exchange_heads(self, heads: Sequence[SignedHead]) -> Sequence[SignedHead]:
        """Tell it the signed ends of audit records, and hear those that it knows."""
        return self._call(lambda service, member: service.audit.exchange(member, heads))

    def audit_proof(self, after: int, last: int) -> Proof:
        """What stands in its audit record."""
        return self._call(lambda service, member: service.audit.proof(after, last))

    def offer_audit_proof(self, offered: Offered) -> int:
        """Show it a run of our audit record."""
        return self._call(lambda service, member: service.audit.offered(member, offered))

    def disclosures(self, question: Question, principal: Principal) -> Disclosed:
        """What its audit record tells of a patient or study."""
        asks = replace(principal, via=self._caller.name)
        return self._call(lambda service, member: service.audit.disclosures(member, asks, question))

    def announce(self, studies: Sequence[StudyUID], principal: Principal) -> Sequence[Announced]:
        """Which instances of these studies it would give us."""
        called, member = self._called()
        return called.answers.announce_for(member, principal, studies)


def carry(digest: Digest, source: BlobStore, target: BlobStore) -> bool:
    """Carry bytes from one store to another; whether they came whole: damaged ones leave nothing."""
    try:
        with source.open_whole(digest) as file, target.writer() as writer:
            while chunk := file.read(_PIECE):
                writer.write(chunk)
            if writer.finish() != digest:
                return False
            writer.keep()
            return True
    except (BlobMissing, DigestMismatch):
        return False
