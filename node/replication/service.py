"""What a site does for its members: tells its journal, hands out bytes, takes in what is put here.

Everything a member may have goes through the terms of this site. The faces (`services.soap`,
`services.transfer`) recognise the member and open one of these doors.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from node.audit.record import Event, deed_of
from node.blobs.store import BlobStore
from node.catalog import traits
from node.catalog.catalog import Catalog
from node.catalog.descriptions import described
from node.catalog.tickets import Ticket
from node.catalog.unit import Unit
from node.domain.chain import Head
from node.domain.change import Changes, Cursor, News
from node.domain.errors import Forbidden, MalformedMessage, UnknownInstance, UnknownTicket
from node.domain.finding import Finding
from node.domain.ids import Digest, InstanceUID, SiteId
from node.domain.instance import Description
from node.domain.job import SECOND
from node.domain.member import Member
from node.domain.principal import Action, Kind, Principal
from node.domain.replica import Lag, Replica
from node.identity.audit_book import AuditBook
from node.identity.gate import Gate
from node.identity.home import Home
from node.journal.entry import Entry
from node.replication.audit_doors import AuditDoors
from node.replication.copies import Copies, may_have
from node.replication.intake import Intake
from node.replication.peer import LONGEST_PAGE, Compared, Range, TicketGrant
from node.replication.reconcile import answer
from node.replication.telling import Teller, kept, terms_of

TICKET_LIFE = 600 * SECOND
_PIECE = 1 << 18
Item: TypeAlias = tuple[Digest, int, str]
"""Digest, size and study of some bytes."""
GAPS = 50
"""Ranges of withheld entries that a heartbeat names at the most."""
_TURN = 10 * SECOND
GET, PUT, UPLOAD = "get", "put", "upload"
"""What tickets are for: fetch from here, put what this site wants, put something new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stands:
    """How a site is, as far as a member needs to know."""

    site: SiteId
    at: int
    epoch: int
    head: Head
    reached: int
    wanted: Lag
    owed: Lag
    free: int


class Service:
    """The doors of a site for other sites."""

    def __init__(self, catalog: Catalog, blobs: BlobStore, intake: Intake, home: Home) -> None:
        """The doors of the site that this catalog belongs to.

        Args:
            catalog: the facts.
            blobs: the bytes.
            intake: takes in what members tell and put.
            home: this site, as it announces itself.
        """
        self._catalog = catalog
        self._blobs = blobs
        self._intake = intake
        self._home = home
        self._copies = Copies(catalog, blobs)
        self.audit = AuditDoors(catalog, AuditBook(catalog, home))
        """What members are shown of the audit record."""
        self._gate = Gate(catalog)

    def heartbeat(self, member: Member, news: News) -> News:
        """Hear a member's news and tell ours."""
        if news.site != member.site:
            raise MalformedMessage("a site can tell news of itself only")
        self._intake.epochs.notice(member.site, news)
        with self._catalog.reading() as unit:
            known, answer, now = unit.members.contact(member.site), self.news(unit, member.site), unit.now
        is_news = (known.head, known.epoch) != (news.head, news.epoch)
        if is_news or known.failed_at >= known.heard_at or abs(now - known.heard_at) > SECOND * 10:
            self._catalog.perform(lambda unit: _heard(unit, member, news))
        return answer

    def standing(self, member: Member) -> Stands:
        """How this site is, and what is owed between it and a member."""
        with self._catalog.reading() as unit:
            contact = unit.members.contact(member.site)
            return Stands(
                site=unit.origin,
                at=unit.now,
                epoch=unit.epoch,
                head=unit.journal.head(),
                reached=unit.cursors.find(member.site, contact.epoch).seq,
                wanted=unit.wants.lag(member.site),
                owed=unit.replicas.lag(member.site),
                free=max(self._blobs.free(), 0),
            )

    def news(self, unit: Unit, asking: SiteId) -> News:
        """What this site tells a member of itself."""
        head, audit = unit.journal.head(), unit.audit.head()
        own, reached = self._home.announced(unit), unit.cursors.heads(asking)
        return News(
            site=unit.origin,
            epoch=unit.epoch,
            head=head.seq,
            head_hash=head.hash,
            terms=terms_of(unit),
            metadata=own[1].version if own else 0,
            at=unit.now,
            audit_head=audit.seq,
            audit_hash=audit.hash,
            reached={str(epoch): read.seq for epoch, read in reached.items()},
            marks={str(epoch): read.hash for epoch, read in reached.items()},
            ends={str(epoch): end for epoch, end in unit.journal.closed().items()},
            recalled={str(epoch): seq for epoch, seq in unit.recalls.of(asking).items()},
            gaps={str(epoch): _some(unit.cursors.gaps(asking, epoch), unit.now) for epoch in reached},
        )

    def changes(self, member: Member, after: Cursor, many: int) -> Changes:
        """This site's journal after a cursor, as its terms let the member have it.

        A member that was restored is told its own journal, as far as it was read here.
        """
        many = max(1, min(many, LONGEST_PAGE))
        with self._catalog.reading() as unit:
            if after.origin == member.site:
                return kept(unit, after, many)
            if after.origin != unit.origin:
                raise Forbidden(member.site, f"read the journal of {after.origin}", "each site tells its own")
            teller = Teller(unit, member)
            page = unit.journal.page(after.seq, many, epoch=after.epoch)
            return teller.tell(after.epoch, page, after.seq)

    def again(
        self, member: Member, origin: SiteId, epoch: int, gaps: Sequence[tuple[int, int]], many: int
    ) -> Changes:
        """Entries that were withheld before, as the terms of today let the member have them."""
        many = max(1, min(many, LONGEST_PAGE))
        with self._catalog.reading() as unit:
            if origin != unit.origin:
                raise Forbidden(member.site, f"read the journal of {origin}", "each site tells its own")
            teller = Teller(unit, member)
            entries: list[Entry] = []
            for first, last in gaps:
                wanted = min(last - first + 1, many - len(entries))
                page = unit.journal.page(first - 1, wanted, epoch=epoch) if wanted > 0 else []
                entries += [entry for entry in page if entry.seq <= last]
            return teller.tell(epoch, entries)

    def offer(self, member: Member, changes: Changes) -> int:
        """Take in entries that a member tells of its own accord; how far its journal is here.

        They are of its own journal, or of this site's, as it had read it before this site was restored.
        """
        if changes.origin == self._home.site:
            self.put_here(member, self._intake.epochs.take(member.site, changes))
            with self._catalog.reading() as unit:
                return unit.recalls.of(member.site).get(changes.epoch, 0)
        if changes.origin != member.site:
            raise Forbidden(member.site, f"tell the journal of {changes.origin}", "each site tells its own")
        with self._catalog.reading() as unit:
            reached = unit.cursors.find(changes.origin, changes.epoch).seq
        late = [told for told in changes.entries if told.seq <= reached]
        if late and not changes.anew:
            self._intake.fill(replace(changes, entries=late), [(told.seq, told.seq) for told in late])
        return self._intake.take(changes).seq

    def wanted(self, member: Member, many: int) -> TicketGrant:
        """What this site wants of a member, with a ticket to put it here."""
        with self._catalog.reading() as unit:
            wants = unit.wants.next(member.site, min(many, LONGEST_PAGE))
        return self._grant(member, PUT, [(want.digest, want.size) for want in wants], f"node:{member.site}")

    def grant(
        self, member: Member, verb: str, items: Sequence[tuple[Digest, int]], principal: Principal
    ) -> TicketGrant:
        """A ticket for these bytes, whoever decided that."""
        return self._grant(member, verb, items, str(principal))

    def covered(self, ticket_id: str, site: SiteId) -> frozenset[Digest]:
        """The bytes that a member may put with a ticket.

        Raises:
            UnknownTicket: it has no such ticket.
        """
        with self._catalog.reading() as unit:
            ticket = unit.tickets.find(ticket_id)
        if ticket is None or ticket.site != site or ticket.verb != UPLOAD:
            raise UnknownTicket(ticket_id[:8])
        return ticket.digests

    def stat(self, member: Member, digest: Digest) -> tuple[InstanceUID, int]:
        """The instance and the size of some bytes.

        Raises:
            UnknownInstance: they are not here, or not for this member to know.
        """
        with self._catalog.reading() as unit:
            item, uid = self._allowed(unit, member, digest), unit.forms.holder_of(digest)
        if item is None or uid is None:
            raise UnknownInstance(digest)
        return uid, item[1]

    def prepare_to_get(self, member: Member, principal: Principal, digests: Sequence[Digest]) -> TicketGrant:
        """A ticket for those of the bytes that are here and that the terms let the member have.

        Where a person caused the call, the policy has to let that person have them, too.

        Raises:
            Forbidden: the policy says no, to all of them.
        """
        with self._catalog.reading() as unit:
            items = [
                item for digest in digests[:LONGEST_PAGE] if (item := self._allowed(unit, member, digest))
            ]
        if principal.kind is Kind.PERSON:
            principal, items = self._for_person(principal, items)
        carried = [(digest, size) for digest, size, _ in items]
        return self._grant(member, GET, carried, str(principal), studies=items, principal=principal)

    def _for_person(self, principal: Principal, items: list[Item]) -> tuple[Principal, list[Item]]:
        """The person as known here, and what of the items the policy gives to that person.

        Raises:
            Forbidden: nothing of it.
        """
        caller = self._gate.demand(principal, Action.RETRIEVE)
        refused = self._gate.leave_out(caller, Action.RETRIEVE, [study for _, _, study in items])
        return caller, [item for item in items if item[2] not in refused]

    def describe(self, member: Member, digests: Sequence[Digest]) -> Sequence[Description]:
        """What is catalogued of these instances, as far as the terms give them to a member."""
        with self._catalog.reading() as unit:
            found = described(unit, digests[:LONGEST_PAGE])
            known = traits.of(unit, [one.instance for one in found])
            now = unit.now
            given = [one for one in found if member.export.allow(known[one.instance], now=now)]
        if given:
            node = Principal(kind=Kind.NODE, name=member.site, site=member.site)
            studies = [known[one.instance].study for one in given]
            self._catalog.perform(
                lambda unit: _told_of(unit, node, Event.QUERY, f"described to {member.site}", studies)
            )
        return given

    def put_here(self, member: Member, digests: Sequence[Digest]) -> Sequence[Digest]:
        """Catalogue what a member has put into the store; which of it is here now."""
        return self._intake.arrived(member.site, [d for d in digests if self._blobs.size(d) is not None])

    def verify(self, member: Member, digests: Sequence[Digest]) -> Sequence[Replica]:
        """Read copies of this site back from disk now, and say what was found."""
        return self._copies.verify(member, digests)

    def repair(self, member: Member, digests: Sequence[Digest]) -> Sequence[Digest]:
        """Look at copies that a member takes to be damaged or lost; which of them are going to be."""
        return self._copies.repair(member, digests)

    def findings(self, member: Member, many: int) -> Sequence[Finding]:
        """What is wrong with copies that concern a member."""
        return self._copies.findings(member, many)

    def compare(self, member: Member, ranges: Sequence[Range]) -> Sequence[Compared]:
        """Compare ranges of what this site and a member both hold, or owe each other."""
        with self._catalog.reading() as unit:
            return answer(unit, member.site, ranges)

    def record_sent(self, site: SiteId, digests: Sequence[Digest]) -> None:
        """Record what this node has put at a site that had asked for it."""
        if not digests:
            return
        node = Principal(kind=Kind.NODE, name=site, site=site)

        def write(unit: Unit) -> None:
            uids = [uid for digest in digests if (uid := unit.forms.holder_of(digest)) is not None]
            studies = [known.study for known in traits.of(unit, uids).values()]
            _told_of(unit, node, Event.SENT, f"to {site}", studies)

        self._catalog.perform(write)

    def to_get(self, ticket: str, site: SiteId, digests: Sequence[Digest]) -> None:
        """Let a member fetch bytes for which it has a ticket.

        Raises:
            UnknownTicket, Forbidden: it has none for these.
        """
        self._demand(ticket, (GET,), site, digests)
        self._demand_given(site, digests)

    def to_put(self, ticket: str, site: SiteId, digests: Sequence[Digest]) -> None:
        """Let a member put bytes for which it has a ticket.

        Raises:
            UnknownTicket, Forbidden: it has none for these.
        """
        self._demand(ticket, (PUT, UPLOAD), site, digests)

    def is_upload(self, ticket_id: str) -> bool:
        """Whether a ticket is for something new, which does not go among what is archived."""
        with self._catalog.reading() as unit:
            ticket = unit.tickets.find(ticket_id)
        return ticket is not None and ticket.verb == UPLOAD

    def chunks(self, digest: Digest) -> Iterator[bytes]:
        """The bytes of an object, piece by piece, for who has a ticket.

        Raises:
            BlobMissing: they are gone.
        """
        with self._blobs.open(digest) as file:
            while chunk := file.read(_PIECE):
                yield chunk

    def _demand(self, ticket_id: str, verbs: Sequence[str], site: SiteId, digests: Sequence[Digest]) -> None:
        with self._catalog.reading() as unit:
            ticket = unit.tickets.find(ticket_id)
        if ticket is None or ticket.site != site or ticket.verb not in verbs:
            raise UnknownTicket(ticket_id[:8])
        if not ticket.digests.issuperset(digests):
            raise Forbidden(site, f"{ticket.verb} these bytes", "its ticket is for others")

    def _demand_given(self, site: SiteId, digests: Sequence[Digest]) -> None:
        """See that what is here may still be given: terms change, and instances are withdrawn."""
        with self._catalog.reading() as unit:
            member = unit.members.find(site)
            held = [digest for digest in digests if unit.forms.holder_of(digest) is not None]
            if member and any(not may_have(unit, member, digest) for digest in held):
                raise Forbidden(site, "get these bytes", "they are not given to it any more")

    def _allowed(self, unit: Unit, member: Member, digest: Digest) -> Item | None:
        """Digest, size and study of bytes that are here and that a member may have."""
        size, known = self._blobs.size(digest), may_have(unit, member, digest)
        return None if size is None or known is None else (digest, size, known.study)

    def _grant(
        self,
        member: Member,
        verb: str,
        items: Sequence[tuple[Digest, int]],
        who: str,
        *,
        studies: Sequence[Item] = (),
        principal: Principal | None = None,
    ) -> TicketGrant:
        """Make out a ticket, and write down for which studies."""
        ticket_id = secrets.token_urlsafe(24)

        def make(unit: Unit) -> int:
            expires = unit.now + TICKET_LIFE
            unit.tickets.add(
                Ticket(
                    id=ticket_id,
                    site=member.site,
                    verb=verb,
                    digests=frozenset(digest for digest, _ in items),
                    expires_at=expires,
                    who=who,
                )
            )
            if principal is not None:
                _told_of(unit, principal, Event.SENT, f"to {member.site}", [study for _, _, study in studies])
            return expires

        expires = self._catalog.perform(make) if items else 0
        return TicketGrant(ticket=ticket_id, expires_at=expires, items=tuple(items))


def _told_of(unit: Unit, principal: Principal, event: Event, how: str, studies: Sequence[str]) -> None:
    """Record for each study how many of its instances were given or told of.

    Args:
        unit: of the deed itself.
        principal: who got it.
        event: what.
        how: the same in words, as `to prague`.
        studies: of the instances, each as often as there are instances of it.
    """
    for study in sorted(set(studies)):
        what = f"{studies.count(study)} instances {how}"
        unit.audit.append(deed_of(principal, event, what=what, study=study))


def _heard(unit: Unit, member: Member, news: News) -> None:
    """Note what a member has just told."""
    known = unit.members.contact(member.site)
    heard = replace(known, heard_at=unit.now, head=news.head, epoch=news.epoch)
    unit.members.save_contact(heard, heads_of(news))


def _some(gaps: Sequence[tuple[int, int]], now: int) -> Sequence[tuple[int, int]]:
    """As many gaps as a heartbeat names; each of them has its turn within some minutes."""
    if len(gaps) <= GAPS:
        return gaps
    first = now // _TURN * GAPS % len(gaps)
    return sorted([*gaps[first:], *gaps[:first]][:GAPS])


def heads_of(news: News) -> dict[str, object]:
    """What is kept of a member's ends of chain: it cannot take them back."""
    return {
        "journal": [news.epoch, news.head, news.head_hash],
        "audit": [news.audit_head, news.audit_hash],
        "metadata": news.metadata,
        "reached": dict(news.reached),
        "marks": dict(news.marks),
        "ends": {epoch: end.seq for epoch, end in news.ends.items()},
    }
