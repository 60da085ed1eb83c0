"""Epochs: what a site does that was restored from an old backup, and so has lost the end of its own journal.

Its peers have read more of it than it has, or the site has meanwhile written other entries under the same
numbers. It notices when they tell how far they have read, begins a new epoch, and takes its own entries back
from each of them:

```
the peer has read entry 90 ──▶ there is none here, or another one ──▶ a new epoch begins      one unit
what the peer has of the epochs that ended ──▶ back under its number, with all that follows    one unit a page
what stands in its place here, written since the restore ──▶ stated again in the new epoch     the same unit
what the peer has and another one has otherwise ──▶ stated again in the new epoch              the same unit
```

A fact that is stated again keeps its time and what it says. What the facts add up to is a function of their
set, so nothing is lost or done twice by this, in whatever order peers are heard, and however often.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence

from node.archive.derive import state_of
from node.archive.wanting import want_back
from node.audit.record import Deed, Event
from node.blobs.store import BlobStore
from node.catalog.catalog import Catalog
from node.catalog.recalls import Recall
from node.catalog.unit import Unit
from node.domain.chain import Head
from node.domain.change import Changes, Cursor, News
from node.domain.errors import MalformedMessage
from node.domain.ids import Digest, SiteId
from node.journal.entry import Entry, Fact, follow
from node.replication.effects import Effects
from node.replication.entries import agreement, read_entry
from node.replication.peer import LONGEST_PAGE, Peer
from node.replication.taking import Taking

log = logging.getLogger(__name__)

LAST_EPOCH = 10_000
"""No site is restored so often: a peer that tells of a later epoch is not believed."""


class Epochs:
    """The epochs of this site's own journal."""

    def __init__(self, catalog: Catalog, blobs: BlobStore, effects: Effects) -> None:
        """The epochs of a site.

        Args:
            catalog: where its journal is.
            blobs: what is here of the bytes that it names.
            effects: what facts do to the rows.
        """
        self._catalog = catalog
        self._blobs = blobs
        self._effects = effects

    def notice(self, site: SiteId, news: News) -> bool:
        """Begin a new epoch if a peer has read what is not here; whether one was begun.

        Where it has read of earlier epochs what stands here, nothing is asked back of it.
        """
        with self._catalog.reading() as unit:
            behind = _is_behind(unit, news)
            same = dict(_same(unit, site, news))
        if same:
            self._catalog.perform(lambda unit: _note(unit, site, same))
        return behind and self._catalog.perform(lambda unit: _begin(unit, site, news))

    def recall(self, peer: Peer, news: News, *, trusting: bool = False) -> Sequence[Digest]:
        """Take back what a peer has of this site's earlier epochs.

        Args:
            peer: is called.
            news: what it has just told.
            trusting: a person has chosen to ask it (see `Taking`).

        Returns:
            Bytes that are in the store and that are to be catalogued now.

        Raises:
            MalformedMessage, Damaged: what the peer tells is no journal of this site.
            What every call to a peer raises.
        """
        here: list[Digest] = []
        for epoch, reached in _claims(news):
            here += self._recall(peer, epoch, reached, trusting=trusting)
        return here

    def take(self, site: SiteId, changes: Changes, *, trusting: bool = False) -> Sequence[Digest]:
        """Take in a run of this site's own entries, as a peer has kept them; see `recall`."""
        epoch = changes.epoch
        with self._catalog.begin() as unit:
            if changes.origin != unit.origin or epoch >= unit.epoch:
                raise MalformedMessage(f"{changes.origin}/{epoch} is no epoch that this site has ended")
            row = unit.recalls.find(site, epoch) or Recall(seq=0, agreed=_read_alike(unit, site, epoch))
            taking = Taking(unit, self._effects, self._blobs, site, epoch, row.agreed, trusting=trusting)
            last = row.seq
            for told in changes.entries:
                if told.seq > last:
                    taking.take(read_entry(changes, told, Head(seq=told.seq - 1, hash=told.previous)))
                    last = told.seq
            is_whole = len(changes.entries) < LONGEST_PAGE
            end = max(last, changes.head) if is_whole else last
            _note(unit, site, {epoch: Recall(seq=end, agreed=taking.agreed)})
            if is_whole:
                self._missing(unit)
        if taking.taken:
            log.warning(
                "entries of this site's own journal were taken back",
                extra={"peer": site, "epoch": epoch, "entries": taking.taken, "restated": taking.restated},
            )
        if taking.refused:
            log.warning(
                "decisions about members that a peer says were made here are not believed; "
                "see `konzilium peers` and make them again where they are missing",
                extra={"peer": site, "epoch": epoch, "entries": taking.refused},
            )
        return taking.here

    def _recall(self, peer: Peer, epoch: int, reached: int, *, trusting: bool) -> Sequence[Digest]:
        with self._catalog.reading() as unit:
            origin, row = unit.origin, unit.recalls.find(peer.site, epoch)
            if epoch >= unit.epoch or (row is not None and row.seq >= reached):
                return ()
            end = unit.journal.end(origin, epoch).seq
            holes = unit.journal.holes(origin, epoch) if row is None else []
        if row is None:
            same = agreement(self._catalog, peer, origin, epoch, min(reached, end))
            first = min(same, holes[0][0] - 1) if holes else same
            started = {epoch: Recall(seq=first, agreed=same)}
            self._catalog.perform(lambda unit: _note(unit, peer.site, started))
        return self._pages(peer, origin, epoch, trusting=trusting)

    def _pages(self, peer: Peer, origin: SiteId, epoch: int, *, trusting: bool) -> Sequence[Digest]:
        here: list[Digest] = []
        while True:
            with self._catalog.reading() as unit:
                row = unit.recalls.find(peer.site, epoch)
            after = row.seq if row else 0
            changes = peer.changes(Cursor(origin=origin, epoch=epoch, seq=after), LONGEST_PAGE)
            here += self.take(peer.site, changes, trusting=trusting)
            if len(changes.entries) < LONGEST_PAGE:
                return here

    def vanished(self, digests: Sequence[Digest]) -> Sequence[Digest]:
        """Say which copies of this site are not in its store any more, and want them of others.

        Args:
            digests: copies that the rows say are here.
        """
        gone = [digest for digest in digests if self._blobs.size(digest) is None]

        def note(unit: Unit) -> None:
            for digest in gone:
                _not_here(unit, digest)
            unit.journal.append(Fact.COPIES, {"of": unit.origin, "verified": [], "gone": sorted(gone)})

        if gone:
            self._catalog.perform(note)
        return gone

    def _missing(self, unit: Unit) -> None:
        """Copies that this site had lost or given up are not taken to be here; only the former come back."""
        lost, given_up = _gone(unit)
        unit.recalls.set_given_up(given_up)
        for digest in (*lost, *given_up):
            if self._blobs.size(digest) is None:
                _not_here(unit, digest)
        for digest in given_up:
            if self._blobs.size(digest) is None:
                unit.wants.drop(digest)


def _gone(unit: Unit) -> tuple[list[Digest], list[Digest]]:
    """Bytes of which this site has said that it has them no more, and nothing else since.

    Returns:
        Those that were lost, or folded into others, and those that somebody gave up.
    """
    gone: dict[str, tuple[str, bool]] = {}
    for entry in unit.journal.own_copies():
        says = entry.says
        for digest in says["verified"]:
            gone.pop(digest, None)
        gone |= dict.fromkeys(says["gone"], (entry.stamp, says.get("given_up", False)))
    left = {one: how for one, (stamp, how) in gone.items() if not _came_again(unit, one, stamp)}
    return (
        [Digest.trusted(digest) for digest, how in left.items() if not how],
        [Digest.trusted(digest) for digest, how in left.items() if how],
    )


def _came_again(unit: Unit, digest: str, stamp: str) -> bool:
    """Whether this site has received some bytes anew after a moment."""
    uid = unit.digests.trace(Digest.trusted(digest)).instance
    return uid is not None and any(
        fact.kind is Fact.INSTANCE
        and fact.origin == unit.origin
        and fact.says["digest"] == digest
        and fact.stamp > stamp
        for fact in unit.journal.about(uid)
    )


def _not_here(unit: Unit, digest: Digest) -> None:
    """The rows say that bytes are here that are not."""
    uid = unit.forms.holder_of(digest)
    if uid is None:
        return
    if unit.instances.digest(uid) == digest:
        unit.instances.set_held(uid, held=False)
    else:
        unit.conflicts.set_held(uid, digest, held=False)
    want_back(unit, digest, state_of(unit, uid))


def _claims(news: News) -> Iterator[tuple[int, int]]:
    """How far the peer has read each epoch of this site, the earliest first."""
    claims = sorted((int(epoch), seq) for epoch, seq in news.reached.items())
    for epoch, seq in claims:
        if 0 < epoch <= LAST_EPOCH and seq > 0:
            yield epoch, seq


def _is_behind(unit: Unit, news: News) -> bool:
    """Whether a peer has read what is not here: a later epoch, a higher number, or another entry."""
    for epoch, seq in _claims(news):
        if epoch > unit.epoch:
            return True
        mark = news.marks.get(str(epoch))
        if epoch == unit.epoch and mark is not None:
            here = unit.journal.at(unit.origin, epoch, seq)
            if here is None or (here.hash != mark and _is_sound(here)):
                return True
    return False


def _is_sound(entry: Entry) -> bool:
    """Whether an entry is what its hash says; one that was altered is damage, and no other branch."""
    before = Head(seq=entry.seq - 1, hash=entry.previous)
    return entry == follow(
        before, origin=entry.origin, epoch=entry.epoch, at=entry.at, kind=entry.kind, payload=entry.payload
    )


def _same(unit: Unit, site: SiteId, news: News) -> Iterator[tuple[int, Recall]]:
    """Earlier epochs of which the peer has read what stands here, up to where it is, without holes."""
    for epoch, reached in _claims(news):
        row = unit.recalls.find(site, epoch)
        if epoch >= unit.epoch or (row is not None and row.seq >= reached):
            continue
        here = unit.journal.at(unit.origin, epoch, reached)
        if here is None or here.hash != news.marks.get(str(epoch)):
            continue
        if row is not None or all(low > reached for low, _ in unit.journal.holes(unit.origin, epoch)):
            yield epoch, Recall(seq=reached, agreed=reached)


def _note(unit: Unit, site: SiteId, recalls: Mapping[int, Recall]) -> None:
    """Note how far epochs were taken back, and which entries of this site some peer has read."""
    for epoch, recall in recalls.items():
        unit.recalls.put(site, epoch, recall)
        own = unit.recalls.find(unit.origin, epoch)
        if own is not None and own.agreed < min(recall.agreed, own.seq):
            unit.recalls.put(unit.origin, epoch, Recall(seq=own.seq, agreed=min(recall.agreed, own.seq)))


def _read_alike(unit: Unit, site: SiteId, epoch: int) -> int:
    """Up to which number a peer has read the same as stands here, by what it told last; 0 if otherwise."""
    heads = unit.members.heads(site)
    reached = heads.get("reached", {}).get(str(epoch), 0)
    here = unit.journal.at(unit.origin, epoch, reached)
    is_same = here is not None and here.hash == heads.get("marks", {}).get(str(epoch))
    return reached if is_same else 0


def _begin(unit: Unit, site: SiteId, news: News) -> bool:
    """Begin a new epoch, unless somebody else has done so meanwhile."""
    if not _is_behind(unit, news):
        return False
    ended, end = unit.epoch, unit.journal.head()
    begin_epoch(unit, max((epoch for epoch, _ in _claims(news)), default=0))
    what = f"epoch {unit.epoch} begun: {site} has read entries of epoch {ended} that are not here"
    unit.audit.append(Deed(event=Event.CONFIGURED, who=f"node:{unit.origin}@{unit.origin}", what=what))
    log.warning(
        "this site was restored from an old backup; it begins a new epoch and asks for what it has lost",
        extra={"peer": site, "ended": ended, "at": end.seq, "epoch": unit.epoch},
    )
    return True


def begin_epoch(unit: Unit, known: int = 0) -> int:
    """Begin an epoch later than all that are known.

    Args:
        unit: the unit of work that it is part of.
        known: the latest epoch that anybody else knows.
    """
    ended, end = unit.epoch, unit.journal.head()
    unit.recalls.put(unit.origin, ended, Recall(seq=end.seq, agreed=0))
    unit.journal.begin_epoch(max(ended, known, unit.journal.highest(unit.origin)) + 1)
    return unit.epoch
