"""Taking an instance out of the derived tables, with everything that is left empty by that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, func, select, update

from node.catalog import schema
from node.catalog.instances import gather_modalities
from node.catalog.statement import Statement
from node.domain.ids import Digest, InstanceUID
from node.domain.query import Level

if TYPE_CHECKING:
    from node.catalog.unit import Unit

_patient, _study, _series, _instance = (
    table.c for table in (schema.patient, schema.study, schema.series, schema.instance)
)
_ROW = Statement(
    select(
        _instance.id, _instance.series, _series.study, _study.patient, _instance.size, _instance.stamp,
        _series.stamp, _study.stamp, _patient.stamp,
    )
    .join(schema.series, _series.id == _instance.series)
    .join(schema.study, _study.id == _series.study)
    .join(schema.patient, _patient.id == _study.patient)
    .where(_instance.uid == bindparam("uid"))
)  # fmt: skip
_REMOVE = Statement(delete(schema.instance).where(_instance.id == bindparam("row")))
_UNCOUNT_IN_SERIES = Statement(
    update(schema.series)
    .where(_series.id == bindparam("row"))
    .values(instance_count=_series.instance_count - 1)
)
_UNCOUNT_IN_STUDY = Statement(
    update(schema.study)
    .where(_study.id == bindparam("row"))
    .values(instance_count=_study.instance_count - 1, bytes=_study.bytes - bindparam("taken"))
)
_UNCOUNT_SERIES = Statement(
    update(schema.study).where(_study.id == bindparam("row")).values(series_count=_study.series_count - 1)
)
_SERIES_LEFT = Statement(select(_series.instance_count).where(_series.id == bindparam("row")))
_STUDY_LEFT = Statement(select(_study.series_count).where(_study.id == bindparam("row")))
_PATIENT_LEFT = Statement(select(func.count()).where(_study.patient == bindparam("row")))
_REMOVE_SERIES = Statement(delete(schema.series).where(_series.id == bindparam("row")))
_REMOVE_STUDY = Statement(delete(schema.study).where(_study.id == bindparam("row")))
_REMOVE_PATIENT = Statement(delete(schema.patient).where(_patient.id == bindparam("row")))
_WHO = Statement(select(_patient.issuer, _patient.patient_id).where(_patient.id == bindparam("row")))
_STAMPED = (_instance.digest, _instance.stamp)
_FIRST_OF_SERIES = Statement(
    select(*_STAMPED).where(_instance.series == bindparam("row")).order_by(_instance.stamp).limit(1)
)
_FIRST_OF_STUDY = Statement(
    select(*_STAMPED)
    .join(schema.series, _series.id == _instance.series)
    .where(_series.study == bindparam("row"))
    .order_by(_instance.stamp)
    .limit(1)
)
_FIRST_OF_PATIENT = Statement(
    select(*_STAMPED)
    .join(schema.series, _series.id == _instance.series)
    .join(schema.study, _study.id == _series.study)
    .where(_study.patient == bindparam("row"))
    .order_by(_instance.stamp)
    .limit(1)
)
_FIRST = {
    Level.PATIENT: _FIRST_OF_PATIENT,
    Level.STUDY: _FIRST_OF_STUDY,
    Level.SERIES: _FIRST_OF_SERIES,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """A row whose attributes came from an instance that was taken out; another one has to tell them."""

    level: Level
    row: int
    digest: Digest
    """The bytes of the earliest instance that is left."""
    stamp: str


def remove(unit: Unit, uid: InstanceUID) -> list[Orphan]:
    """Take an instance out, with the series, study and patient that are left without any.

    Returns:
        The rows whose attributes it had told; `Instances.retell` makes them those of the earliest one left.
    """
    found = unit.run(_ROW, uid=uid).fetchone()
    if found is None:
        return []
    instance, series, study, patient, size, stamp, *told = found
    unit.run(_REMOVE, row=instance)
    unit.run(_UNCOUNT_IN_SERIES, row=series)
    unit.run(_UNCOUNT_IN_STUDY, row=study, taken=size)
    kept = (
        (Level.SERIES, series, _keeps_series(unit, series, study)),
        (Level.STUDY, study, _keeps(unit, _STUDY_LEFT, _REMOVE_STUDY, study)),
        (Level.PATIENT, patient, _keeps_patient(unit, patient)),
    )
    return [
        teller(unit, level, row)
        for (level, row, is_kept), told_by in zip(kept, told, strict=True)
        if is_kept and told_by == stamp
    ]


def _keeps_series(unit: Unit, series: int, study: int) -> bool:
    """Take out a series that is empty; whether it is still there."""
    if _keeps(unit, _SERIES_LEFT, _REMOVE_SERIES, series):
        return True
    unit.run(_UNCOUNT_SERIES, row=study)
    gather_modalities(unit, study)
    return False


def _keeps_patient(unit: Unit, patient: int) -> bool:
    """Take out a patient without studies; whether it is still there."""
    who = unit.run(_WHO, row=patient).fetchone()
    if _keeps(unit, _PATIENT_LEFT, _REMOVE_PATIENT, patient):
        return True
    if who is not None:
        unit.corrections.patient_gone(who[0], who[1])
    return False


def _keeps(unit: Unit, left: Statement, remove: Statement, row: int) -> bool:
    """Take out a row that nothing belongs to any more; whether it is still there."""
    found = unit.run(left, row=row).fetchone()
    if found and found[0]:
        return True
    unit.run(remove, row=row)
    return False


def teller(unit: Unit, level: Level, row: int) -> Orphan:
    """The earliest instance of a series, study or patient, which tells its attributes."""
    first = unit.run(_FIRST[level], row=row).fetchone()
    assert first is not None, "a row is left only where an instance is"
    return Orphan(level=level, row=row, digest=Digest.trusted(first[0]), stamp=first[1])


def told_by(unit: Unit, uid: InstanceUID) -> list[Orphan]:
    """The series, study and patient of an instance, as far as it is the one that tells their attributes."""
    found = unit.run(_ROW, uid=uid).fetchone()
    if found is None:
        return []
    rows = zip((Level.SERIES, Level.STUDY, Level.PATIENT), found[1:4], strict=True)
    tellers = [teller(unit, level, row) for level, row in rows]
    return [one for one in tellers if one.stamp == found[5]]
