"""What two sites have to compare: the digests of bytes that are here and that the other one has, or owes.

Bytes that are here and, as the other site said, there stand in the table `common`, which triggers keep in
step (`0002_federation.sql`). It is cut into 65,536 parts by the first four digits of the digest; for each
there is a row of sums, so that two sites with millions in common find the parts that differ without reading
the rest. What the other site owes is added when somebody asks: it is as long as the difference is.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, bindparam, exists, func, literal_column, or_, select

from node.catalog import schema
from node.catalog.conflicts import FOLDED
from node.catalog.statement import Statement
from node.domain.ids import Digest, InstanceUID, SiteId
from node.domain.replica import CopyState, Whereabouts

if TYPE_CHECKING:
    from node.catalog.unit import Unit

HEX = "0123456789abcdef"
PART = 4
"""Digits that name a row of sums."""
_BITS = 44
_MASK = (1 << _BITS) - 1
_END = "g"
"""Sorts behind every hexadecimal digit."""
_common, _sum, _replica = schema.common.c, schema.common_sum.c, schema.replica.c
_instance, _conflict, _withdrawn, _want = (
    table.c for table in (schema.instance, schema.conflict, schema.withdrawn, schema.want)
)


def _begins(column: ColumnElement[str]) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return column >= bindparam("first"), column < bindparam("end")


_ADDED = tuple(func.sum(column) for column in (_sum.count, _sum.low, _sum.middle, _sum.high))
_SUM = Statement(select(*_ADDED).where(_sum.site == bindparam("site"), *_begins(_sum.part)))
_SUMS = Statement(
    select(func.substr(_sum.part, 1, bindparam("digits")).label("of"), *_ADDED)
    .where(_sum.site == bindparam("site"), *_begins(_sum.part))
    .group_by(literal_column("1"))
)
"""Sums of several parts: quick where they are small, as their rows have to be sorted."""
_LIST = Statement(
    select(_common.digest)
    .where(_common.site == bindparam("site"), *_begins(_common.digest))
    .order_by(_common.digest)
)
_IS_HERE = or_(
    exists().where(_instance.digest == _replica.digest, _instance.held == 1),
    exists().where(_conflict.digest == _replica.digest, _conflict.held == 1),
)
_ALL_OWED = Statement(
    select(_replica.digest).where(
        _replica.site == bindparam("site"), _replica.state == CopyState.OWED, _IS_HERE
    )
)
_OWED = Statement(
    select(_replica.digest).where(
        *_begins(_replica.digest),
        literal_column("+replica.site") == bindparam("site"),
        literal_column("+replica.state") == CopyState.OWED,
        _IS_HERE,
    )
)
"""The same in a small part; the signs keep SQLite from reading all that is owed."""
_HELD = (
    Statement(select(func.coalesce(func.sum(schema.study.c.instance_count), 0))),
    Statement(select(func.count()).select_from(schema.conflict).where(_conflict.held == 1)),
)
_LOOK = {
    name: Statement(query.where(column == bindparam("digest")))
    for name, query, column in (
        ("instance", select(_instance.uid, _instance.held), _instance.digest),
        ("conflict", select(_conflict.instance, _conflict.held, _conflict.state), _conflict.digest),
        ("withdrawn", select(_withdrawn.instance), _withdrawn.digest),
        ("want", select(_want.instance, _want.error), _want.digest),
        ("replica", select(_replica.instance), _replica.digest),
    )
}


@dataclass(frozen=True, slots=True)
class Sum:
    """How many digests a part has, and three numbers in which each of them is added up (modulo 2^44)."""

    count: int = 0
    low: int = 0
    middle: int = 0
    high: int = 0

    @classmethod
    def of(cls, digests: Iterable[str]) -> Sum:
        """The sum of some digests."""
        count = low = middle = high = 0
        for digest in digests:
            count += 1
            low += int(digest[4:15], 16)
            middle += int(digest[15:26], 16)
            high += int(digest[26:37], 16)
        return cls(count, low & _MASK, middle & _MASK, high & _MASK)

    def __add__(self, other: Sum) -> Sum:
        """The sum of two sets that have nothing in common."""
        return Sum(
            self.count + other.count,
            (self.low + other.low) & _MASK,
            (self.middle + other.middle) & _MASK,
            (self.high + other.high) & _MASK,
        )

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits; two sets that have the same one are the same."""
        told = f"{self.count} {self.low:011x} {self.middle:011x} {self.high:011x}"
        return hashlib.sha256(told.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What is known here of some bytes."""

    where: Whereabouts
    instance: InstanceUID | None = None
    note: str = ""
    """Why the last attempt to fetch them failed, if one did."""


class Digests:
    """The bytes that this site and another one both hold, or ought to, as a unit that reads found them."""

    def __init__(self, unit: Unit) -> None:
        """The digests within a unit of work."""
        self._unit = unit
        self._parts: dict[tuple[SiteId, str], list[Sum]] = {}
        self._owed: dict[SiteId, list[str]] = {}

    def sum(self, site: SiteId, prefix: str) -> Sum:
        """The sum of the digests that begin with a prefix."""
        if len(prefix) >= PART:
            return Sum.of(self.all(site, prefix))
        return sum(self.parts(site, prefix), Sum())

    def parts(self, site: SiteId, prefix: str) -> list[Sum]:
        """The sums of the sixteen parts whose prefixes are one digit longer."""
        known = self._parts.get((site, prefix))
        if known is None:
            known = self._parts[site, prefix] = self._summed(site, prefix)
        return known

    def _summed(self, site: SiteId, prefix: str) -> list[Sum]:
        digits = len(prefix) + 1
        found = dict.fromkeys((prefix + digit for digit in HEX), Sum())
        if digits <= PART:
            found |= self._in_common(site, prefix, found)
            digests: Sequence[str] = self._owing(site, prefix)
        else:
            digests = self.all(site, prefix)
        for part, those in _grouped(digests, digits).items():
            found[part] += Sum.of(those)
        return list(found.values())

    def _in_common(self, site: SiteId, prefix: str, parts: Iterable[str]) -> dict[str, Sum]:
        """The sums of what is here and, as the other site said, there."""
        run, digits = self._unit.run, len(prefix) + 1
        if digits > PART // 2:
            rows = run(_SUMS, site=site, digits=digits, first=prefix, end=prefix + _END).fetchall()
            return {part: _sum_of(*numbers) for part, *numbers in rows}
        return {
            part: _sum_of(*run(_SUM, site=site, first=part, end=part + _END).fetchall()[0]) for part in parts
        }

    def all(self, site: SiteId, prefix: str) -> list[Digest]:
        """The digests that begin with a prefix, in order."""
        held = self._unit.run(_LIST, site=site, first=prefix, end=prefix + _END).fetchall()
        return [Digest.trusted(d) for d in sorted({row[0] for row in held}.union(self._owing(site, prefix)))]

    def held(self) -> int:
        """How many objects this site holds in all."""
        return sum(self._unit.run(statement).fetchall()[0][0] for statement in _HELD)

    def trace(self, digest: Digest) -> Trace:
        """What is known here of some bytes, whether another site has them or not."""
        unit = self._unit
        rows = {name: unit.run(look, digest=digest).fetchone() for name, look in _LOOK.items()}
        instance, conflict = rows["instance"], rows["conflict"]
        named = next((InstanceUID.trusted(row[0]) for row in rows.values() if row and row[0]), None)
        if any(row and row[1] for row in (instance, conflict)):
            return Trace(where=Whereabouts.HELD, instance=named)
        if rows["withdrawn"]:
            return Trace(where=Whereabouts.WITHDRAWN, instance=named)
        if conflict and conflict[2] == FOLDED:
            return Trace(where=Whereabouts.FOLDED, instance=named)
        if want := rows["want"]:
            return Trace(where=Whereabouts.WANTED, instance=named, note=want[1])
        if instance or conflict:
            return Trace(where=Whereabouts.MISSING, instance=named)
        return Trace(where=Whereabouts.ELSEWHERE if rows["replica"] else Whereabouts.UNKNOWN, instance=named)

    def _owing(self, site: SiteId, prefix: str) -> Sequence[str]:
        """What the other site owes and is here, of a part; all of it is read once where the part is large."""
        if site not in self._owed:
            if len(prefix) >= PART:
                rows = self._unit.run(_OWED, site=site, first=prefix, end=prefix + _END).fetchall()
                return [row[0] for row in rows]
            self._owed[site] = sorted(row[0] for row in self._unit.run(_ALL_OWED, site=site).fetchall())
        owed = self._owed[site]
        return owed[bisect_left(owed, prefix) : bisect_left(owed, prefix + _END)]


def _grouped(digests: Iterable[str], digits: int) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for digest in digests:
        groups.setdefault(digest[:digits], []).append(digest)
    return groups


def _sum_of(count: int | None, *numbers: int) -> Sum:
    return Sum(count, *(number & _MASK for number in numbers)) if count else Sum()
