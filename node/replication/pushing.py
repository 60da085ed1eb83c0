"""What a courier does where nobody can call this site: it tells and gives the other one what that wants."""

from __future__ import annotations

from node.blobs.store import BlobStore
from node.catalog.catalog import Catalog
from node.domain.change import Cursor, News
from node.domain.member import Member
from node.replication.habits import Habits
from node.replication.peer import LONGEST_PAGE, Peer
from node.replication.service import Service


class Pushing:
    """Tells one site the facts of this one, and puts there the bytes that it wants."""

    def __init__(self, catalog: Catalog, blobs: BlobStore, service: Service, habits: Habits) -> None:
        """To one site.

        Args:
            catalog: the facts.
            blobs: the bytes.
            service: tells what the terms let the site have.
            habits: how much at a time.
        """
        self._catalog = catalog
        self._blobs = blobs
        self._service = service
        self._habits = habits
        self._offered: dict[int, list[int]] = {}
        """Entries by epoch that it may know, was offered, and still names as gaps."""

    def push(self, peer: Peer, member: Member, answer: News) -> bool:
        """Tell and give the other site what it cannot fetch here."""
        return self._offer(peer, member, answer) | self._put(peer)

    def _offer(self, peer: Peer, member: Member, answer: News) -> bool:
        """Offer it our journal from where it stands, and what was withheld before."""
        with self._catalog.reading() as unit:
            origin, epochs = unit.origin, unit.journal.epochs()
        told = False
        for epoch, head in epochs.items():
            gaps = answer.gaps.get(str(epoch), ())
            if gaps:
                changes = self._service.again(member, origin, epoch, gaps, LONGEST_PAGE)
                known = [entry for entry in changes.entries if not entry.withheld]
                seqs = [entry.seq for entry in known]
                if any(entry.owed for entry in known) or seqs != self._offered.get(epoch, []):
                    peer.offer(changes)
                    self._offered[epoch] = seqs
            reached = answer.reached.get(str(epoch), 0)
            while reached < head:
                after = Cursor(origin=origin, epoch=epoch, seq=reached)
                before, reached = reached, peer.offer(self._service.changes(member, after, LONGEST_PAGE))
                told = True
                if reached == before:
                    break
        return told

    def _put(self, peer: Peer) -> bool:
        """Put there what it wants of us."""
        grant = peer.wanted(self._habits.batch)
        if not grant.items:
            return False
        digests = [digest for digest, _ in grant.items if self._blobs.size(digest) is not None]
        kept = 0
        for place in range(0, len(digests), self._habits.pack_blobs):
            kept += len(peer.upload(grant, digests[place : place + self._habits.pack_blobs]))
        return kept > 0
