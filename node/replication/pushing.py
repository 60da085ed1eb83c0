"""What a courier does where nobody can call this site: it tells and gives the other one what that wants."""

from __future__ import annotations

from dataclasses import replace

from node.blobs.store import BlobStore
from node.catalog.catalog import Catalog
from node.domain.change import Cursor, News
from node.domain.member import Member
from node.replication.entries import agreement
from node.replication.habits import Habits
from node.replication.peer import LONGEST_PAGE, Peer
from node.replication.service import Service
from node.replication.telling import kept


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

    def offer(self, peer: Peer, member: Member, answer: News) -> bool:
        """Offer it our journal from where it stands, what was withheld before, and what it has lost."""
        with self._catalog.reading() as unit:
            origin, current, epochs = unit.origin, unit.epoch, unit.journal.epochs()
        told = self._give_back(peer, answer)
        for epoch in sorted(epochs, reverse=True):
            self._withheld(peer, member, answer, epoch)
            reached = answer.reached.get(str(epoch), 0)
            if epoch < current and (again := self._anew(peer, member, answer, epoch)) is not None:
                told, reached = True, again
            while reached < epochs[epoch]:
                after = Cursor(origin=origin, epoch=epoch, seq=reached)
                before, reached = reached, peer.offer(self._service.changes(member, after, LONGEST_PAGE))
                told = True
                if reached == before:
                    break
        return told

    def _withheld(self, peer: Peer, member: Member, answer: News, epoch: int) -> None:
        """Offer again what was withheld, where it may know it now."""
        gaps = answer.gaps.get(str(epoch), ())
        if not gaps:
            return
        with self._catalog.reading() as unit:
            origin = unit.origin
        changes = self._service.again(member, origin, epoch, gaps, LONGEST_PAGE)
        known = [entry for entry in changes.entries if not entry.withheld]
        seqs = [entry.seq for entry in known]
        if any(entry.owed for entry in known) or seqs != self._offered.get(epoch, []):
            peer.offer(changes)
            self._offered[epoch] = seqs

    def _give_back(self, peer: Peer, answer: News) -> bool:
        """Tell it what we have of its own earlier epochs: it was restored, and cannot ask us."""
        with self._catalog.reading() as unit:
            heads = unit.cursors.heads(answer.site)
        told = False
        for epoch, read in heads.items():
            reached = answer.recalled.get(str(epoch), 0)
            while epoch < answer.epoch and reached < read.seq:
                with self._catalog.reading() as unit:
                    after = Cursor(origin=answer.site, epoch=epoch, seq=reached)
                    changes = kept(unit, after, LONGEST_PAGE)
                before, reached = reached, peer.offer(changes)
                told = True
                if reached == before:
                    break
        return told

    def _anew(self, peer: Peer, member: Member, answer: News, epoch: int) -> int | None:
        """Have it read an ended epoch again that it has read otherwise; how far it is then, if it has."""
        reached, mark = answer.reached.get(str(epoch), 0), answer.marks.get(str(epoch))
        with self._catalog.reading() as unit:
            origin, end = unit.origin, unit.journal.end(unit.origin, epoch).seq
            here = unit.journal.at(origin, epoch, reached)
            recalled = unit.recalls.of(answer.site).get(epoch, 0)
        if not reached or recalled < reached or (here is not None and here.hash == mark):
            return None
        if here is None and reached < end:
            return None
        same = agreement(self._catalog, peer, origin, epoch, min(reached, end))
        after = Cursor(origin=origin, epoch=epoch, seq=same)
        return peer.offer(replace(self._service.changes(member, after, LONGEST_PAGE), anew=True))

    def put(self, peer: Peer) -> bool:
        """Put there what it wants of us."""
        grant = peer.wanted(self._habits.batch)
        if not grant.items:
            return False
        digests = [digest for digest, _ in grant.items if self._blobs.size(digest) is not None]
        kept = 0
        for place in range(0, len(digests), self._habits.pack_blobs):
            taken = peer.upload(grant, digests[place : place + self._habits.pack_blobs])
            self._service.record_sent(peer.site, taken)
            kept += len(taken)
        return kept > 0
