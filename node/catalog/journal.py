"""The journal as rows: append at the end, read after a cursor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, desc, insert, select

from node.catalog import schema
from node.catalog.statement import Statement
from node.domain.chain import Head
from node.domain.ids import SiteId
from node.journal.entry import Entry, Fact, canonical, follow

if TYPE_CHECKING:
    from node.catalog.unit import Unit

_journal = schema.journal.c
_OF_ORIGIN = (_journal.origin == bindparam("origin"), _journal.epoch == bindparam("epoch"))
_HEAD = Statement(
    select(_journal.seq, _journal.hash).where(*_OF_ORIGIN).order_by(desc(_journal.seq)).limit(1)
)
_APPEND = Statement(insert(schema.journal))
_AFTER = Statement(
    select(schema.journal)
    .where(*_OF_ORIGIN, _journal.seq > bindparam("after"))
    .order_by(_journal.seq)
    .limit(bindparam("many"))
)
_PAGE = 1000


class Journal:
    """The facts of this site and, with a federation, of its peers."""

    def __init__(self, unit: Unit) -> None:
        """The journal within a unit of work."""
        self._unit = unit
        self._head: Head | None = None

    def append(self, kind: Fact, says: Mapping[str, object]) -> Entry:
        """Add a fact of this site at the end of its journal."""
        unit = self._unit
        entry = follow(
            self.head(), origin=unit.origin, epoch=unit.epoch, at=unit.now, kind=kind, payload=canonical(says)
        )
        unit.run(
            _APPEND,
            origin=entry.origin,
            epoch=entry.epoch,
            seq=entry.seq,
            at=entry.at,
            kind=entry.kind,
            payload=entry.payload,
            previous=entry.previous,
            hash=entry.hash,
        )
        self._head = Head(seq=entry.seq, hash=entry.hash)
        return entry

    def head(self) -> Head:
        """The end of this site's journal in its current epoch."""
        if self._head is None:
            row = self._unit.run(_HEAD, origin=self._unit.origin, epoch=self._unit.epoch).fetchone()
            self._head = Head(seq=row[0], hash=row[1]) if row else Head()
        return self._head

    def after(self, seq: int, *, origin: SiteId | None = None, epoch: int | None = None) -> Iterator[Entry]:
        """All entries after number `seq` of an origin and epoch (this site's, if not given), in order."""
        origin, epoch = origin or self._unit.origin, epoch or self._unit.epoch
        while True:
            rows = self._unit.run(_AFTER, origin=origin, epoch=epoch, after=seq, many=_PAGE).fetchall()
            yield from (_entry(*row) for row in rows)
            if len(rows) < _PAGE:
                return
            seq = rows[-1][2]


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
