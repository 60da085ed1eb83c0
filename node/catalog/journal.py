"""The journals as rows: this site's own, appended at the end; those of peers, as they were read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, bindparam, delete, desc, func, insert, literal_column, select, update

from node.catalog import schema
from node.catalog.statement import Statement
from node.domain.chain import Head
from node.domain.ids import SiteId
from node.journal.entry import Entry, Fact, canonical, follow, subject_of

if TYPE_CHECKING:
    from node.catalog.unit import Unit

_journal = schema.journal.c
_ENTRY = (
    _journal.origin,
    _journal.epoch,
    _journal.seq,
    _journal.at,
    _journal.kind,
    _journal.payload,
    _journal.previous,
    _journal.hash,
)
_OF_ORIGIN = (_journal.origin == bindparam("origin"), _journal.epoch == bindparam("epoch"))
_HEAD = Statement(
    select(_journal.seq, _journal.hash).where(*_OF_ORIGIN).order_by(desc(_journal.seq)).limit(1)
)
_APPEND = Statement(insert(schema.journal))
_KEEP = Statement(insert(schema.journal).prefix_with("OR IGNORE", dialect="sqlite"))
_AFTER = Statement(
    select(*_ENTRY)
    .where(*_OF_ORIGIN, _journal.seq > bindparam("after"))
    .order_by(_journal.seq)
    .limit(bindparam("many"))
)
_AT = Statement(select(*_ENTRY).where(*_OF_ORIGIN, _journal.seq == bindparam("seq")))
_ABOUT = Statement(
    select(*_ENTRY)
    .where(_journal.subject == bindparam("subject"))
    .order_by(_journal.at, _journal.origin, _journal.epoch, _journal.seq)
)
_SELDOM: ColumnElement[bool] = literal_column(
    "kind NOT IN ('instance', 'copies', 'compare', 'quarantine', 'settle')"
)
_OF_KIND = Statement(
    select(*_ENTRY)
    .where(_SELDOM, _journal.kind == bindparam("kind"))
    .order_by(_journal.at, _journal.origin, _journal.epoch, _journal.seq)
)
_LAST_OF_KIND = Statement(
    select(func.max(_journal.seq)).where(
        _SELDOM,
        _journal.kind == bindparam("kind"),
        _journal.origin == bindparam("origin"),
        _journal.epoch == bindparam("epoch"),
    )
)
_EPOCH = Statement(select(schema.node.c.epoch).where(schema.node.c.origin == bindparam("origin")))
_SET_EPOCH = Statement(
    update(schema.node).where(schema.node.c.origin == bindparam("of")).values(epoch=bindparam("number"))
)
_HIGHEST = Statement(select(func.max(_journal.epoch)).where(_journal.origin == bindparam("origin")))
_NEXT_EPOCH = Statement(
    select(func.min(_journal.epoch)).where(
        _journal.origin == bindparam("origin"), _journal.epoch > bindparam("after")
    )
)
_DROP = Statement(
    delete(schema.journal).where(
        _journal.origin == bindparam("of"),
        _journal.epoch == bindparam("in_epoch"),
        _journal.seq > bindparam("after"),
        _journal.seq <= bindparam("last"),
    )
)
_OWN_COPIES = Statement(
    select(*_ENTRY)
    .where(_journal.origin == bindparam("origin"), _journal.kind == Fact.COPIES)
    .order_by(_journal.at, _journal.epoch, _journal.seq)
)
_numbered = (
    select(_journal.seq, func.lead(_journal.seq).over(order_by=_journal.seq).label("next"))
    .where(*_OF_ORIGIN)
    .subquery()
)
_HOLES = Statement(
    select(_numbered.c.seq + 1, _numbered.c.next - 1).where(_numbered.c.next > _numbered.c.seq + 1)
)
_EPOCHS = Statement(
    select(_journal.epoch, func.max(_journal.seq))
    .where(_journal.origin == bindparam("origin"))
    .group_by(_journal.epoch)
    .order_by(_journal.epoch)
)
_ORIGINS = Statement(
    select(_journal.origin, _journal.epoch, func.count())
    .group_by(_journal.origin, _journal.epoch)
    .order_by(_journal.origin, _journal.epoch)
)
_PAGE = 1000
_UNRELATED = frozenset({Fact.INSTANCE, Fact.COPIES, Fact.QUARANTINE, Fact.SETTLE})
"""Kinds whose order among the facts of one subject does not matter, or takes care of itself."""


class Journal:
    """The facts of this site and of its peers."""

    def __init__(self, unit: Unit) -> None:
        """The journal within a unit of work."""
        self._unit = unit
        self._head: Head | None = None

    def append(self, kind: Fact, says: Mapping[str, object]) -> Entry:
        """Add a fact of this site at the end of its journal.

        A decision is later than all that is known about its subject, whatever the clocks say.
        """
        unit = self._unit
        at = unit.now
        if kind not in _UNRELATED:
            at = max([at, *(known.at + 1 for known in self.about(subject_of(kind, says)))])
        entry = follow(
            self.head(), origin=unit.origin, epoch=unit.epoch, at=at, kind=kind, payload=canonical(says)
        )
        self._write(_APPEND, entry)
        self._head = Head(seq=entry.seq, hash=entry.hash)
        return entry

    def restate(self, kind: Fact, at: int, says: Mapping[str, object]) -> Entry:
        """State a fact of an older epoch again in the current one, as of when it was stated first."""
        unit = self._unit
        entry = follow(
            self.head(), origin=unit.origin, epoch=unit.epoch, at=at, kind=kind, payload=canonical(says)
        )
        self._write(_APPEND, entry)
        self._head = Head(seq=entry.seq, hash=entry.hash)
        return entry

    def epoch(self) -> int:
        """This site's current epoch."""
        row = self._unit.run(_EPOCH, origin=self._unit.origin).fetchone()
        return int(row[0]) if row else 1

    def begin_epoch(self, number: int) -> None:
        """Begin a new epoch: what this site states from now on stands in a chain of its own."""
        self._unit.run(_SET_EPOCH, of=self._unit.origin, number=number)
        self._unit.epoch_begun()
        self._head = None

    def keep(self, entry: Entry) -> None:
        """Keep an entry of a peer's journal; one that is here already is left."""
        self._write(_KEEP, entry)

    def head(self) -> Head:
        """The end of this site's journal in its current epoch."""
        if self._head is None:
            self._head = self.end(self._unit.origin, self._unit.epoch)
        return self._head

    def end(self, origin: SiteId, epoch: int) -> Head:
        """The last entry that is here of an origin and epoch."""
        row = self._unit.run(_HEAD, origin=origin, epoch=epoch).fetchone()
        return Head(seq=row[0], hash=row[1]) if row else Head()

    def closed(self) -> dict[int, Head]:
        """The ends of this site's earlier epochs, as far as they are here."""
        origin, current = self._unit.origin, self._unit.epoch
        ends: dict[int, Head] = {}
        epoch = self._next_epoch(origin, 0)
        while epoch and epoch < current:
            ends[epoch] = self.end(origin, epoch)
            epoch = self._next_epoch(origin, epoch)
        return ends

    def _next_epoch(self, origin: SiteId, after: int) -> int:
        row = self._unit.run(_NEXT_EPOCH, origin=origin, after=after).fetchone()
        return (row[0] if row else 0) or 0

    def highest(self, origin: SiteId) -> int:
        """The highest epoch of which anything is here; 0 for none."""
        row = self._unit.run(_HIGHEST, origin=origin).fetchone()
        return (row[0] if row else 0) or 0

    def holes(self, origin: SiteId, epoch: int) -> list[tuple[int, int]]:
        """Ranges (first, last) of numbers that are not here, before the last one that is."""
        first = self.page(0, 1, origin=origin, epoch=epoch)
        found = [(1, first[0].seq - 1)] if first and first[0].seq > 1 else []
        rows = self._unit.run(_HOLES, origin=origin, epoch=epoch).fetchall()
        return sorted([*found, *((low, high) for low, high in rows)])

    def drop(self, origin: SiteId, epoch: int, after: int, last: int) -> Sequence[Entry]:
        """Take out the entries after `after` up to `last`, whose place others take; what they were."""
        dropped = [one for one in self.after(after, origin=origin, epoch=epoch) if one.seq <= last]
        self._unit.run(_DROP, of=origin, in_epoch=epoch, after=after, last=last)
        return dropped

    def own_copies(self) -> Sequence[Entry]:
        """What this site has said of its copies of other sites' instances, in the order of the stamps."""
        rows = self._unit.run(_OWN_COPIES, origin=self._unit.origin).fetchall()
        return [_entry(*row) for row in rows]

    def epochs(self, origin: SiteId | None = None) -> dict[int, int]:
        """The last number of each epoch of an origin (this site's, if not given)."""
        rows = self._unit.run(_EPOCHS, origin=origin or self._unit.origin).fetchall()
        return dict(rows)

    def origins(self) -> dict[tuple[SiteId, int], int]:
        """How many entries of each origin and epoch are here."""
        rows = self._unit.run(_ORIGINS).fetchall()
        return {(SiteId.trusted(origin), epoch): count for origin, epoch, count in rows}

    def after(self, seq: int, *, origin: SiteId | None = None, epoch: int | None = None) -> Iterator[Entry]:
        """All entries after number `seq` of an origin and epoch (this site's, if not given), in order."""
        while True:
            page = self.page(seq, _PAGE, origin=origin, epoch=epoch)
            yield from page
            if len(page) < _PAGE:
                return
            seq = page[-1].seq

    def page(
        self, seq: int, many: int, *, origin: SiteId | None = None, epoch: int | None = None
    ) -> list[Entry]:
        """Up to `many` entries after number `seq`."""
        origin, epoch = origin or self._unit.origin, epoch or self._unit.epoch
        rows = self._unit.run(_AFTER, origin=origin, epoch=epoch, after=seq, many=many).fetchall()
        return [_entry(*row) for row in rows]

    def at(self, origin: SiteId, epoch: int, seq: int) -> Entry | None:
        """The entry of that number, where it is here."""
        row = self._unit.run(_AT, origin=origin, epoch=epoch, seq=seq).fetchone()
        return _entry(*row) if row else None

    def about(self, subject: str) -> Sequence[Entry]:
        """All facts about a subject, of all sites, in the order of their stamps."""
        return [_entry(*row) for row in self._unit.run(_ABOUT, subject=subject).fetchall()]

    def of_kind(self, kind: Fact) -> Sequence[Entry]:
        """All facts of one of the seldom kinds, of all sites, in the order of their stamps."""
        return [_entry(*row) for row in self._unit.run(_OF_KIND, kind=kind).fetchall()]

    def last(self, kind: Fact) -> int:
        """The number of this site's last fact of one of the seldom kinds; 0 where there is none."""
        unit = self._unit
        row = unit.run(_LAST_OF_KIND, kind=kind, origin=unit.origin, epoch=unit.epoch).fetchone()
        return (row[0] if row else 0) or 0

    def _write(self, statement: Statement, entry: Entry) -> None:
        self._unit.run(
            statement,
            origin=entry.origin,
            epoch=entry.epoch,
            seq=entry.seq,
            at=entry.at,
            kind=entry.kind,
            payload=entry.payload,
            previous=entry.previous,
            hash=entry.hash,
            subject=subject_of(entry.kind, entry.says),
        )


def _entry(
    origin: str, epoch: int, seq: int, at: int, kind: str, payload: str, previous: str, digest: str
) -> Entry:
    return Entry(
        origin=SiteId.trusted(origin),
        epoch=epoch,
        seq=seq,
        at=at,
        kind=Fact(kind),
        payload=payload,
        previous=previous,
        hash=digest,
    )
