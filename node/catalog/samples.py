"""Samples of a catalog: some studies with all that hangs together with them, or some objects; and their rows.

`portrait` tells rows as they have to be the same wherever the same facts and bytes are; `narrow` and `drop`
change a copy of a catalog that is made to be taken apart.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Select, bindparam, delete, exists, func, insert, select, update

from node.catalog import quarantine, schema
from node.catalog.conflicts import FOLDED
from node.catalog.statement import Statement
from node.catalog.unit import Unit
from node.domain.ids import Digest, InstanceUID, SiteId, StudyUID
from node.domain.replica import CopyState
from node.journal.entry import patient_subject

_instance, _conflict, _withdrawn, _replica = (
    table.c for table in (schema.instance, schema.conflict, schema.withdrawn, schema.replica)
)
_patient, _study, _series = (table.c for table in (schema.patient, schema.study, schema.series))
_PAGE: Final = 500
"""Values in one list at the most."""
_IN_SERIES = _instance.series == _series.id
_IN_STUDY = _series.study == _study.id
_AWAY = exists().where(_IN_SERIES, _series.study == _study.id, _instance.held == 0)
_LET_GO = tuple(
    Statement(query)
    for query in (
        update(schema.instance).values(held=0),
        update(schema.conflict).values(held=0),
        delete(schema.withdrawn),
        update(schema.quarantine).values(state=quarantine.DISCARDED),
        delete(schema.proof),
    )
)
_TAKE_BACK = Statement(insert(schema.withdrawn))
_DROP = Statement(delete(schema.instance).where(_instance.digest == bindparam("of")))
_CONFLICTS = select(
    _conflict.instance, _conflict.digest, _conflict.size, _conflict.state, _conflict.source, _conflict.stamp
).where(_conflict.state != FOLDED)
_OF_PATIENT = (_study.patient == _patient.id,)
_PORTRAIT: Final[Mapping[str, Select[Any]]] = {
    "instance": select(
        _instance.uid,
        _instance.sop_class,
        _instance.transfer_syntax,
        _instance.digest,
        _instance.size,
        _instance.source,
        _instance.stamp,
        _instance.more,
    ).where(_IN_SERIES, _IN_STUDY),
    "series": select(
        _series.uid,
        _study.uid,
        _patient.patient_id,
        _patient.issuer,
        _series.modality,
        _series.description,
        _series.instance_count,
        _series.stamp,
        _series.more,
    ).where(_IN_STUDY, *_OF_PATIENT),
    "study": select(
        _study.uid,
        _patient.patient_id,
        _patient.issuer,
        _study.date,
        _study.accession,
        _study.description,
        _study.referring,
        _study.modalities,
        _study.series_count,
        _study.instance_count,
        _study.bytes,
        _study.stamp,
        _study.more,
    ).where(*_OF_PATIENT),
    "patient": select(
        _patient.patient_id,
        _patient.issuer,
        _patient.name,
        _patient.birth_date,
        _patient.sex,
        _patient.merged,
        _patient.stamp,
        _patient.more,
    ).where((_study.patient == _patient.id) | (_study.shown == _patient.id)),
}
"""Of each table what has to be the same wherever the same facts and bytes are, restricted by study."""

Portrait = Mapping[str, Sequence[tuple[Any, ...]]]
"""Rows by table, in order."""


@dataclass(frozen=True, slots=True)
class Weight:
    """Objects and their bytes."""

    objects: int = 0
    bytes: int = 0

    def __add__(self, other: Weight) -> Weight:
        """Both together."""
        return Weight(self.objects + other.objects, self.bytes + other.bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """Objects of which, as far as is known here, no other site has a copy."""

    weight: Weight
    oldest_at: int | None
    """When the oldest of them arrived; microseconds since 1970."""


class Samples:
    """Samples within a unit of work."""

    def __init__(self, unit: Unit) -> None:
        """Samples of what this unit sees."""
        self._unit = unit

    def studies(self) -> set[StudyUID]:
        """Studies all of whose instances are here."""
        away = select(_study.uid).where(_AWAY)
        return {
            StudyUID.trusted(row[0])
            for row in self._unit.rows(select(_study.uid).where(_study.uid.not_in(away)))
        }

    def kin(self, study: StudyUID) -> set[StudyUID]:
        """A study, and all whose rows hang together with its own: those of its patients, merged ones too."""
        studies: set[str] = {study}
        while True:
            own = self._in(select(_study.patient, _study.shown), _study.uid, studies)
            patients = {patient for row in own for patient in row}
            found = {
                uid
                for column in (_study.patient, _study.shown)
                for (uid,) in self._in(select(_study.uid), column, patients)
            }
            if found <= studies:
                return {StudyUID.trusted(uid) for uid in studies}
            studies |= found

    def held(self, studies: Collection[StudyUID], *, withdrawn: bool = False) -> dict[Digest, int]:
        """What is here of these studies: digest and size.

        Args:
            studies: which.
            withdrawn: also what persons have withdrawn.
        """
        uids = self.instances(studies)
        shown = select(_instance.digest, _instance.size).where(_instance.held == 1)
        beside = select(_conflict.digest, _conflict.size).where(_conflict.held == 1)
        taken = select(_withdrawn.digest, _withdrawn.size)
        rows = [
            *self._in(shown, _instance.uid, uids),
            *self._in(beside, _conflict.instance, uids),
            *(self._in(taken, _withdrawn.instance, uids) if withdrawn else ()),
        ]
        return {Digest.trusted(digest): size for digest, size in rows}

    def counted(self, studies: Collection[StudyUID]) -> Weight:
        """How much these studies say that they hold."""
        counts = select(_study.instance_count, _study.bytes)
        return sum((Weight(*row) for row in self._in(counts, _study.uid, studies)), Weight())

    def objects(self) -> Iterator[tuple[Digest, int]]:
        """All that is here, apart from what is withdrawn or in quarantine: digest and size."""
        queries = (
            select(_instance.digest, _instance.size).where(_instance.held == 1),
            select(_conflict.digest, _conflict.size).where(_conflict.held == 1),
        )
        for query in queries:
            for digest, size in self._unit.rows(query):
                yield Digest.trusted(digest), size

    def weight(self, *, withdrawn: bool = False) -> Weight:
        """How much that is, with what is withdrawn if told so."""
        found = Weight()
        for column in (_instance, _conflict, _withdrawn)[: 3 if withdrawn else 2]:
            query = select(func.count(), func.coalesce(func.sum(column.size), 0))
            query = query if column is _withdrawn else query.where(column.held == 1)
            found += Weight(*next(self._unit.rows(query)))
        return found

    def quarantined(self) -> int:
        """Objects that wait for a person: no other site is told of them."""
        kept = schema.quarantine.c.state == quarantine.HELD
        query = select(func.count()).select_from(schema.quarantine).where(kept)
        return int(next(self._unit.rows(query))[0])

    def withdrawn(self) -> int:
        """Objects that persons have withdrawn: no site gives them to another."""
        return int(next(self._unit.rows(select(func.count()).select_from(schema.withdrawn)))[0])

    def alone(self, sites: Sequence[SiteId], before: int) -> Alone:
        """What is here, came before that moment, and is at none of these sites as far as is known.

        Args:
            sites: the members that would give it back.
            before: microseconds since 1970.
        """
        found, oldest = Weight(), list[int]()
        for column in (_instance, _conflict):
            elsewhere = exists().where(
                _replica.digest == column.digest,
                _replica.site.in_(sites),
                _replica.state.in_([CopyState.HELD, CopyState.VERIFIED]),
            )
            numbers = func.count(), func.coalesce(func.sum(column.size), 0), func.min(column.arrived_at)
            query = select(*numbers).where(column.held == 1, column.arrived_at < before, ~elsewhere)
            many, size, first = next(self._unit.rows(query))
            found += Weight(many, size)
            oldest += [first] if many else []
        return Alone(weight=found, oldest_at=min(oldest, default=None))

    def instances(self, studies: Collection[StudyUID]) -> set[InstanceUID]:
        """The instances of these studies, those that are withdrawn too."""
        shown = select(_instance.uid).where(_IN_SERIES, _IN_STUDY)
        taken = select(_withdrawn.instance)
        rows = [*self._in(shown, _study.uid, studies), *self._in(taken, _withdrawn.study, studies)]
        return {InstanceUID.trusted(uid) for (uid,) in rows}

    def subjects(self, studies: Collection[StudyUID]) -> list[str]:
        """What facts are about that make up the rows of these studies."""
        own, shown = schema.patient.alias(), schema.patient.alias()
        named = select(own.c.issuer, own.c.patient_id, shown.c.issuer, shown.c.patient_id).where(
            own.c.id == _study.patient, shown.c.id == _study.shown
        )
        patients = {
            patient_subject(*pair)
            for row in self._in(named, _study.uid, studies)
            for pair in (row[:2], row[2:])
        }
        return sorted({*self.instances(studies), *studies, *patients})

    def portrait(self, studies: Collection[StudyUID]) -> Portrait:
        """The rows of these studies, without what is each site's own affair."""
        found = {
            name: sorted(set(self._in(query, _study.uid, studies)), key=str)
            for name, query in _PORTRAIT.items()
        }
        uids = self.instances(studies)
        found["conflict"] = sorted(self._in(_CONFLICTS, _conflict.instance, uids), key=str)
        return found

    def narrow(self, digests: Iterable[Digest]) -> None:
        """Let a copy of a catalog hold these objects alone: all others are catalogued, and elsewhere."""
        wanted = sorted(digests)
        withdrawn = list(self._in(select(schema.withdrawn), _withdrawn.digest, wanted))
        for statement in _LET_GO:
            self._unit.run(statement)
        for page in _pages(wanted):
            for table in (schema.instance, schema.conflict):
                self._unit.change(update(table).where(table.c.digest.in_(page)).values(held=1))
        names = [column.name for column in schema.withdrawn.columns]
        for row in withdrawn:
            self._unit.run(_TAKE_BACK, **dict(zip(names, row, strict=True)))

    def drop(self, digest: Digest) -> StudyUID:
        """Drop the row of an instance, as a broken catalog does; of which study it was."""
        query = select(_study.uid).where(_instance.digest == digest, _IN_SERIES, _IN_STUDY)
        study = StudyUID.trusted(next(self._unit.rows(query))[0])
        self._unit.run(_DROP, of=digest)
        return study

    def shown(self, digests: Collection[Digest]) -> list[Digest]:
        """Those of some bytes that are shown, in the row of their instance."""
        return [
            Digest.trusted(row[0]) for row in self._in(select(_instance.digest), _instance.digest, digests)
        ]

    def studies_of(self, digests: Collection[Digest]) -> set[StudyUID]:
        """The studies that some bytes are shown in."""
        query = select(_study.uid).where(_IN_SERIES, _IN_STUDY)
        return {StudyUID.trusted(row[0]) for row in self._in(query, _instance.digest, digests)}

    def _in(self, query: Select[Any], column: Any, values: Collection[Any]) -> Iterator[tuple[Any, ...]]:
        """Rows of a query where a column has one of these values."""
        for page in _pages(sorted(values)):
            yield from list(self._unit.rows(query.where(column.in_(page))))


def _pages(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (values[first : first + _PAGE] for first in range(0, len(values), _PAGE))
