"""Studies as the policy sees them: whose they are, how they stand to this site, what they are marked with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, func, select

from node.catalog import arrival, schema
from node.catalog.statement import Statement
from node.domain.decision import Resource, Standing, patient_text
from node.domain.ids import SiteId, StudyUID
from node.journal.entry import patient_subject
from node.journal.merge import Marks, marks

if TYPE_CHECKING:
    from node.catalog.unit import Unit

_patient, _study, _series, _instance, _withdrawn = (
    table.c for table in (schema.patient, schema.study, schema.series, schema.instance, schema.withdrawn)
)
_held = (
    select(func.max(_instance.held))
    .select_from(schema.instance)
    .join(schema.series, _series.id == _instance.series)
    .where(_series.study == _study.id)
    .correlate(schema.study)
    .scalar_subquery()
)
_own = schema.patient.alias().c
_OF_STUDY = Statement(
    select(
        _study.stamp,
        _study.referring,
        _study.modalities,
        _study.more,
        _patient.patient_id,
        _patient.issuer,
        _own.patient_id,
        _own.issuer,
        _held,
    )
    .select_from(schema.study)
    .join(schema.patient, _patient.id == _study.shown)
    .join(_own.id.table, _own.id == _study.patient)
    .where(_study.uid == bindparam("study"))
    .order_by(_study.id)
)
_PATIENTS = Statement(
    select(_patient.patient_id, _patient.issuer)
    .select_from(schema.study)
    .join(schema.patient, _patient.id == _study.patient)
    .where(_study.uid == bindparam("study"))
    .order_by(_study.id)
)
_OF_PATIENT = Statement(
    select(_study.uid)
    .select_from(schema.study)
    .join(schema.patient, (_patient.id == _study.patient) | (_patient.id == _study.shown))
    .where(_patient.issuer == bindparam("given_by"), _patient.patient_id == bindparam("called"))
    .order_by(_study.id)
)
_RETRACTED = Statement(select(_withdrawn.stamp).where(_withdrawn.study == bindparam("study")).limit(1))
_IDENTITY_REMOVED = 0x00120062


def of_study(unit: Unit, study: StudyUID) -> Sequence[Resource]:
    """A study as the policy sees it, once for each patient that it came for; nothing if it is unknown."""
    found = [_resource(unit, study, row) for row in unit.run(_OF_STUDY, study=study).fetchall()]
    return found or _retracted(unit, study)


def patient_of(unit: Unit, study: str) -> str:
    """The patient of a study, as audit records name it; empty where the study is not catalogued here."""
    row = unit.run(_PATIENTS, study=study).fetchone() if study else None
    return patient_text(*row) if row else ""


def studies_about(unit: Unit, *subjects: str | tuple[str, str]) -> Sequence[str]:
    """The studies that a decision about these is about.

    Args:
        unit: the unit of work.
        *subjects: studies, or patients as (issuer, Patient ID) with all that came for them or is shown there.
    """
    found: list[str] = []
    for subject in subjects:
        if isinstance(subject, str):
            found.append(subject)
        else:
            issuer, patient_id = subject
            rows = unit.run(_OF_PATIENT, given_by=issuer, called=patient_id).fetchall()
            found += [row[0] for row in rows]
    return found


def _resource(unit: Unit, study: StudyUID, row: Sequence[Any]) -> Resource:
    stamp, referring, modalities, more, patient_id, issuer, own_id, own_issuer, held = row
    said = _marks(unit, study, {(issuer, patient_id), (own_issuer, own_id)})
    site = _site(unit, stamp)
    return Resource(
        standing=_standing(unit, site, more, held=bool(held)),
        site=site,
        study=study,
        patient=patient_text(own_id, own_issuer),
        issuer=own_issuer,
        modalities=frozenset(modalities.split("\\")) - {""},
        referring=referring,
        sensitivity=said.sensitivity,
        consent=said.consent,
        refused=said.refused,
    )


def _standing(unit: Unit, site: SiteId, more: str, *, held: bool) -> Standing:
    if more and arrival.read(more).get(_IDENTITY_REMOVED) == "YES":
        return Standing.DEIDENTIFIED
    if not held:
        return Standing.FOREIGN
    return Standing.OWN if site == unit.origin else Standing.SHARED


def _retracted(unit: Unit, study: StudyUID) -> Sequence[Resource]:
    """A study of which everything was withdrawn; whose it was is in the journal, and in no row."""
    row = unit.run(_RETRACTED, study=study).fetchone()
    if row is None:
        return ()
    said = _marks(unit, study, set())
    return (
        Resource(
            standing=Standing.RETRACTED,
            site=_site(unit, row[0]),
            study=study,
            sensitivity=said.sensitivity,
            consent=said.consent,
            refused=said.refused,
        ),
    )


def _marks(unit: Unit, study: StudyUID, patients: set[tuple[str, str]]) -> Marks:
    """What persons said of a study and of its patient."""
    facts = [*unit.journal.about(study)]
    for issuer, patient_id in patients:
        facts += unit.journal.about(patient_subject(issuer, patient_id))
    return marks(facts)


def _site(unit: Unit, stamp: str) -> SiteId:
    return SiteId.trusted(stamp.split(" ")[1]) if stamp else unit.origin
