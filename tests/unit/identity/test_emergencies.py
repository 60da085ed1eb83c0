"""Broken glass: open for an hour, with a reason, recorded, told, and judged by another person."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from node.archive.amend import Amend
from node.audit.record import Deed, Event, read
from node.domain.emergency import Verdict
from node.domain.errors import Forbidden, Rejected, UnknownEmergency, UnknownStudy
from node.domain.grant import Grant
from node.domain.ids import SiteId, StudyUID
from node.domain.principal import Action
from node.domain.query import Selection
from node.identity.emergencies import MOST_OPEN, Emergencies
from node.identity.gate import Gate
from node.identity.grants import Grants
from node.identity.persons import person
from tests.support import synthetic
from tests.support.sites import BRNO, CT1, OPERATOR, TestSite, site

IDP = "https://idp.hospital-brno.test/"
PETR = person(issuer=IDP, name="petr@hospital-brno.test", site=BRNO)
ADMIN = person(issuer="local", name="admin@brno", site=BRNO)
EVA = person(issuer="local", name="eva@brno", site=BRNO)
STUDY = StudyUID(synthetic.study_uid(1))
WHY = "unconscious, brought in by ambulance"
OTHER = replace(OPERATOR, name="colleague")


@pytest.fixture
def brno() -> Iterator[TestSite]:
    """A site with a study that the referring physician at the door has not referred."""
    with site() as made:
        grants = Grants(made.catalog)
        for who, role in ((PETR, "referring physician"), (ADMIN, "node administrator"), (EVA, "auditor")):
            grants.give(OPERATOR, Grant(issuer=who.issuer, name=who.name, role=role))
        grants.approve(OTHER, 3)
        grants.give(OPERATOR, Grant(issuer=IDP, name=PETR.name, role="auditor"))
        grants.approve(OTHER, 4)
        for study in (1, 2):
            made.admit(synthetic.instance(study=study))
        yield made


def may_open(brno: TestSite, study: str = STUDY) -> bool:
    gate = Gate(brno.catalog)
    with brno.catalog.reading() as unit:
        sight = gate.sight(unit, gate.known(PETR), Action.RETRIEVE)
        assert sight is not None
        return sight.allows(study)


def last(brno: TestSite) -> Deed:
    with brno.catalog.reading() as unit:
        return [read(one.deed) for one in unit.audit.after()][-1]


def test_a_study_that_is_closed_is_open_for_an_hour_to_who_says_why(brno):
    assert not may_open(brno)
    opened = Emergencies(brno.catalog).break_glass(PETR, STUDY, f"  {WHY}\n")
    assert opened.reason == WHY
    assert may_open(brno)
    assert not may_open(brno, synthetic.study_uid(2))
    brno.clock.forward(3590)
    assert may_open(brno)
    brno.clock.forward(11)
    assert not may_open(brno)


def test_the_record_names_who_opened_what_of_whom_and_why(brno):
    Emergencies(brno.catalog).break_glass(PETR, STUDY, WHY)
    deed = last(brno)
    assert deed.event is Event.EMERGENCY
    assert (deed.who, deed.issuer, deed.study, deed.reason) == (str(PETR), IDP, STUDY, WHY)
    assert deed.patient
    assert "referring physician" in deed.roles


def test_opening_what_is_open_opens_nothing_more(brno):
    door = Emergencies(brno.catalog)
    first = door.break_glass(PETR, STUDY, WHY)
    brno.clock.forward(600)
    assert door.break_glass(PETR, STUDY, "another reason for it") == first


@pytest.mark.parametrize("reason", ["", "urgent", " " * 40, "x" * 501, "a reason with\x00zero"])
def test_without_a_reason_nothing_is_opened(brno, reason):
    with pytest.raises(Rejected, match="reason"):
        Emergencies(brno.catalog).break_glass(PETR, STUDY, reason)
    assert not may_open(brno)


@pytest.mark.parametrize("who", [ADMIN, EVA, CT1, OPERATOR, replace(PETR, issuer="local")])
def test_who_has_no_role_that_the_policy_names_opens_nothing_and_that_is_recorded(brno, who):
    with pytest.raises(Forbidden):
        Emergencies(brno.catalog).break_glass(who, STUDY, WHY)
    assert last(brno).event is Event.REFUSED
    assert Emergencies(brno.catalog).all(EVA) == []


def test_who_has_no_way_in_does_not_learn_which_studies_there_are(brno):
    said = set()
    for study in (STUDY, StudyUID("1.2.3")):
        with pytest.raises(Forbidden) as refused:
            Emergencies(brno.catalog).break_glass(ADMIN, study, WHY)
        said.add(str(refused.value))
    assert len(said) == 1


def test_what_is_open_anyway_needs_no_emergency(brno):
    Grants(brno.catalog).give(OPERATOR, Grant(issuer=IDP, name=PETR.name, role="radiologist"))
    with pytest.raises(Rejected, match="open to you"):
        Emergencies(brno.catalog).break_glass(PETR, STUDY, WHY)


def test_what_was_withdrawn_stays_closed(brno):
    Amend(brno.blobs, brno.catalog).retract(OPERATOR, Selection(studies=(STUDY,)), "wrong patient")
    with pytest.raises(Forbidden):
        Emergencies(brno.catalog).break_glass(PETR, STUDY, WHY)


def test_a_study_of_another_site_is_opened_where_the_site_is_named(brno):
    door = Emergencies(brno.catalog)
    with pytest.raises(UnknownStudy):
        door.break_glass(PETR, StudyUID("1.2.3"), WHY)
    assert door.break_glass(PETR, StudyUID("1.2.3"), WHY, at=SiteId("prague")).study == "1.2.3"


def test_nobody_opens_one_study_after_the_other_without_end(brno):
    door = Emergencies(brno.catalog)
    for number in range(MOST_OPEN):
        door.break_glass(PETR, StudyUID(f"1.2.{number}"), WHY, at=SiteId("prague"))
    with pytest.raises(Forbidden, match="open at once"):
        door.break_glass(PETR, STUDY, WHY)
    brno.clock.forward(3600)
    assert door.break_glass(PETR, STUDY, WHY)


def test_another_person_judges_it(brno):
    door = Emergencies(brno.catalog)
    number = door.break_glass(PETR, STUDY, WHY).id
    assert [one.id for one in door.waiting(EVA)] == [number]
    reviewed = door.review(EVA, number, Verdict.JUSTIFIED, "seen in the ward")
    assert (reviewed.reviewed_by, reviewed.note) == ("local eva@brno", "seen in the ward")
    assert last(brno).event is Event.REVIEWED
    assert str(PETR.name) in last(brno).what
    assert door.waiting(EVA) == []
    assert may_open(brno)
    assert door.review(EVA, number, Verdict.JUSTIFIED) == reviewed
    with pytest.raises(Rejected, match="already"):
        door.review(EVA, number, Verdict.UNJUSTIFIED)


def test_what_was_unjustified_is_closed_at_once(brno):
    door = Emergencies(brno.catalog)
    door.review(EVA, door.break_glass(PETR, STUDY, WHY).id, Verdict.UNJUSTIFIED)
    assert not may_open(brno)


def test_nobody_judges_his_or_her_own_and_nobody_who_may_not_review_judges_any(brno):
    door = Emergencies(brno.catalog)
    number = door.break_glass(PETR, STUDY, WHY).id
    assert door.waiting(PETR)
    for who in (PETR, ADMIN, CT1):
        with pytest.raises(Forbidden):
            door.review(who, number, Verdict.JUSTIFIED)
        assert last(brno).event is Event.REFUSED
    with pytest.raises(Forbidden):
        door.waiting(ADMIN)
    with pytest.raises(UnknownEmergency):
        door.review(EVA, 77, Verdict.JUSTIFIED)
