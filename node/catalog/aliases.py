"""Under which names a patient goes, and in which studies: what records about one person are found by."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, select

from node.catalog import schema
from node.catalog.statement import Statement
from node.domain.decision import patient_text

if TYPE_CHECKING:
    from node.catalog.unit import Unit

_patient, _study = schema.patient.c, schema.study.c
_STUDIES = Statement(
    select(_study.uid)
    .join(schema.patient, _patient.id == _study.patient)
    .where(_patient.patient_id == bindparam("patient_id"), _patient.issuer == bindparam("issuer"))
)


def names_of(unit: Unit, patients: Iterable[str]) -> tuple[frozenset[str], frozenset[str]]:
    """All names of these patients, as far as they were merged here, and their studies here.

    Args:
        unit: of the catalog.
        patients: Patient IDs with their issuers (CX), as `patient_text` writes them.
    """
    names: set[str] = set()
    studies: set[str] = set()
    for one in patients:
        patient_id, _, issuer = one.partition("^^^")
        for other_issuer, other_id in unit.corrections.same((issuer, patient_id)):
            names.add(patient_text(other_id, other_issuer))
            rows = unit.run(_STUDIES, patient_id=other_id, issuer=other_issuer).fetchall()
            studies |= {row[0] for row in rows}
    return frozenset(names), frozenset(studies)
