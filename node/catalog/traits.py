"""What rules and terms can ask about instances, from their rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, select

from node.catalog import schema
from node.catalog.arrival import Arrival
from node.catalog.statement import Statement
from node.domain.ids import Digest, InstanceUID, SeriesUID, SiteId, StudyUID
from node.domain.rule import Traits

if TYPE_CHECKING:
    from node.catalog.unit import Unit

_study, _series, _instance, _withdrawn = (
    table.c for table in (schema.study, schema.series, schema.instance, schema.withdrawn)
)
_TRAITS = (
    _study.uid,
    _series.modality,
    _instance.source,
    _series.body_part,
    _study.date,
    _instance.arrived_at,
)
_JOINED = (
    select(*_TRAITS, _instance.uid, _instance.digest, _instance.stamp, _series.uid)
    .select_from(schema.instance)
    .join(schema.series, _series.id == _instance.series)
    .join(schema.study, _study.id == _series.study)
)
_ONE = Statement(_JOINED.where(_instance.uid == bindparam("uid")))
_OF_STUDY = Statement(_JOINED.where(_study.uid == bindparam("study")).order_by(_series.id, _instance.id))
_OF_PATIENT = Statement(
    _JOINED.join(schema.patient, schema.patient.c.id == _study.patient).where(
        schema.patient.c.patient_id == bindparam("patient_id"), schema.patient.c.issuer == bindparam("issuer")
    )
)
_HIDDEN_OF_STUDY = Statement(select(_withdrawn.traits).where(_withdrawn.study == bindparam("study")))
_HIDDEN = Statement(select(_withdrawn.traits).where(_withdrawn.instance == bindparam("uid")))
_MODALITY, _BODY_PART, _STUDY_DATE = 0x00080060, 0x00180015, 0x00080020
_DEVICE = "device:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """An archived instance as rules know it."""

    uid: InstanceUID
    series: SeriesUID
    digest: Digest
    origin: SiteId
    """The site that received it, whose rules decide about its copies."""
    traits: Traits


def of(unit: Unit, uids: Iterable[InstanceUID]) -> dict[InstanceUID, Traits]:
    """The traits of instances that are catalogued here, shown or withdrawn; the others are left out."""
    found = {uid: _of_one(unit, uid) for uid in uids}
    return {uid: traits for uid, traits in found.items() if traits is not None}


def of_arrival(arrival: Arrival) -> Traits:
    """The traits of an instance that has just arrived."""
    return _traits(
        arrival.study,
        arrival.text(_MODALITY),
        arrival.source,
        arrival.text(_BODY_PART),
        arrival.text(_STUDY_DATE),
        arrival.at,
    )


def of_study(unit: Unit, study: StudyUID) -> Sequence[Known]:
    """All archived instances of a study, series by series."""
    return [
        Known(
            uid=InstanceUID.trusted(uid),
            series=SeriesUID.trusted(series),
            digest=Digest.trusted(digest),
            origin=SiteId.trusted(stamp.split(" ")[1]) if stamp else unit.origin,
            traits=_traits(*told),
        )
        for *told, uid, digest, stamp, series in unit.run(_OF_STUDY, study=study).fetchall()
    ]


def all_of_study(unit: Unit, study: StudyUID) -> Iterator[Traits]:
    """The traits of all instances of a study, shown or withdrawn."""
    for row in unit.run(_OF_STUDY, study=study).fetchall():
        yield _traits(*row[: len(_TRAITS)])
    for (text,) in unit.run(_HIDDEN_OF_STUDY, study=study).fetchall():
        if text:
            yield read(text)


def all_of_patient(unit: Unit, issuer: str, patient_id: str) -> Iterator[Traits]:
    """The traits of all instances that name a patient."""
    for row in unit.run(_OF_PATIENT, issuer=issuer, patient_id=patient_id).fetchall():
        yield _traits(*row[: len(_TRAITS)])


def written(traits: Traits) -> str:
    """Traits as the JSON text of a withdrawn row."""
    return json.dumps(asdict(traits))


def read(text: str) -> Traits:
    """The traits that `written` wrote."""
    return Traits(**json.loads(text))


def _of_one(unit: Unit, uid: InstanceUID) -> Traits | None:
    row = unit.run(_ONE, uid=uid).fetchone()
    if row is not None:
        return _traits(*row[: len(_TRAITS)])
    hidden = unit.run(_HIDDEN, uid=uid).fetchone()
    return read(hidden[0]) if hidden and hidden[0] else None


def _traits(study: str, modality: str, source: str, body_part: str, date: str, arrived_at: int) -> Traits:
    return Traits(
        study=study,
        modality=modality,
        ae_title=_ae_title(source),
        body_part=body_part,
        taken_at=_midnight(date) or arrived_at,
    )


def _ae_title(source: str) -> str:
    """The device in `device:CT1@brno`; empty where the instance came otherwise."""
    return source.removeprefix(_DEVICE).rpartition("@")[0] if source.startswith(_DEVICE) else ""


@lru_cache(maxsize=1024)
def _midnight(date: str) -> int:
    """The begin of a day (VR DA) in microseconds since 1970; 0 where that is none."""
    try:
        return int(datetime.strptime(date, "%Y%m%d").replace(tzinfo=UTC).timestamp()) * 1_000_000
    except ValueError:
        return 0
