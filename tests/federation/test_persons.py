"""Persons across sites: the home site says who asks, the other one decides and writes down who it was."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest

from node.archive.mark import Marking
from node.audit.record import Deed, Event, read
from node.domain.decision import Sensitivity
from node.domain.errors import Forbidden, Rejected
from node.domain.grant import Grant
from node.domain.ids import StudyUID
from node.domain.principal import Kind, Principal
from node.domain.query import Level, Selection
from node.identity.emergencies import Emergencies
from node.identity.grants import Grants
from node.identity.xspa import Purpose
from node.replication.site_answer import Answer
from tests.support.federation import FederatedSite, federation, settle
from tests.support.searching import PATIENCE, Seeker, query
from tests.support.synthetic import instance, study_uid

IDP = "https://idp.hospital-brno.test/idp"
STUDY = study_uid(1)
ONE = Selection(studies=(STUDY,))
ENTITLED = ("eduPersonEntitlement", "urn:example:radiology")


@pytest.fixture
def sites():
    with federation("brno", "prague") as sites:
        brno, _ = sites
        brno.home = replace(brno.home, scopes=("hospital-brno.test",))
        brno.members = type(brno.members)(brno.catalog, brno.home)
        brno.members.announce()
        settle(*sites)
        yield sites


def person(name: str = "radiologist@hospital-brno.test", **more) -> Principal:
    made = Principal(
        kind=Kind.PERSON,
        name=name,
        site="brno",
        issuer=IDP,
        display="Test Radiologist",
        attributes=((ENTITLED[0], (ENTITLED[1],)),),
    )
    return replace(made, **more)


def give(site: FederatedSite, role: str = "radiologist", who: Principal | None = None, **more) -> Grant:
    who = who or person()
    return Grants(site.catalog).give(
        site.operator, Grant(issuer=who.issuer, name=who.name, role=role, reason="test") if not more
        else replace(Grant(issuer=who.issuer, name=who.name, role=role, reason="test"), **more),
    )  # fmt: skip


def deeds(site: FederatedSite, event: Event) -> list[Deed]:
    with site.catalog.reading() as unit:
        found = [read(record.deed) for record in unit.audit.after()]
    return [deed for deed in found if deed.event is event and deed.who.startswith("person:")]


def opened(site: FederatedSite, who: Principal, selection: Selection = ONE) -> list[str]:
    """The instances that a person gets of a study, as its own site brings them."""
    found = Seeker(site).reader().retrieve(who, selection)
    with closing(found.portions):
        return sorted(one.uid for portion in found.portions for one in portion or ())


def seen(site: FederatedSite, who: Principal, level: Level = Level.STUDY) -> list[str]:
    rows = Seeker(site).search.search(who, query(level), patience=PATIENCE)
    return [str(row.row[-1]) for row in rows.rows if row is not None]


def test_a_person_of_brno_opens_a_study_in_prague_and_prague_writes_down_who_it_was(sites):
    brno, prague = sites
    prague.admit(instance())
    for site in sites:
        give(site)
    assert len(opened(brno, person(purpose=Purpose.EMERGENCY))) == 1
    [deed] = deeds(prague, Event.SENT)
    assert deed.who == "person:radiologist@hospital-brno.test@brno"
    assert (deed.issuer, deed.display, deed.via) == (IDP, "Test Radiologist", "brno")
    assert (deed.purpose, deed.roles) == ("EMERGENCY", ("radiologist",))
    assert (deed.study, deed.patient) == (STUDY, "P0001^^^")


def test_a_grant_in_brno_opens_nothing_in_prague(sites):
    brno, prague = sites
    prague.admit(instance())
    give(brno)
    assert opened(brno, person()) == []
    assert not deeds(prague, Event.SENT)
    [deed] = deeds(prague, Event.REFUSED)
    assert (deed.issuer, deed.refused) == (IDP, True)
    assert "no role was granted here" in deed.reason


def test_taking_the_grant_back_ends_access_at_the_next_call(sites):
    brno, prague = sites
    for number in (1, 2):
        prague.admit(instance(study=number))
    give(brno)
    there = give(prague)
    assert opened(brno, person())
    Grants(prague.catalog).end(prague.operator, there.id, "left")
    assert opened(brno, person(), Selection(studies=(study_uid(2),))) == []


def test_an_attribute_that_is_not_released_any_more_ends_access_at_the_next_call(sites):
    brno, prague = sites
    for number in (1, 2):
        prague.admit(instance(study=number))
    give(brno)
    give(prague, name="*", attribute=ENTITLED)
    assert opened(brno, person())
    assert opened(brno, person(attributes=()), Selection(studies=(study_uid(2),))) == []


@pytest.mark.parametrize("name", ["radiologist@hospital-prague.test", "radiologist", "radiologist@prague"])
def test_a_site_speaks_for_people_of_its_own_domains_only(sites, name):
    brno, prague = sites
    prague.admit(instance())
    who = person(name)
    for site in sites:
        give(site, who=who)
    rows = Seeker(brno).search.search(who, query(), patience=PATIENCE)
    assert not list(rows.rows)
    [answer] = [one for one in rows.answers if one.site == "prague"]
    assert answer.state is not Answer.ANSWERED
    assert opened(brno, who) == []


@pytest.mark.parametrize("level", Level)
def test_a_restricted_study_is_found_by_nobody_who_may_not_see_it(sites, level):
    brno, _ = sites
    brno.admit(instance())
    brno.admit(instance(study=2))
    give(brno)
    Marking(brno.catalog).mark(brno.operator, STUDY, "staff", sensitivity=Sensitivity.RESTRICTED)
    assert len(seen(brno, person(), level)) == 1
    with pytest.raises(Forbidden) as raised:
        brno.archive.select(person(), ONE)
    assert "marked" not in str(raised.value)
    assert raised.value.step_up
    [deed] = deeds(brno, Event.REFUSED)
    assert (deed.study, deed.patient) == (STUDY, "P0001^^^")
    assert "second factor" in deed.reason
    assert len(brno.archive.select(person(mfa=True), ONE)) == 1


def test_a_patient_of_whom_a_part_is_hidden_is_told_of_as_if_that_were_all(sites):
    brno, _ = sites
    for number in (1, 2):
        brno.admit(instance(study=number))
    give(brno)
    Marking(brno.catalog).mark(brno.operator, STUDY, "staff", sensitivity=Sensitivity.RESTRICTED)
    found = brno.archive.search(person(), query(Level.PATIENT))
    place = [tag for tag, _ in found.tags].index(0x00201204)
    assert [row[place] for row in found.rows] == ["1"]


def test_a_mark_travels_and_holds_at_the_other_site(sites):
    brno, prague = sites
    brno.admit(instance())
    settle(*sites)
    give(prague, who=person())
    here = person(site="prague")
    assert prague.archive.select(here, ONE)
    Marking(brno.catalog).mark(brno.operator, ("", "P0001"), "staff", sensitivity=Sensitivity.RESTRICTED)
    settle(*sites)
    with pytest.raises(Forbidden):
        prague.archive.select(here, ONE)


def test_who_refused_exchange_is_shown_to_nobody_elsewhere(sites):
    brno, prague = sites
    for number in (1, 2):
        prague.admit(instance(study=number))
    for site in sites:
        give(site)
    assert opened(brno, person(), Selection(studies=(study_uid(2),)))
    Marking(prague.catalog).mark(prague.operator, ("", "P0001"), "wish", consent={"exchange": False})
    assert opened(brno, person()) == []
    assert prague.archive.select(person(site="prague"), ONE)


def test_who_referred_the_patient_sees_that_study_and_no_other(sites):
    brno, _ = sites
    for number in (1, 2):
        brno.admit(instance(study=number))
    brno.archive.correct(brno.operator, study_uid(2), {0x00080090: "Other^One"}, "typing error")
    give(brno, "referring physician", referring="DVOŘÁK^Petr")
    assert len(seen(brno, person())) == 1
    assert brno.archive.select(person(), ONE)
    with pytest.raises(Forbidden):
        brno.archive.select(person(), Selection(studies=(study_uid(2),)))


def test_a_researcher_sees_what_tells_nobody_who_the_patient_is(sites):
    brno, _ = sites
    brno.admit(instance())
    give(brno, "researcher")
    assert seen(brno, person()) == []
    with pytest.raises(Forbidden):
        brno.archive.select(person(), ONE)


def test_what_may_be_had_of_a_patient_is_had_and_the_rest_is_refused_by_name(sites):
    brno, _ = sites
    for number in (1, 2):
        brno.admit(instance(study=number))
    give(brno)
    Marking(brno.catalog).mark(brno.operator, STUDY, "staff", sensitivity=Sensitivity.RESTRICTED)
    got = brno.archive.select(person(), Selection(patient_id="P0001", issuer=""))
    assert [one.study for one in got] == [study_uid(2)]
    assert [deed.study for deed in deeds(brno, Event.REFUSED)] == [STUDY]


def test_in_an_emergency_the_study_opens_for_an_hour(sites):
    brno, _ = sites
    brno.admit(instance())
    give(brno)
    Marking(brno.catalog).mark(brno.operator, STUDY, "staff", sensitivity=Sensitivity.RESTRICTED)
    Emergencies(brno.catalog).break_glass(person(), StudyUID(STUDY), "unconscious, in the emergency room")
    assert brno.archive.select(person(), ONE)
    brno.clock.forward(3601)
    with pytest.raises(Forbidden):
        brno.archive.select(person(), ONE)


def test_a_mark_says_something(sites):
    brno, _ = sites
    brno.admit(instance())
    with pytest.raises(Rejected):
        Marking(brno.catalog).mark(brno.operator, STUDY, "staff")
