"""The audit ledger as rows: append-only, chained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, desc, insert, select, text

from node.audit.proof import Link, Proof
from node.audit.record import Deed, Record, digest, follow, written
from node.catalog import schema
from node.catalog.resources import patient_of
from node.catalog.statement import Statement
from node.domain.chain import START, Head

if TYPE_CHECKING:
    from node.catalog.unit import Unit

_audit = schema.audit.c
_HEAD = Statement(select(_audit.seq, _audit.hash).order_by(desc(_audit.seq)).limit(1))
_APPEND = Statement(insert(schema.audit))
_AFTER = Statement(
    select(schema.audit).where(_audit.seq > bindparam("after")).order_by(_audit.seq).limit(bindparam("many"))
)
_NOTHING = ""
_LINKS = Statement(
    select(_audit.seq, _audit.at, _audit.deed, _audit.hash)
    .where(_audit.seq > bindparam("after"), _audit.seq <= bindparam("last"))
    .order_by(_audit.seq)
)
_HASH = Statement(select(_audit.hash).where(_audit.seq == bindparam("number")))
_OF_STUDY = Statement(
    select(schema.audit)
    .where(
        _audit.seq > bindparam("after"),
        _audit.at >= bindparam("since"),
        _audit.at < bindparam("until"),
        _audit.study == bindparam("of"),
        _audit.study != text("''"),
    )
    .order_by(_audit.seq)
    .limit(bindparam("many"))
)
_OF_PATIENT = Statement(
    select(schema.audit)
    .where(
        _audit.seq > bindparam("after"),
        _audit.at >= bindparam("since"),
        _audit.at < bindparam("until"),
        _audit.patient == bindparam("of"),
        _audit.patient != text("''"),
    )
    .order_by(_audit.seq)
    .limit(bindparam("many"))
)
_PAGE = 1000
_FOREVER = 1 << 62


class AuditLedger:
    """Who did what to whose data at this site."""

    def __init__(self, unit: Unit) -> None:
        """The ledger within a unit of work."""
        self._unit = unit
        self._end: Head | None = None

    def append(self, deed: Deed) -> None:
        """Record a deed at the end of the ledger, with the patient of its study, where that is known here."""
        if deed.study and not deed.patient:
            deed = replace(deed, patient=patient_of(self._unit, deed.study))
        end = self._end or self.head()
        record = follow(end, at=self._unit.now, deed=written(deed))
        self._unit.run(
            _APPEND,
            seq=record.seq,
            at=record.at,
            deed=record.deed,
            previous=record.previous,
            hash=record.hash,
            study=deed.study,
            patient=deed.patient,
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
            yield from map(_record, rows)
            if len(rows) < _PAGE:
                return
            seq = rows[-1][0]

    def proof(self, after: int, last: int) -> Proof:
        """What stands in the ledger behind record `after` up to record `last`, without content."""
        rows = self._unit.run(_LINKS, after=after, last=last).fetchall()
        return Proof(
            previous=self.hash(after) or _NOTHING,
            links=[Link(seq=seq, at=at, digest=digest(deed), hash=known) for seq, at, deed, known in rows],
            end=self.head().seq,
        )

    def hash(self, seq: int) -> str | None:
        """The hash that stands in a record; None where there is no such record."""
        if seq == 0:
            return START
        row = self._unit.run(_HASH, number=seq).fetchone()
        return row[0] if row else None

    def about(
        self,
        *,
        patients: Sequence[str] = (),
        studies: Sequence[str] = (),
        since: int = 0,
        until: int = _FOREVER,
        after: int = 0,
        many: int = _PAGE,
    ) -> Sequence[Record]:
        """Records behind number `after` that name one of these patients or studies, in order.

        Args:
            patients: Patient IDs with their issuers, as `Deed.patient` has them.
            studies: Study Instance UIDs.
            since: not before this moment.
            until: before this moment.
            after: behind the record of this number.
            many: at the most so many.
        """
        found: dict[int, Record] = {}
        bounds = {"since": since, "until": until, "after": after, "many": many}
        for statement, names in ((_OF_PATIENT, patients), (_OF_STUDY, studies)):
            for name in filter(None, names):
                rows = self._unit.run(statement, of=name, **bounds).fetchall()
                found.update({row[0]: _record(row) for row in rows})
        return [found[seq] for seq in sorted(found)[:many]]


def _record(row: Sequence[Any]) -> Record:
    seq, at, deed, previous, known, _, _ = row
    return Record(seq=seq, at=at, deed=deed, previous=previous, hash=known)
