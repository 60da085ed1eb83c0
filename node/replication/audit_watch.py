"""The watch over audit records of other sites: that what each shows now leads to what it signed before.

```
exchange ──▶ signed heads, its own and those that others told it
follow   ──▶ new records, without content, from the last head that was checked to the one signed last
show     ──▶ the other way round, where this site cannot be called and nobody could follow it
again    ──▶ old records, a part each time, until all were looked at; then from the beginning
                │
                └── does not lead there ──▶ everything from the beginning ──▶ faults, each with its range
```

A site can write its record anew and sign that, as it has its own key. It cannot make its members forget: the
stretch in which its records do not lead from one remembered head to the next one is the one that was changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from node.audit.proof import Examiner, demand_run
from node.audit.witness import AuditFault, State
from node.catalog.catalog import Catalog
from node.catalog.unit import Unit
from node.domain.chain import Head
from node.domain.errors import NodeError
from node.domain.ids import SiteId
from node.domain.job import SECOND
from node.identity.audit_book import PAGE, AuditBook, Progress
from node.replication.peer import Offered, Peer, Peers

BUDGET: Final = 5_000
"""Old records that are looked at again in one round."""
UNSEEN, AGAIN, WHOLE = "audit unseen", "audit again", "audit whole"
"""Notes by site: since when it can be reached and does not show its record, how far that was looked at again,
and when it was looked at in all."""
REST: Final = 6 * 3600 * SECOND
"""For how long a record that is known not to be sound is not looked at in all again."""
_KEEP: Final = 10
"""Pages after which what was found out is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What came of looking at the audit record of another site."""

    site: SiteId
    head: Head
    """How far it is known here to lead to what was signed."""
    faults: tuple[AuditFault, ...] = ()
    """What is wrong with it, and not settled by a person yet."""


class AuditWatch:
    """Looks at the audit records of other sites."""

    def __init__(
        self,
        catalog: Catalog,
        book: AuditBook,
        peers: Peers,
        *,
        budget: int = BUDGET,
        only_calls: bool = False,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """A watch of one site over the others.

        Args:
            catalog: of this site.
            book: what it signs and hears.
            peers: makes the peer of a member.
            budget: old records that are looked at again in one round.
            only_calls: nobody can call this site, so it shows its record of its own accord.
            stop: whether to leave off; what is left is looked at in the next round.
        """
        self._catalog = catalog
        self._book = book
        self._peers = peers
        self._budget = budget
        self._only_calls = only_calls
        self._stop = stop

    def round(self, site: SiteId) -> Checked:
        """Exchange heads with a member, and look at what is new in its record and at a part of what is old.

        Raises:
            NodeError: it could not be reached, or does not show its record.
        """
        try:
            with self._peers(site) as peer:
                self.exchange(peer)
                if self._only_calls:
                    self.show(peer)
                if self.follow(peer):
                    self._again(peer)
        except NodeError:
            self._note(site, shown=False)
            raise
        self._note(site, shown=True)
        return self._checked(site)

    def verify(self, site: SiteId, progress: Progress = lambda _done, _of: None) -> Checked:
        """Exchange heads with a member, and look at its whole record.

        Raises:
            NodeError: it could not be reached, or does not show its record.
        """
        with self._peers(site) as peer:
            self.exchange(peer)
            self._whole(peer, progress)
        return self._checked(site)

    def exchange(self, peer: Peer) -> None:
        """Tell a member the heads that are known here, and hear its."""
        self._book.sign()
        self._book.hear(peer.exchange_heads(self._book.told()), peer.site)

    def follow(self, peer: Peer, *, most: int | None = None) -> bool:
        """Look at what a member has signed since the last time; whether its record is sound there.

        Args:
            peer: the member.
            most: leave it to the next round, if there are more records.
        """
        with self._catalog.reading() as unit:
            heard = unit.witnesses.first_heard(peer.site)
            if heard is None:
                return True
            base = unit.witnesses.base(peer.site, heard - 1)
            end = unit.witnesses.marks(peer.site, base.seq)[-1].seq
        if most is not None and end - base.seq > most:
            return True
        return self._from(peer, base, end) or self._whole(peer)

    def show(self, peer: Peer) -> None:
        """Show a member what it has not looked at yet of this record; all, if it asks for that."""
        with self._catalog.reading() as unit:
            signed = unit.witnesses.last_signed()
        end = signed.seq if signed else 0
        after, whole = peer.offer_audit_proof(Offered(after=end, last=end)), False
        while after < end and not self._stop():
            last = min(after + PAGE, end)
            with self._catalog.reading() as unit:
                proof = unit.audit.proof(after, last)
            reached = peer.offer_audit_proof(Offered(after=after, last=last, proof=proof, whole=whole))
            if reached <= after and (whole or reached):
                return
            whole = whole or not reached
            after = reached

    def _again(self, peer: Peer) -> None:
        """Look at a part of the old records again."""
        with self._catalog.reading() as unit:
            witnesses, now = unit.witnesses, unit.now
            top = witnesses.base(peer.site, 1 << 62)
            reached = unit.gauges.noted(AGAIN, peer.site)
            base = witnesses.base(peer.site, reached if reached < top.seq else 0)
            goal = witnesses.next(peer.site, min(base.seq + self._budget, top.seq)) or top
            looked = unit.gauges.noted(WHOLE, peer.site)
        if goal.seq <= base.seq:
            return
        if not self._from(peer, base, goal.seq) and not 0 <= now - looked < REST:
            self._whole(peer)
        self._catalog.perform(lambda unit: unit.gauges.note(AGAIN, peer.site, goal.seq))

    def _whole(self, peer: Peer, progress: Progress = lambda _done, _of: None) -> bool:
        """Look at the record of a member from its beginning; whether it is sound."""
        with self._catalog.reading() as unit:
            marks = unit.witnesses.marks(peer.site)
        end = marks[-1].seq if marks else 0
        examiner = self._examine(peer, Head(), end, progress)
        sound = examiner is None or not examiner.breaks
        if examiner is not None and not self._stop():
            self._keep(peer.site, examiner)
            self._catalog.perform(lambda unit: unit.gauges.note(WHOLE, peer.site, unit.now))
        return sound

    def _from(self, peer: Peer, base: Head, end: int) -> bool:
        """Look at a part; whether it is sound. What is wrong is found by looking at everything."""
        examiner = self._examine(peer, base, end)
        if examiner is None or examiner.breaks:
            return False
        self._keep(peer.site, examiner)
        return True

    def _examine(
        self, peer: Peer, base: Head, end: int, progress: Progress = lambda _done, _of: None
    ) -> Examiner | None:
        """Read the record of a member up to `end`; None where already `base` is another one there."""
        with self._catalog.reading() as unit:
            marks = [one for one in unit.witnesses.marks(peer.site, base.seq) if one.seq <= end]
        proof = peer.audit_proof(base.seq, min(base.seq + PAGE, end))
        if base.seq and proof.previous != base.hash:
            return None
        examiner, pages = Examiner(base, base.hash, marks), 0
        while not self._stop():
            last = min(examiner.seq + PAGE, end)
            demand_run(proof, examiner.seq, last)
            examiner.take(proof.links, min(last, proof.end))
            progress(min(last, proof.end), end)
            pages += 1
            if pages % _KEEP == 0 and examiner.is_clean:
                self._keep(peer.site, examiner)
            if examiner.seq >= end or proof.end < last:
                examiner.ended(max(proof.end, base.seq))
                break
            proof = peer.audit_proof(examiner.seq, min(examiner.seq + PAGE, end))
        return examiner

    def _keep(self, site: SiteId, examiner: Examiner) -> None:
        self._catalog.perform(lambda unit: keep(unit, site, examiner))
        examiner.passed.clear()
        examiner.reached.clear()

    def _note(self, site: SiteId, *, shown: bool) -> None:
        """Note since when a member that can be reached does not show its record."""
        with self._catalog.reading() as unit:
            since, now = unit.gauges.noted(UNSEEN, site), unit.now
            is_reached = not unit.members.contact(site).error
        due = 0 if shown or not is_reached else since or now
        if due != since:
            self._catalog.perform(lambda unit: unit.gauges.note(UNSEEN, site, due))

    def _checked(self, site: SiteId) -> Checked:
        with self._catalog.reading() as unit:
            faults: Sequence[AuditFault] = unit.witnesses.faults(site)
            return Checked(site=site, head=unit.witnesses.base(site, 1 << 62), faults=tuple(faults))


def keep(unit: Unit, site: SiteId, examiner: Examiner) -> None:
    """Keep what was found out about the record of a site."""
    witnesses = unit.witnesses
    heard = [one for one in examiner.reached if one.state is State.HEARD]
    witnesses.move(site, heard, State.CHECKED)
    witnesses.move(site, examiner.refuted, State.REFUTED)
    witnesses.passed(site, examiner.passed)
    for one in examiner.found():
        what = one.what or "what it shows does not lead to what it had signed"
        witnesses.blame(AuditFault(site=site, first=one.first, last=one.last, kind=one.kind, what=what))
