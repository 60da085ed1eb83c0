"""What one node asks of another: the port that a face implements, and that a site serves.

`node.replication.service.Service` answers these calls for its own site. In production they travel as SOAP
(`services.soap`) with the bytes beside them over HTTPS (`services.transfer`); in tests of whole sites in one
process `LocalPeer` hands them over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from node.audit.heads import SignedHead
from node.audit.proof import Proof
from node.audit.record import Record
from node.domain.change import Changes, Cursor, News, Told
from node.domain.ids import Digest, InstanceUID, SeriesUID, SiteId, StudyUID
from node.domain.instance import Description
from node.domain.principal import Principal
from node.domain.query import Query, Row
from node.domain.replica import Replica, Whereabouts

LONGEST_PAGE = 1000
"""Entries, digests or names in one call at the most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketGrant:
    """A ticket and what it is good for."""

    ticket: str
    expires_at: int
    items: tuple[tuple[Digest, int], ...] = ()
    """(digest, size in bytes) of what may be carried; what was asked for and is not here is left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """An instance as one site announces it to another that asks where to fetch it."""

    uid: InstanceUID
    series: SeriesUID
    study: StudyUID
    digest: Digest
    size: int
    origin: SiteId
    epoch: int
    entry: Told
    """The origin's journal entry that tells of these bytes, so that who fetches them can catalogue them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Rows of a search at one site, each in the order of `tags`."""

    site: SiteId
    ae_title: str
    tags: tuple[tuple[int, str], ...]
    rows: Sequence[Row]
    complete: bool = True
    """False where the site stopped at its limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lacking:
    """Bytes that one site names and the other one does not count among those that both hold."""

    digest: Digest
    where: Whereabouts
    note: str = ""
    """Why the last attempt to fetch them failed, if one did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """A part of the set of digests that two sites hold or owe each other: those that begin with `prefix`.

    Either its fingerprint is told, or the digests themselves.
    """

    prefix: str
    """Hexadecimal digits; none for the whole set."""
    fingerprint: str = ""
    """32 hexadecimal digits; equal ones mean equal sets."""
    digests: tuple[Digest, ...] | None = None
    """All of the range, where they are few."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """The answer to one range: the same, fingerprints of its sixteen parts, or what differs."""

    prefix: str
    same: bool = False
    parts: tuple[str, ...] = ()
    """The fingerprints of the sixteen parts whose prefixes are one digit longer, from 0 to f."""
    only: tuple[Digest, ...] = ()
    """Digests of the range that are not among those named."""
    lacking: tuple[Lacking, ...] = ()
    """Digests that were named and are not in the range here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Whose data the records are about that somebody asks for."""

    patients: tuple[str, ...] = ()
    """Patient IDs with their issuers (CX); of one person, under all names that are known of it."""
    studies: tuple[str, ...] = ()
    """Study Instance UIDs."""
    since: int = 0
    """Microseconds since 1970."""
    until: int = 1 << 62
    after: int = 0
    """Behind the record of this number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disclosed:
    """Records of another site, each with its place in the chain."""

    records: Sequence[Record]
    complete: bool = True
    """False where there are more behind the last one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """A run of its own audit record that a site shows because nobody can call it."""

    after: int
    last: int
    proof: Proof | None = None
    """The links from behind `after` up to `last`; None to ask how far the record was looked at."""
    whole: bool = False
    """Whether it is shown from its beginning, as the other one has asked."""


class Peer(Protocol):
    """Another site, as a courier sees it.

    Every call may be repeated with the same arguments.

    Raises (all of them):
        PeerUnreachable: it does not answer, or not in time.
        Unauthenticated, Forbidden: it does not know us, or does not let us.
        LinkSuspended: it has cut the link for now.
        Unavailable: it cannot do this now.
    """

    site: SiteId

    def heartbeat(self, news: News) -> News:
        """Tell our news and hear its."""
        ...

    def changes(self, after: Cursor, many: int) -> Changes:
        """Its journal after the cursor, at the most `many` entries."""
        ...

    def again(self, origin: SiteId, epoch: int, gaps: Sequence[tuple[int, int]], many: int) -> Changes:
        """Entries that it withheld before, asked for again because its terms have changed."""
        ...

    def offer(self, changes: Changes) -> int:
        """Tell it entries of our journal (to a site that cannot call us); how far it has them all."""
        ...

    def wanted(self, many: int) -> TicketGrant:
        """What it wants of us and cannot fetch, with a ticket to put it there."""
        ...

    def prepare_to_get(self, digests: Sequence[Digest], principal: Principal | None = None) -> TicketGrant:
        """A ticket to fetch bytes.

        Args:
            digests: what is wanted.
            principal: on whose behalf, if not of the node itself.
        """
        ...

    def describe(self, digests: Sequence[Digest]) -> Sequence[Description]:
        """What it has catalogued of these instances, so that they are found before their bytes are here.

        What it does not know, or does not give, is left out.
        """
        ...

    def fetch(self, grant: TicketGrant, digests: Sequence[Digest]) -> Iterator[Digest]:
        """Fetch bytes into the store of this site; yields each digest when it is durable there.

        A digest that is not yielded was not to be had, or was damaged.
        """
        ...

    def upload(self, grant: TicketGrant, digests: Sequence[Digest]) -> Sequence[Digest]:
        """Put bytes into its store; which of them it has kept."""
        ...

    def verify(self, digests: Sequence[Digest]) -> Sequence[Replica]:
        """Let it read its copies back from disk now, and say what it found."""
        ...

    def repair(self, digests: Sequence[Digest]) -> Sequence[Digest]:
        """Tell it that its copies look damaged or lost; which of them it is going to look at.

        It takes that as a hint only: it reads them again itself.
        """
        ...

    def compare(self, ranges: Sequence[Range]) -> Sequence[Compared]:
        """Compare ranges of the digests that both sites hold or owe (`node.replication.reconcile`)."""
        ...

    def search(self, query: Query, principal: Principal) -> Found:
        """Search its archive on behalf of a principal of ours."""
        ...

    def announce(self, studies: Sequence[StudyUID], principal: Principal) -> Sequence[Announced]:
        """Which instances of these studies it would give us."""
        ...

    def exchange_heads(self, heads: Sequence[SignedHead]) -> Sequence[SignedHead]:
        """Tell it the signed ends of audit records that are known here, and hear those that it knows."""
        ...

    def audit_proof(self, after: int, last: int) -> Proof:
        """What stands in its audit record behind record `after` up to record `last`, without content."""
        ...

    def offer_audit_proof(self, offered: Offered) -> int:
        """Show it a run of our audit record (to a site that cannot call us).

        Returns:
            Behind which record to go on; 0 for the whole record, as it is another one than before.
        """
        ...

    def disclosures(self, question: Question, principal: Principal) -> Disclosed:
        """What its audit record tells of a patient or study, asked for by a principal of ours."""
        ...


class Peers(Protocol):
    """Makes the peer of a member; the faces implement it."""

    def __call__(self, site: SiteId, *, timeout: float | None = None) -> AbstractContextManager[Peer]:
        """The peer to call, with a deadline for each call in seconds.

        Raises:
            PeerUnreachable: it has no address, so that only it can call.
        """
        ...
