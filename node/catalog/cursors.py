"""How far the journals of peers are read, and which of their entries were withheld."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, insert, select

from node.catalog import schema
from node.catalog.statement import Statement
from node.domain.chain import Head
from node.domain.ids import SiteId

if TYPE_CHECKING:
    from node.catalog.unit import Unit

_cursor, _gap = schema.cursor.c, schema.gap.c
_FIND = Statement(
    select(_cursor.seq, _cursor.hash).where(
        _cursor.origin == bindparam("origin"), _cursor.epoch == bindparam("epoch")
    )
)
_PUT = Statement(insert(schema.cursor).prefix_with("OR REPLACE", dialect="sqlite"))
_ALL = Statement(select(_cursor.epoch, _cursor.seq).where(_cursor.origin == bindparam("origin")))
_HEADS = Statement(
    select(_cursor.epoch, _cursor.seq, _cursor.hash).where(_cursor.origin == bindparam("origin"))
)
_REACHED = Statement(select(_cursor.origin, _cursor.epoch, _cursor.seq))
_OF_GAP = (_gap.origin == bindparam("of"), _gap.epoch == bindparam("in_epoch"))
_GAPS = Statement(
    select(_gap.first, _gap.last)
    .where(_gap.origin == bindparam("origin"), _gap.epoch == bindparam("epoch"))
    .order_by(_gap.first)
)
_ADD_GAP = Statement(insert(schema.gap))
_DROP_GAPS = Statement(delete(schema.gap).where(*_OF_GAP))


class Cursors:
    """One cursor and a list of gaps for each origin and epoch."""

    def __init__(self, unit: Unit) -> None:
        """The cursors within a unit of work."""
        self._unit = unit

    def find(self, origin: SiteId, epoch: int) -> Head:
        """Where the journal of an origin was read to."""
        row = self._unit.run(_FIND, origin=origin, epoch=epoch).fetchone()
        return Head(seq=row[0], hash=row[1]) if row else Head()

    def all(self, origin: SiteId) -> dict[int, int]:
        """How far each epoch of an origin was read."""
        return dict(self._unit.run(_ALL, origin=origin).fetchall())

    def heads(self, origin: SiteId) -> dict[int, Head]:
        """Where each epoch of an origin was read to."""
        rows = self._unit.run(_HEADS, origin=origin).fetchall()
        return {epoch: Head(seq=seq, hash=digest) for epoch, seq, digest in rows}

    def reached(self) -> dict[str, int]:
        """How far all journals of peers were read, by `origin/epoch`."""
        rows = self._unit.run(_REACHED).fetchall()
        return {f"{origin}/{epoch}": seq for origin, epoch, seq in rows}

    def put(self, origin: SiteId, epoch: int, head: Head) -> None:
        """Everything up to here is in the journal, or in the gaps."""
        self._unit.run(_PUT, origin=origin, epoch=epoch, seq=head.seq, hash=head.hash)

    def gaps(self, origin: SiteId, epoch: int) -> list[tuple[int, int]]:
        """Ranges (first, last) of entries that were withheld, or whose bytes were not owed here."""
        rows = self._unit.run(_GAPS, origin=origin, epoch=epoch).fetchall()
        return [(first, last) for first, last in rows]

    def set_gaps(self, origin: SiteId, epoch: int, gaps: Sequence[tuple[int, int]]) -> None:
        """Set the ranges, joined where they touch."""
        self._unit.run(_DROP_GAPS, of=origin, in_epoch=epoch)
        for first, last in joined(gaps):
            self._unit.run(_ADD_GAP, origin=origin, epoch=epoch, first=first, last=last)


def joined(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges in order, those that overlap or touch made one."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found
