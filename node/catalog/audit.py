"""The audit ledger as rows: append-only, chained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, desc, insert, select

from node.audit.record import Deed, Record, follow, written
from node.catalog import schema
from node.catalog.statement import Statement
from node.domain.chain import Head

if TYPE_CHECKING:
    from node.catalog.unit import Unit

_audit = schema.audit.c
_HEAD = Statement(select(_audit.seq, _audit.hash).order_by(desc(_audit.seq)).limit(1))
_APPEND = Statement(insert(schema.audit))
_AFTER = Statement(
    select(schema.audit).where(_audit.seq > bindparam("after")).order_by(_audit.seq).limit(bindparam("many"))
)
_PAGE = 1000


class AuditLedger:
    """Who did what to whose data at this site."""

    def __init__(self, unit: Unit) -> None:
        """The ledger within a unit of work."""
        self._unit = unit
        self._end: Head | None = None

    def append(self, deed: Deed) -> None:
        """Record a deed at the end of the ledger."""
        end = self._end or self.head()
        record = follow(end, at=self._unit.now, deed=written(deed))
        self._unit.run(
            _APPEND,
            seq=record.seq,
            at=record.at,
            deed=record.deed,
            previous=record.previous,
            hash=record.hash,
        )
        self._end = Head(seq=record.seq, hash=record.hash)

    def head(self) -> Head:
        """The end of the ledger."""
        row = self._unit.run(_HEAD).fetchone()
        return Head(seq=row[0], hash=row[1]) if row else Head()

    def after(self, seq: int = 0) -> Iterator[Record]:
        """All records after number `seq`, in order."""
        while True:
            rows = self._unit.run(_AFTER, after=seq, many=_PAGE).fetchall()
            for number, at, deed, previous, digest in rows:
                yield Record(seq=number, at=at, deed=deed, previous=previous, hash=digest)
            if len(rows) < _PAGE:
                return
            seq = rows[-1][0]
