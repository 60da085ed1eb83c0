"""What ought to be in the store of this site, in ranges of digests; and whether its counts are right."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, bindparam, exists, func, literal, or_, select, true, update

from node.catalog import quarantine, schema
from node.catalog.statement import Statement
from node.domain.ids import Digest, InstanceUID
from node.domain.replica import Whereabouts
from node.journal.entry import Fact

if TYPE_CHECKING:
    from node.catalog.unit import Unit

_instance, _conflict, _withdrawn, _quarantine, _want = (
    table.c for table in (schema.instance, schema.conflict, schema.withdrawn, schema.quarantine, schema.want)
)
_study, _series, _journal = (table.c for table in (schema.study, schema.series, schema.journal))
_END = "g"
"""Sorts behind every hexadecimal digit."""
_KEPT = (quarantine.HELD, quarantine.RELEASED)


def _range(column: ColumnElement[str]) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return column >= bindparam("first"), column < bindparam("end")


_HELD = tuple(
    Statement(query)
    for query in (
        select(_instance.digest, _instance.size, _instance.uid, _instance.arrived_at).where(
            *_range(_instance.digest),
            _instance.held == 1,
        ),
        select(_conflict.digest, _conflict.size, _conflict.instance, _conflict.arrived_at).where(
            *_range(_conflict.digest),
            _conflict.held == 1,
        ),
        select(_withdrawn.digest, _withdrawn.size, _withdrawn.instance, _withdrawn.arrived_at).where(
            *_range(_withdrawn.digest)
        ),
        select(_quarantine.digest, _quarantine.size, literal(""), _quarantine.arrived_at).where(
            *_range(_quarantine.digest),
            or_(*(_quarantine.state == kept for kept in _KEPT)),
        ),
    )
)
_ANY = tuple(
    Statement(query.limit(1))
    for query in (
        select(_instance.digest).where(_instance.held == 1),
        select(_withdrawn.digest),
        select(_quarantine.digest).where(or_(*(_quarantine.state == kept for kept in _KEPT))),
    )
)
_WANTED = Statement(select(_want.digest).where(*_range(_want.digest)))
_TOLD_DIGEST = func.json_extract(_journal.payload, "$.digest")
_LONGEST = 1 << 40
"""More entries than an epoch has."""


def _in_no_row(digest: ColumnElement[str]) -> tuple[ColumnElement[bool], ...]:
    return tuple(~exists().where(table.digest == digest) for table in (_instance, _conflict, _withdrawn))


_SERIES_COUNT = (
    select(func.count()).where(_instance.series == _series.id).correlate(schema.series).scalar_subquery()
)
_OF_STUDY = _series.study == _study.id
_STUDY_COUNTS = tuple(
    select(value)
    .select_from(schema.instance)
    .join(schema.series, _series.id == _instance.series)
    .where(_OF_STUDY)
    .correlate(schema.study)
    .scalar_subquery()
    for value in (func.count(), func.coalesce(func.sum(_instance.size), 0))
)
_SERIES_OF_STUDY = select(func.count()).where(_OF_STUDY).correlate(schema.study).scalar_subquery()
_WRONG = or_(
    _study.instance_count != _STUDY_COUNTS[0],
    _study.bytes != _STUDY_COUNTS[1],
    _study.series_count != _SERIES_OF_STUDY,
    exists().where(_OF_STUDY, _series.instance_count != _SERIES_COUNT).correlate(schema.study),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Bytes that ought to be in the store."""

    digest: Digest
    size: int
    instance: InstanceUID
    """Empty for an object in quarantine."""
    at: int
    """When they arrived."""


class Holdings:
    """What ought to be in the store."""

    def __init__(self, unit: Unit) -> None:
        """The holdings within a unit of work."""
        self._unit = unit

    @property
    def is_nothing(self) -> bool:
        """Whether nothing at all ought to be here."""
        return all(self._unit.run(statement).fetchone() is None for statement in _ANY)

    def beginning(self, prefix: str) -> dict[Digest, Held]:
        """What ought to be here under digests that begin so."""
        found: dict[Digest, Held] = {}
        for statement in _HELD:
            for digest, size, uid, at in self._unit.run(
                statement, first=prefix, end=prefix + _END
            ).fetchall():
                name = Digest.trusted(digest)
                found[name] = Held(digest=name, size=size, instance=InstanceUID.trusted(uid), at=at)
        return found

    def find(self, digest: Digest) -> Held | None:
        """What ought to be here under this digest."""
        return self.beginning(digest).get(digest)

    def is_done_without(self, digest: Digest) -> bool:
        """Whether these bytes are not needed here any more: folded into another form, or given up."""
        return self._unit.digests.trace(digest).where in (Whereabouts.FOLDED, Whereabouts.MISSING)

    def on_the_way(self, prefix: str) -> set[str]:
        """Digests that begin so and are being fetched: their bytes come before their rows."""
        rows = self._unit.run(_WANTED, first=prefix, end=prefix + _END).fetchall()
        return {row[0] for row in rows}

    def untold(self) -> Sequence[tuple[InstanceUID, Digest, int]]:
        """Instances that this site's journal says it has, and no row knows: UID, digest and size."""
        return [*self._received(), *self._proved()]

    def _received(self) -> Iterator[tuple[InstanceUID, Digest, int]]:
        """Those that it received, without a row."""
        size = func.json_extract(_journal.payload, "$.size")
        query = select(_journal.subject, _TOLD_DIGEST, size).where(
            _journal.kind == Fact.INSTANCE,
            _journal.origin == self._unit.origin,
            *_in_no_row(_TOLD_DIGEST),
        )
        for uid, digest, bytes_ in self._unit.rows(query):
            yield InstanceUID.trusted(uid), Digest.trusted(digest), bytes_

    def _proved(self) -> Iterator[tuple[InstanceUID, Digest, int]]:
        """Those that other sites received, and whose copies it said that it had proved, without a row."""
        proved = self._said("verified", _in_no_row)
        if not proved:
            return
        gone = self._said("gone", lambda _digest: ())
        for digest, told in proved.items():
            copies = (
                self._unit.replicas.of_digest(Digest.trusted(digest)) if told > gone.get(digest, 0) else ()
            )
            for copy in copies[:1]:
                yield copy.instance, copy.digest, copy.size

    def _said(
        self, what: str, where: Callable[[ColumnElement[str]], tuple[ColumnElement[bool], ...]]
    ) -> dict[str, int]:
        """Digests that facts of this site about its copies name, and the place of the last one that does."""
        named = func.json_each(_journal.payload, f"$.{what}").table_valued("value")
        place = func.max(_journal.epoch * _LONGEST + _journal.seq)
        query = (
            select(named.c.value, place)
            .select_from(schema.journal.join(named, true()))
            .where(_journal.kind == Fact.COPIES, _journal.origin == self._unit.origin, *where(named.c.value))
            .group_by(named.c.value)
        )
        return dict(self._unit.rows(query))

    def miscounted(self) -> Sequence[tuple[int, str]]:
        """Row and Study Instance UID of studies whose counts are not those of their rows."""
        return [(row, uid) for row, uid in self._unit.rows(select(_study.id, _study.uid).where(_WRONG))]

    def recount(self) -> int:
        """Make counts of studies and series right; how many studies were wrong."""
        wrong = [row for row, _ in self.miscounted()]
        for first in range(0, len(wrong), 500):
            some = wrong[first : first + 500]
            self._unit.change(
                update(schema.series).where(_series.study.in_(some)).values(instance_count=_SERIES_COUNT)
            )
            self._unit.change(
                update(schema.study)
                .where(_study.id.in_(some))
                .values(
                    instance_count=_STUDY_COUNTS[0], bytes=_STUDY_COUNTS[1], series_count=_SERIES_OF_STUDY
                )
            )
        return len(wrong)
