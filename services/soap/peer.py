"""Another site, called by SOAP with the bytes beside it: the `Peer` of the node's couriers."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import cast
from urllib.parse import urlsplit

from lxml import etree

from node.audit.heads import SignedHead
from node.audit.proof import Proof
from node.blobs.store import BlobStore
from node.domain.change import Changes, Cursor, News
from node.domain.clock import Clock, system_clock
from node.domain.errors import PeerUnreachable
from node.domain.ids import Digest, InstanceUID, SeriesUID, SiteId, StudyUID
from node.domain.instance import Description
from node.domain.principal import Kind, Principal
from node.domain.query import Key, Query
from node.domain.replica import Replica
from node.identity.members import Members
from node.identity.xspa import Purpose
from node.replication.peer import (
    Announced,
    Compared,
    Disclosed,
    Found,
    Offered,
    Peer,
    Question,
    Range,
    TicketGrant,
)
from services.https.client import Connection, Destination, Waits
from services.https.tls import client_context
from services.soap import dicomjson
from services.soap.audit import Audit, disclosed_of, head_of, proof_of, written_head, written_proof
from services.soap.catalog import ReplicaCatalog
from services.soap.client.session import Secure, Session
from services.soap.client.wire import Pool, Wire
from services.soap.compared import read_compared, written_ranges
from services.soap.federation import Federation
from services.soap.framework.service import Service
from services.soap.news import news_of, written_news
from services.soap.records import (
    Span,
    description_of,
    grant_of,
    read_changes,
    read_told,
    replica_of,
    written_changes,
)
from services.soap.recovery import Recovery
from services.soap.security import Signer
from services.soap.storage import ItemKey, QueryKey, QueryLevel, Storage
from services.transfer.client import fetch, upload
from services.transfer.pace import Paces

KEPT = 16
"""Connections to one site that rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calling:
    """What a site needs to call others."""

    members: Members
    blobs: BlobStore
    clock: Clock = system_clock
    pace: Paces | None = None
    """A cap on bytes per second, all sites together."""


class SoapPeers:
    """Makes the peers of a site (`node.replication.peer.Peers`)."""

    def __init__(self, calling: Calling) -> None:
        """Peers to call.

        Args:
            calling: this site.
        """
        self._calling = calling

    @contextmanager
    def __call__(self, site: SiteId, *, timeout: float | None = None) -> Iterator[Peer]:
        """The peer to call (see `node.replication.peer.Peers`)."""
        pool = Pool(self._opener(site, timeout), KEPT)
        try:
            yield SoapPeer(site, self._calling, pool)
        finally:
            pool.close()

    def _opener(self, site: SiteId, timeout: float | None) -> Callable[[], Wire]:
        """Opens connections to the address that the metadata tell."""
        member = self._calling.members.demand_active(site)
        if member.url is None:
            raise PeerUnreachable(site, "only it can call this site")
        where = urlsplit(member.url)
        destination = Destination(
            name=site,
            host=where.hostname or "",
            port=where.port or 443,
            fingerprints=frozenset(member.fingerprints),
        )
        context = self._context()
        waits = Waits() if timeout is None else Waits(connect_seconds=timeout, stall_seconds=timeout)
        return lambda: cast(Wire, Connection(destination, context, waits))

    def _context(self) -> ssl.SSLContext:
        folder = self._calling.members.home.key_folder
        return client_context(folder / "node.crt", folder / "node.key")


class SoapPeer:
    """One site, over a pool of connections; may be used by several threads."""

    def __init__(self, site: SiteId, calling: Calling, pool: Pool) -> None:
        """A site to call.

        Args:
            site: which one.
            calling: this site.
            pool: connections to it.
        """
        self.site = site
        self._calling = calling
        self._pool = pool
        home = calling.members.home
        self._signer = Signer(home.key(), organization=home.organization or home.site)
        self._node = Principal(kind=Kind.NODE, name=home.site, site=home.site)

    def heartbeat(self, news: News) -> News:
        """Tell our news and hear its."""
        return news_of(self._session(Federation).call(Federation.heartbeat, news=written_news(news)))

    def changes(self, after: Cursor, many: int) -> Changes:
        """Its journal after the cursor."""
        answer = self._session(ReplicaCatalog).call(
            ReplicaCatalog.changes, origin=after.origin, epoch=after.epoch, after=after.seq, many=many
        )
        return read_changes(answer)

    def again(self, origin: SiteId, epoch: int, gaps: Sequence[tuple[int, int]], many: int) -> Changes:
        """Entries that it withheld before."""
        spans = tuple(Span(first=first, last=last) for first, last in gaps)
        answer = self._session(ReplicaCatalog).call(
            ReplicaCatalog.changes_again, origin=origin, epoch=epoch, span=spans, many=many
        )
        return read_changes(answer)

    def offer(self, changes: Changes) -> int:
        """Tell it entries of our journal."""
        return self._session(ReplicaCatalog).call(
            ReplicaCatalog.offer_changes, changes=written_changes(changes)
        )

    def wanted(self, many: int) -> TicketGrant:
        """What it wants of us and cannot fetch."""
        return grant_of(self._session(ReplicaCatalog).call(ReplicaCatalog.wanted, many=many))

    def prepare_to_get(self, digests: Sequence[Digest], principal: Principal | None = None) -> TicketGrant:
        """A ticket to fetch bytes."""
        session = self._session(Storage, principal)
        return grant_of(session.call(Storage.prepare_to_get, digest=tuple(digests)))

    def describe(self, digests: Sequence[Digest]) -> Sequence[Description]:
        """What it has catalogued of these instances."""
        found = self._session(ReplicaCatalog).call(ReplicaCatalog.describe, digest=tuple(digests))
        return [description_of(one) for one in found]

    def fetch(self, grant: TicketGrant, digests: Sequence[Digest]) -> Iterator[Digest]:
        """Fetch bytes into the store of this site."""
        sizes = dict(grant.items)
        wanted = [(digest, sizes[digest]) for digest in digests if digest in sizes]
        with self._pool.lease() as wire:
            came = fetch(
                cast(Connection, wire), grant.ticket, wanted, self._calling.blobs, self._calling.pace
            )
            for one in came:
                if isinstance(one, Digest):
                    yield one

    def upload(self, grant: TicketGrant, digests: Sequence[Digest]) -> Sequence[Digest]:
        """Put bytes into its store."""
        with self._pool.lease() as wire:
            fates = upload(
                cast(Connection, wire), grant.ticket, digests, self._calling.blobs, self._calling.pace
            )
        kept = tuple(one for one in fates if isinstance(one, Digest))
        if not kept:
            return ()
        catalogued = self._session(ReplicaCatalog).call(ReplicaCatalog.arrived, digest=kept)
        return [Digest.trusted(one) for one in catalogued]

    def verify(self, digests: Sequence[Digest]) -> Sequence[Replica]:
        """Let it read its copies back from disk now."""
        found = self._session(Recovery).call(Recovery.verify_replicas, digest=tuple(digests))
        return [replica_of(one) for one in found]

    def repair(self, digests: Sequence[Digest]) -> Sequence[Digest]:
        """Tell it that its copies look damaged or lost."""
        taken = self._session(Recovery).call(Recovery.repair_replica, digest=tuple(digests))
        return [Digest.trusted(one) for one in taken]

    def compare(self, ranges: Sequence[Range]) -> Sequence[Compared]:
        """Compare ranges of the digests that both sites hold or owe."""
        answer = self._session(ReplicaCatalog).call(ReplicaCatalog.compare, range=written_ranges(ranges))
        return read_compared(answer)

    def exchange_heads(self, heads: Sequence[SignedHead]) -> Sequence[SignedHead]:
        """Tell it the signed ends of audit records, and hear those that it knows."""
        told = tuple(map(written_head, heads))
        return [head_of(one) for one in self._session(Audit).call(Audit.exchange_heads, head=told)]

    def audit_proof(self, after: int, last: int) -> Proof:
        """What stands in its audit record, without content."""
        return proof_of(self._session(Audit).call(Audit.get_audit_proof, after=after, last=last))

    def offer_audit_proof(self, offered: Offered) -> int:
        """Show it a run of our audit record."""
        return self._session(Audit).call(
            Audit.offer_audit_proof,
            after=offered.after,
            last=offered.last,
            proof=written_proof(offered.proof) if offered.proof else None,
            whole=offered.whole,
        )

    def disclosures(self, question: Question, principal: Principal) -> Disclosed:
        """What its audit record tells of a patient or study, asked for by a principal of ours."""
        answer = self._session(Audit, principal).call(
            Audit.get_disclosures,
            patient=question.patients,
            study=question.studies,
            since=question.since,
            until=question.until,
            after=question.after,
        )
        return disclosed_of(answer)

    def search(self, query: Query, principal: Principal) -> Found:
        """Search its archive on behalf of a principal of ours."""
        found = self._session(Storage, principal).call(
            Storage.search,
            level=QueryLevel[query.level.name],
            key=tuple(_key(key) for key in query.keys),
            patient_root=query.patient_root,
            limit=query.limit or 1000,
        )
        tags = tuple((int(column.tag, 16), column.vr) for column in found.column)
        try:
            rows = [dicomjson.read(text, tags) for text in found.dataset]
        except (ValueError, TypeError, KeyError) as error:
            raise PeerUnreachable(self.site, "its matches cannot be read") from error
        return Found(
            site=SiteId.trusted(found.site),
            ae_title=found.ae_title,
            tags=tags,
            rows=rows,
            complete=found.complete,
        )

    def announce(self, studies: Sequence[StudyUID], principal: Principal) -> Sequence[Announced]:
        """Which instances of these studies it would give us."""
        held = self._session(Storage, principal).call(Storage.list, study=tuple(studies))
        return [
            Announced(
                uid=InstanceUID.trusted(one.instance),
                series=SeriesUID.trusted(one.series),
                study=StudyUID.trusted(one.study),
                digest=Digest.trusted(one.digest),
                size=one.size,
                origin=SiteId.trusted(one.origin),
                epoch=one.epoch,
                entry=replace(read_told(one.entry), owed=True),
            )
            for one in held
        ]

    def _session(self, service: type[Service], principal: Principal | None = None) -> Session:
        """Calls of one service, on behalf of somebody here or of this node."""
        return Session(
            service,
            peer=self.site,
            pool=self._pool,
            target=f"/soap/{service.path}/{service.version}",
            secure=self._secure(principal or self._node),
        )

    def _secure(self, principal: Principal) -> Secure:
        purpose = _purpose(principal)

        def secure(envelope: etree._Element, action: str) -> etree._Element:
            return self._signer.secure(
                envelope,
                audience=self.site,
                principal=principal,
                action=action,
                now=self._calling.clock(),
                purpose=purpose,
            )

        return secure


def _purpose(principal: Principal) -> Purpose:
    """Why a principal asks, as far as it said so."""
    if principal.purpose:
        return Purpose(principal.purpose)
    return Purpose.OPERATIONS if principal.kind is Kind.NODE else Purpose.TREATMENT


def _key(key: Key) -> QueryKey:
    items = tuple(ItemKey(tag=f"{one.tag:08X}", vr=one.vr, value=one.value) for one in key.items)
    return QueryKey(tag=f"{key.tag:08X}", vr=key.vr, value=key.value, item=items)
