"""Patients, studies, series and instances as rows: what an arrival adds to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Table, bindparam, delete, exists, insert, select, update
from sqlalchemy.sql import ClauseElement

from node.catalog import schema
from node.catalog.arrival import Arrival
from node.catalog.attributes import ATTRIBUTES, Attribute
from node.catalog.matching import name
from node.catalog.statement import Statement
from node.domain.ids import Digest, InstanceUID, SeriesUID, SOPClassUID, StudyUID, TransferSyntaxUID
from node.domain.instance import Instance
from node.domain.query import Level

if TYPE_CHECKING:
    from node.catalog.unit import Unit

_patient, _study, _series, _instance = (
    table.c for table in (schema.patient, schema.study, schema.series, schema.instance)
)
_modality = schema.study_modality.c


def _inserted(table: Table) -> ClauseElement:
    return (
        insert(table)
        .values({c.name: bindparam(c.name) for c in table.c if c.name != "id"})
        .returning(table.c.id)
    )


_PATIENT = Statement(
    select(_patient.id, _patient.stamp).where(
        _patient.patient_id == bindparam("patient_id"), _patient.issuer == bindparam("issuer")
    )
)
_ADD_PATIENT = Statement(_inserted(schema.patient))
_STUDY = Statement(
    select(_study.id, _study.stamp).where(
        _study.uid == bindparam("uid"), _study.patient == bindparam("of_patient")
    )
)
_ADD_STUDY = Statement(_inserted(schema.study))
_SERIES = Statement(
    select(_series.id, _series.study, _study.patient, _series.stamp, _study.stamp, _patient.stamp)
    .join(schema.study, _study.id == _series.study)
    .join(schema.patient, _patient.id == _study.patient)
    .where(
        _series.uid == bindparam("series"),
        _study.uid == bindparam("study"),
        _patient.patient_id == bindparam("patient_id"),
        _patient.issuer == bindparam("issuer"),
    )
)
_ADD_SERIES = Statement(_inserted(schema.series))
_KNOWN = Statement(select(_instance.digest).where(_instance.uid == bindparam("uid")))
_ADD_INSTANCE = Statement(
    insert(schema.instance).values({c.name: bindparam(c.name) for c in schema.instance.c if c.name != "id"})
)
_COUNT_IN_SERIES = Statement(
    update(schema.series)
    .where(_series.id == bindparam("row"))
    .values(instance_count=_series.instance_count + 1)
)
_COUNT_IN_STUDY = Statement(
    update(schema.study)
    .where(_study.id == bindparam("row"))
    .values(instance_count=_study.instance_count + 1, bytes=_study.bytes + bindparam("added"))
)
_COUNT_SERIES = Statement(
    update(schema.study).where(_study.id == bindparam("row")).values(series_count=_study.series_count + 1)
)
_MODALITIES = Statement(
    select(_modality.modality).where(_modality.study == bindparam("study")).order_by(_modality.modality)
)
_ADD_MODALITY = Statement(insert(schema.study_modality))
_SET_MODALITIES = Statement(
    update(schema.study).where(_study.id == bindparam("row")).values(modalities=bindparam("joined"))
)
_STUDY_OF = Statement(select(_series.study).where(_series.id == bindparam("row")))
_FORGET_MODALITIES = Statement(delete(schema.study_modality).where(_modality.study == bindparam("of_study")))
_MODALITIES_OF_SERIES = Statement(
    select(_series.modality).where(_series.study == bindparam("of_study"), _series.modality != "").distinct()
)
_SET_HELD = Statement(
    update(schema.instance).where(_instance.uid == bindparam("of")).values(held=bindparam("whether"))
)
_PLACE = Statement(
    select(_instance.id, _series.id, _study.id, _study.patient)
    .join(schema.series, _series.id == _instance.series)
    .join(schema.study, _study.id == _series.study)
    .where(_instance.uid == bindparam("uid"))
)
_RESTAMP = tuple(
    Statement(
        update(table)
        .where(table.c.id == bindparam("row"), table.c.stamp == bindparam("before"))
        .values(stamp=bindparam("after"))
    )
    for table in (schema.instance, schema.series, schema.study, schema.patient)
)
_AWAY = Statement(
    select(_instance.uid, _instance.digest)
    .where(
        _instance.held == 0,
        ~exists().where(schema.want.c.digest == _instance.digest),
        ~exists().where(schema.given_up.c.digest == _instance.digest),
    )
    .order_by(_instance.uid)
    .limit(bindparam("many"))
)
_HELD = Statement(select(_instance.held).where(_instance.uid == bindparam("uid")))
INSTANCE = (
    _instance.uid,
    _series.uid,
    _study.uid,
    _instance.sop_class,
    _instance.transfer_syntax,
    _instance.digest,
    _instance.size,
)
"""What `instance_of` makes an `Instance` of."""
_ONE = Statement(
    select(*INSTANCE)
    .join(schema.series, _series.id == _instance.series)
    .join(schema.study, _study.id == _series.study)
    .where(_instance.uid == bindparam("uid"))
)


def _columns(level: Level) -> list[Attribute]:
    return [a for a in ATTRIBUTES.values() if a.level is level and a.column is not None]


_PATIENT_COLUMNS, _STUDY_COLUMNS, _SERIES_COLUMNS, _IMAGE_COLUMNS = (_columns(level) for level in Level)


def _retold(table: Table, level: Level) -> Statement:
    """Set the attributes of a row, and the stamp of the instance that they come from."""
    identity = {"uid", "patient_id", "issuer"}
    names = [a.column for a in _columns(level) if a.column and a.column not in identity]
    names += ["more", "stamp", *_FOLDED_OF.get(level, ())]
    values: dict[str, Any] = {
        column: bindparam(f"new_{column}") for column in names if column != "modalities"
    }
    return Statement(update(table).where(table.c.id == bindparam("row")).values(values))


_FOLDED_OF = {Level.PATIENT: ("name_folded",), Level.STUDY: ("referring_folded",)}
_RETELL = {
    Level.PATIENT: _retold(schema.patient, Level.PATIENT),
    Level.STUDY: _retold(schema.study, Level.STUDY),
    Level.SERIES: _retold(schema.series, Level.SERIES),
}
_FILL = Statement(
    update(schema.instance)
    .where(_instance.id == bindparam("row"))
    .values(
        {
            column: bindparam(f"new_{column}")
            for column in (
                *(a.column for a in _IMAGE_COLUMNS if a.column),
                "more",
                "transfer_syntax",
                "arrived_at",
                "source",
                "stamp",
            )
        }
        | {"held": 1}
    )
)
_TOLD_BY = {
    level: Statement(update(table).where(table.c.id == bindparam("row")).values(stamp=bindparam("stamp")))
    for level, table in (
        (Level.PATIENT, schema.patient),
        (Level.STUDY, schema.study),
        (Level.SERIES, schema.series),
    )
}
_LEVEL_COLUMNS = {
    Level.PATIENT: _PATIENT_COLUMNS,
    Level.STUDY: _STUDY_COLUMNS,
    Level.SERIES: _SERIES_COLUMNS,
}


class Instances:
    """The derived tables that queries and retrievals read."""

    def __init__(self, unit: Unit) -> None:
        """The tables within a unit of work."""
        self._unit = unit

    def digest(self, uid: InstanceUID) -> Digest | None:
        """The name of the bytes archived under a SOP Instance UID, or None where there are none."""
        row = self._unit.run(_KNOWN, uid=uid).fetchone()
        return Digest.trusted(row[0]) if row else None

    def find(self, uid: InstanceUID) -> Instance | None:
        """The instance archived under a SOP Instance UID."""
        row = self._unit.run(_ONE, uid=uid).fetchone()
        return instance_of(row) if row else None

    def add(self, arrival: Arrival, *, held: bool = True) -> None:
        """Catalogue an instance whose UID is new here, with the series, study and patient it brings.

        Args:
            arrival: what is known of it.
            held: whether its bytes are here.
        """
        series, study = self._series(arrival)
        self._unit.run(
            _ADD_INSTANCE,
            **_values(arrival, Level.IMAGE, _IMAGE_COLUMNS),
            series=series,
            transfer_syntax=arrival.transfer_syntax,
            digest=arrival.digest,
            size=arrival.size,
            arrived_at=arrival.at,
            source=arrival.source,
            stamp=arrival.stamp,
            held=int(held),
        )
        self._unit.run(_COUNT_IN_SERIES, row=series)
        self._unit.run(_COUNT_IN_STUDY, row=study, added=arrival.size)

    def fill(self, arrival: Arrival) -> bool:
        """Let the bytes of an instance tell its row, which was here before them; whether it is the right row.

        Series, study and patient are told anew where this instance is the one that tells them.
        """
        place = self._unit.run(_PLACE, uid=arrival.instance).fetchone()
        row = self._unit.run(
            _SERIES,
            series=arrival.series,
            study=arrival.study,
            patient_id=arrival.patient_id,
            issuer=arrival.issuer,
        ).fetchone()
        if place is None or row is None or tuple(row[:3]) != tuple(place[1:]):
            return False
        values = _values(arrival, Level.IMAGE, _IMAGE_COLUMNS) | {
            "transfer_syntax": arrival.transfer_syntax,
            "arrived_at": arrival.at,
            "source": arrival.source,
            "stamp": arrival.stamp,
        }
        self._unit.run(_FILL, row=place[0], **{f"new_{column}": value for column, value in values.items()})
        levels = (Level.SERIES, Level.STUDY, Level.PATIENT)
        for level, number, stamp in zip(levels, row[:3], row[3:], strict=True):
            if arrival.stamp <= stamp:
                self.retell(level, number, arrival)
        return True

    def told_by(self, level: Level, row: int, stamp: str) -> None:
        """Another instance is to tell a series, study or patient as soon as its bytes are here."""
        self._unit.run(_TOLD_BY[level], row=row, stamp=stamp)

    def retell(self, level: Level, row: int, arrival: Arrival) -> None:
        """Let an instance tell the attributes of the patient, study or series that it belongs to."""
        values = _values(arrival, level, _LEVEL_COLUMNS[level]) | {"stamp": arrival.stamp}
        if level is Level.PATIENT:
            values["name_folded"] = name(values["name"])
        if level is Level.STUDY:
            values["referring_folded"] = name(values["referring"])
        told = {f"new_{column}": value for column, value in values.items()}
        self._unit.run(_RETELL[level], row=row, **told)
        self._unit.corrections.lay_over(level, row)
        if level is Level.SERIES:
            self._gather_modalities(row)

    def set_held(self, uid: InstanceUID, *, held: bool) -> None:
        """Note whether the bytes of an instance are here."""
        self._unit.run(_SET_HELD, of=uid, whether=int(held))

    def away(self, many: int) -> Sequence[tuple[InstanceUID, Digest]]:
        """Instances that are catalogued and whose bytes are neither here nor wanted, nor were given up."""
        rows = self._unit.run(_AWAY, many=many).fetchall()
        return [(InstanceUID.trusted(uid), Digest.trusted(digest)) for uid, digest in rows]

    def is_held(self, uid: InstanceUID) -> bool:
        """Whether the instance is catalogued and its bytes are here."""
        row = self._unit.run(_HELD, uid=uid).fetchone()
        return bool(row and row[0])

    def restamp(self, uid: InstanceUID, before: str, after: str) -> None:
        """The fact that an instance is archived by stands elsewhere now, with all that it told."""
        found = self._unit.run(_PLACE, uid=uid).fetchone()
        if found is not None:
            for statement, row in zip(_RESTAMP, found, strict=True):
                self._unit.run(statement, row=row, before=before, after=after)

    def _series(self, arrival: Arrival) -> tuple[int, int]:
        """Row numbers of the series and its study, made where they are new."""
        row = self._unit.run(
            _SERIES,
            series=arrival.series,
            study=arrival.study,
            patient_id=arrival.patient_id,
            issuer=arrival.issuer,
        ).fetchone()
        if row:
            series, study, patient, *stamps = row
            rows = ((Level.SERIES, series), (Level.STUDY, study), (Level.PATIENT, patient))
            for (level, number), stamp in zip(rows, stamps, strict=True):
                if arrival.stamp < stamp:
                    self.retell(level, number, arrival)
            return series, study
        study = self._study(arrival)
        values = _values(arrival, Level.SERIES, _SERIES_COLUMNS)
        series = self._add(_ADD_SERIES, **values, study=study, instance_count=0, stamp=arrival.stamp)
        self._unit.run(_COUNT_SERIES, row=study)
        self._note_modality(study, arrival.text(0x00080060))
        return series, study

    def _study(self, arrival: Arrival) -> int:
        """Row number of the study of this patient: one UID for two patients is two studies."""
        patient = self._patient(arrival)
        row = self._unit.run(_STUDY, uid=arrival.study, of_patient=patient).fetchone()
        if row:
            if arrival.stamp < row[1]:
                self.retell(Level.STUDY, row[0], arrival)
            return int(row[0])
        values = _values(arrival, Level.STUDY, _STUDY_COLUMNS)
        study = self._add(
            _ADD_STUDY,
            **values,
            referring_folded=name(values["referring"]),
            patient=patient,
            series_count=0,
            instance_count=0,
            bytes=0,
            arrived_at=arrival.at,
            stamp=arrival.stamp,
            shown=patient,
        )
        self._unit.corrections.study_made(study, arrival)
        return study

    def _patient(self, arrival: Arrival) -> int:
        row = self._unit.run(_PATIENT, patient_id=arrival.patient_id, issuer=arrival.issuer).fetchone()
        if row:
            if arrival.stamp < row[1]:
                self.retell(Level.PATIENT, row[0], arrival)
            return int(row[0])
        values = _values(arrival, Level.PATIENT, _PATIENT_COLUMNS)
        patient = self._add(
            _ADD_PATIENT, **values, name_folded=name(values["name"]), stamp=arrival.stamp, merged=0
        )
        self._unit.corrections.patient_made(patient, arrival)
        return patient

    def _add(self, statement: Statement, **values: Any) -> int:
        row = self._unit.run(statement, **values).fetchone()
        assert row is not None
        return int(row[0])

    def _note_modality(self, study: int, modality: str) -> None:
        """Keep Modalities in Study (0008,0061) in step with the series."""
        known = [row[0] for row in self._unit.run(_MODALITIES, study=study).fetchall()]
        if modality and modality not in known:
            self._unit.run(_ADD_MODALITY, study=study, modality=modality)
            _join_modalities(self._unit, study)

    def _gather_modalities(self, series: int) -> None:
        """Make Modalities in Study anew after a series was told otherwise."""
        study = self._unit.run(_STUDY_OF, row=series).fetchall()[0][0]
        gather_modalities(self._unit, study)


def gather_modalities(unit: Unit, study: int) -> None:
    """Make Modalities in Study (0008,0061) anew from the series that are there."""
    unit.run(_FORGET_MODALITIES, of_study=study)
    for (modality,) in unit.run(_MODALITIES_OF_SERIES, of_study=study).fetchall():
        unit.run(_ADD_MODALITY, study=study, modality=modality)
    _join_modalities(unit, study)


def _join_modalities(unit: Unit, study: int) -> None:
    known = [row[0] for row in unit.run(_MODALITIES, study=study).fetchall()]
    unit.run(_SET_MODALITIES, row=study, joined="\\".join(sorted(known)))


def _values(arrival: Arrival, level: Level, columns: Sequence[Attribute]) -> dict[str, Any]:
    """Values of the level's columns; identity comes from the checked fields."""
    values: dict[str, Any] = {a.column: arrival.text(a.tag) for a in columns if a.column}
    values["more"] = arrival.more(level)
    match level:
        case Level.PATIENT:
            values |= {"patient_id": arrival.patient_id, "issuer": arrival.issuer}
        case Level.STUDY:
            values |= {"uid": arrival.study}
        case Level.SERIES:
            values |= {"uid": arrival.series}
        case Level.IMAGE:
            values |= {"uid": arrival.instance, "sop_class": arrival.sop_class}
    return values


def instance_of(row: Sequence[Any]) -> Instance:
    """An `Instance` from a row of the columns `INSTANCE`."""
    uid, series, study, sop_class, transfer_syntax, digest, size = row
    return Instance(
        uid=InstanceUID.trusted(uid),
        series=SeriesUID.trusted(series),
        study=StudyUID.trusted(study),
        sop_class=SOPClassUID.trusted(sop_class),
        transfer_syntax=TransferSyntaxUID.trusted(transfer_syntax),
        digest=Digest.trusted(digest),
        size=size,
    )
