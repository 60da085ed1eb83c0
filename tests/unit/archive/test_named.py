"""A search that names somebody is in the record of that person."""

from __future__ import annotations

import pytest

from node.archive.named import MOST, named
from node.audit.record import Deed, Event, read
from node.domain.decision import patient_text
from node.domain.query import Key, Level, Query
from tests.support import synthetic
from tests.support.sites import site

STUDY, PATIENT, ISSUER = 0x0020000D, 0x00100020, 0x00100021
ONE, OTHER = synthetic.study_uid(1), synthetic.study_uid(2)


@pytest.fixture(scope="module")
def brno():
    with site() as brno:
        brno.admit(synthetic.instance(study=1, patient="P1"))
        for study, issuer in ((2, "A"), (3, "B")):
            data = synthetic.dataset(study=study, patient="P2")
            data.IssuerOfPatientID = issuer
            brno.admit((synthetic.offer_of(data), synthetic.encoded(data)))
        yield brno


def asked(brno, **values: str) -> list[tuple[str, str]]:
    keys = tuple(Key(tag=globals()[name], vr="LO", value=value) for name, value in values.items())
    return list(named(brno.catalog, Query(level=Level.STUDY, keys=keys)))


def test_a_study_that_is_named_has_its_patient(brno):
    assert asked(brno, STUDY=ONE) == [(ONE, patient_text("P1", ""))]
    assert asked(brno, STUDY=f"{ONE}\\{OTHER}") == [
        (ONE, patient_text("P1", "")),
        (OTHER, patient_text("P2", "A")),
    ]
    assert asked(brno, STUDY="1.2.3", PATIENT="P1") == [("1.2.3", "")], "it is not here, so nobody's is known"


def test_a_patient_id_is_that_of_everybody_who_has_it(brno):
    assert asked(brno, PATIENT="P2") == [("", patient_text("P2", "A")), ("", patient_text("P2", "B"))]
    assert asked(brno, PATIENT="P2", ISSUER="B") == [("", patient_text("P2", "B"))]


def test_somebody_unknown_is_recorded_as_it_was_asked(brno):
    assert asked(brno, PATIENT="P9", ISSUER="X") == [("", patient_text("P9", "X"))]


@pytest.mark.parametrize("values", [{}, {"PATIENT": ""}, {"PATIENT": "P*"}, {"STUDY": "", "PATIENT": "P?"}])
def test_a_search_for_anybody_names_nobody(brno, values):
    assert asked(brno, **values) == [("", "")]


def test_a_search_by_many_identifiers_is_recorded_for_some(brno):
    assert len(asked(brno, STUDY="\\".join(f"1.2.{number}" for number in range(500)))) == MOST


def test_every_deed_about_a_study_that_is_here_names_the_patient(brno):
    with brno.catalog.begin() as unit:
        unit.audit.append(Deed(event=Event.AMENDED, who="operator:technician@brno", study=ONE))
        unit.audit.append(Deed(event=Event.AMENDED, who="operator:technician@brno", study="1.2.3"))
    with brno.catalog.reading() as unit:
        *_, known, unknown = (read(record.deed) for record in unit.audit.after())
    assert (known.patient, unknown.patient) == (patient_text("P1", ""), "")
