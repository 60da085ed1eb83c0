"""Which instances a retrieval is about: unique keys of any level to rows (PS3.4 C.4.2, C.4.3)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, func, select

from node.catalog import schema
from node.catalog.instances import INSTANCE, instance_of
from node.catalog.unit import Unit
from node.domain.errors import MalformedQuery
from node.domain.ids import InstanceUID
from node.domain.instance import Instance
from node.domain.query import Selection

_patient, _study, _series, _instance = (
    table.c for table in (schema.patient, schema.study, schema.series, schema.instance)
)


def chosen(unit: Unit, selection: Selection) -> list[Instance]:
    """The instances that hold all the given keys, series by series.

    Raises:
        MalformedQuery: no key was given, or the patient is ambiguous without an issuer.
    """
    clauses = _clauses(selection)
    if not clauses:
        raise MalformedQuery("a retrieval names a patient, studies, series or instances")
    if not (selection.studies or selection.series or selection.instances):
        _demand_one_patient(unit, clauses)
    return [instance_of(row) for row in unit.rows(_select(clauses))]


def absent(unit: Unit, selection: Selection) -> frozenset[InstanceUID]:
    """Those of the instances that hold all the given keys whose bytes are at other sites only."""
    query = _joined(select(_instance.uid)).where(*_clauses(selection), _instance.held == 0)
    return frozenset(InstanceUID.trusted(uid) for (uid,) in unit.rows(query))


def _clauses(selection: Selection) -> list[Any]:
    clauses = []
    if selection.patient_id is not None:
        clauses.append(_patient.patient_id == selection.patient_id)
    if selection.issuer is not None:
        clauses.append(_patient.issuer == selection.issuer)
    if selection.studies:
        clauses.append(_study.uid.in_(selection.studies))
    if selection.series:
        clauses.append(_series.uid.in_(selection.series))
    if selection.instances:
        clauses.append(_instance.uid.in_(selection.instances))
    return clauses


def _demand_one_patient(unit: Unit, clauses: list[Any]) -> None:
    """The same Patient ID at two issuers is two people: neither is shown by mistake."""
    query = select(func.count()).select_from(schema.patient).where(_patient.merged == 0, *clauses)
    if next(unit.rows(query))[0] > 1:
        raise MalformedQuery("several issuers have this Patient ID; name the Issuer of Patient ID too")


def _select(clauses: list[Any]) -> Select[Any]:
    return _joined(select(*INSTANCE)).where(*clauses).order_by(_series.id, _instance.id)


def _joined(query: Select[Any]) -> Select[Any]:
    """The query over instances with the levels above them."""
    return (
        query.select_from(schema.instance)
        .join(schema.series, _series.id == _instance.series)
        .join(schema.study, _study.id == _series.study)
        .join(schema.patient, _patient.id == _study.shown)
    )
