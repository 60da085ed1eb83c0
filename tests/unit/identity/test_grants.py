"""Who has which role: given by another person, counted at each call, with a record of everything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from node.audit.record import Event, read
from node.domain.errors import Forbidden, Rejected, UnknownGrant, UnknownRole
from node.domain.grant import ANYBODY, Grant, GrantState
from node.domain.principal import Action, Principal
from node.identity.gate import Gate, known
from node.identity.grants import Grants
from node.identity.persons import person
from node.identity.policies import Policies
from node.policy.decide import default_text
from tests.support.sites import BRNO, CT1, OPERATOR, TestSite, site

IDP = "https://idp.hospital-brno.test/"
DAY = 86_400_000_000
OTHER = replace(OPERATOR, name="colleague")
JANA = person(issuer=IDP, name="jana@hospital-brno.test", site=BRNO)
ADMIN = person(issuer="local", name="admin@brno", site=BRNO)
READER = Grant(issuer=IDP, name=JANA.name, role="radiologist")
AUDITOR = replace(READER, role="auditor")


@pytest.fixture
def brno() -> Iterator[TestSite]:
    with site() as made:
        Grants(made.catalog).give(OPERATOR, Grant(issuer="local", name=ADMIN.name, role="node administrator"))
        yield made


def roles(brno: TestSite, who: Principal = JANA) -> frozenset[str]:
    with brno.catalog.reading() as unit:
        return known(unit, who).roles


def deeds(brno: TestSite) -> list:
    with brno.catalog.reading() as unit:
        return [read(one.deed) for one in unit.audit.after()]


def test_nobody_has_a_role_until_one_is_granted(brno):
    assert roles(brno) == frozenset()
    given = Grants(brno.catalog).give(OPERATOR, READER)
    assert given.state is GrantState.ACTIVE
    assert roles(brno) == {"radiologist"}


def test_a_grant_is_to_a_name_of_one_issuer(brno):
    Grants(brno.catalog).give(OPERATOR, READER)
    assert roles(brno, replace(JANA, issuer="https://idp.hospital-praha.test/")) == frozenset()
    assert roles(brno, replace(JANA, name="eva@hospital-brno.test")) == frozenset()


def test_what_is_ended_does_not_hold_at_the_next_call(brno):
    grants, gate = Grants(brno.catalog), Gate(brno.catalog)
    given = grants.give(OPERATOR, READER)
    assert gate.demand(JANA, Action.QUERY).roles == {"radiologist"}
    assert grants.end(ADMIN, given.id, "moved").state is GrantState.ENDED
    with pytest.raises(Forbidden):
        gate.demand(JANA, Action.QUERY)
    assert grants.end(ADMIN, given.id) == grants.all(ADMIN, ended=True)[-1]
    assert [one.name for one in grants.all(ADMIN)] == [ADMIN.name]


def test_a_grant_holds_until_its_day(brno):
    grants = Grants(brno.catalog)
    grants.give(OPERATOR, replace(READER, until=brno.clock.now + DAY))
    assert roles(brno) == {"radiologist"}
    brno.clock.forward(86_400)
    assert roles(brno) == frozenset()
    with pytest.raises(Rejected, match="later day"):
        grants.give(OPERATOR, replace(READER, until=brno.clock.now))


def test_a_grant_with_an_attribute_holds_as_long_as_the_issuer_says_it(brno):
    asked = ("eduPersonEntitlement", "urn:example:imaging")
    grants = Grants(brno.catalog)
    grants.give(OPERATOR, replace(READER, attribute=asked))
    grants.give(OPERATOR, replace(READER, name=ANYBODY, role="researcher", attribute=asked))
    said = replace(JANA, attributes=((asked[0], ("urn:example:other", asked[1])),))
    assert roles(brno, said) == {"radiologist", "researcher"}
    assert roles(brno, replace(said, name="eva@hospital-brno.test")) == {"researcher"}
    for attributes in ((), ((asked[0], ("urn:example:imaging2",)),), (("mail", (asked[1],)),)):
        assert roles(brno, replace(JANA, attributes=attributes)) == frozenset()


def test_a_grant_to_everybody_without_an_attribute_is_refused_and_would_hold_for_nobody(brno):
    with pytest.raises(Rejected, match="needs an attribute"):
        Grants(brno.catalog).give(OPERATOR, replace(READER, name=ANYBODY))
    with brno.catalog.begin() as unit:
        unit.grants.add(replace(READER, name=ANYBODY))
    assert roles(brno) == frozenset()


@pytest.mark.parametrize("action", ["give", "approve"])
def test_nobody_gives_or_approves_a_role_of_his_or_her_own(brno, action):
    grants = Grants(brno.catalog)
    own = Grant(issuer=ADMIN.issuer, name=ADMIN.name, role="auditor")
    with pytest.raises(Forbidden):
        if action == "give":
            grants.give(ADMIN, own)
        else:
            grants.approve(ADMIN, grants.give(OPERATOR, own).id)
    assert roles(brno, ADMIN) == {"node administrator"}
    assert deeds(brno)[-1].event is Event.REFUSED
    assert deeds(brno)[-1].roles == ("node administrator",)


def test_nobody_gives_a_role_to_a_group_that_he_or_she_is_in(brno):
    asked = ("eduPersonEntitlement", "urn:example:imaging")
    ours = Grant(issuer=ADMIN.issuer, name=ANYBODY, role="radiologist", attribute=asked)
    with pytest.raises(Forbidden):
        Grants(brno.catalog).give(replace(ADMIN, attributes=((asked[0], (asked[1],)),)), ours)
    assert Grants(brno.catalog).give(ADMIN, ours).state is GrantState.ACTIVE


def test_some_roles_only_hold_when_a_second_person_has_approved_them(brno):
    grants = Grants(brno.catalog)
    asked = grants.give(ADMIN, AUDITOR)
    assert asked.state is GrantState.WAITING
    assert roles(brno) == frozenset()
    with pytest.raises(Forbidden, match="another person"):
        grants.approve(ADMIN, asked.id)
    with pytest.raises(Forbidden):
        grants.approve(JANA, asked.id)
    assert roles(brno) == frozenset()
    assert grants.approve(OPERATOR, asked.id).state is GrantState.ACTIVE
    assert roles(brno) == {"auditor"}
    assert grants.approve(OPERATOR, asked.id) == grants.approve(OTHER, asked.id)


def test_a_role_written_down_for_one_person_by_one_person_does_not_count_where_two_are_wanted(brno):
    with brno.catalog.begin() as unit:
        for approved in ("", "local admin@brno", AUDITOR.holder):
            unit.grants.add(replace(AUDITOR, by="local admin@brno", approved_by=approved))
    assert roles(brno) == frozenset()


def test_a_role_that_comes_to_want_two_persons_waits_for_the_second(brno):
    grants = Grants(brno.catalog)
    given = grants.give(OPERATOR, READER)
    text = (
        default_text()
        .replace('version = "', 'version = "stricter ')
        .replace('dual_control = ["', 'dual_control = ["radiologist", "')
    )
    Policies(brno.catalog).activate(OPERATOR, text, "images are looked at by few")
    assert roles(brno) == frozenset()
    assert grants.all(OPERATOR)[-1].state is GrantState.WAITING
    grants.approve(OTHER, given.id)
    assert roles(brno) == {"radiologist"}


def test_giving_the_same_twice_is_giving_it_once(brno):
    grants = Grants(brno.catalog)
    first = grants.give(OPERATOR, READER)
    before = len(deeds(brno))
    assert grants.give(OTHER, replace(READER, name=JANA.name.upper())) == first
    assert len(deeds(brno)) == before
    grants.end(OPERATOR, first.id)
    assert grants.give(OPERATOR, READER).id != first.id


@pytest.mark.parametrize("who", [JANA, CT1, replace(CT1, may=frozenset(Action))])
def test_who_may_not_grant_neither_gives_nor_ends_nor_reads_roles_and_that_is_recorded(brno, who):
    grants = Grants(brno.catalog)
    given = grants.give(OPERATOR, READER)
    for deed in (
        lambda: grants.give(who, replace(READER, name="eva@hospital-brno.test")),
        lambda: grants.approve(who, given.id),
        lambda: grants.end(who, given.id),
        lambda: grants.all(who),
    ):
        before = len(deeds(brno))
        with pytest.raises(Forbidden):
            deed()
        (refusal,) = deeds(brno)[before:]
        assert refusal.event is Event.REFUSED
        assert refusal.refused
        assert refusal.who == str(who)
    assert len(grants.all(OPERATOR, ended=True)) == 2


def test_the_record_names_who_gave_and_ended_what(brno):
    grants = Grants(brno.catalog)
    given = grants.give(ADMIN, READER)
    grants.end(ADMIN, given.id, "moved")
    gave, ended = deeds(brno)[-2:]
    assert gave.event is ended.event is Event.CONFIGURED
    assert gave.who == str(ADMIN)
    assert gave.roles == ("node administrator",)
    assert "radiologist to jana@hospital-brno.test" in gave.what
    assert ended.reason == "moved"


@pytest.mark.parametrize(
    "grant",
    [
        replace(READER, name=""),
        replace(READER, name="Jana Nováková"),
        replace(READER, name="ja\nna"),
        replace(READER, name="j" * 300),
        replace(READER, issuer=""),
        replace(READER, issuer="i" * 2000),
        replace(READER, attribute=("eduPersonEntitlement", "")),
        replace(READER, referring="^"),
        replace(READER, referring="=NOVAK"),
        replace(READER, reason="a\nb"),
    ],
)
def test_a_name_that_is_none_is_refused(brno, grant):
    with pytest.raises(Rejected):
        Grants(brno.catalog).give(OPERATOR, grant)


@pytest.mark.parametrize("role", ["modality", "doctor", ""])
def test_a_role_that_is_not_for_persons_cannot_be_given(brno, role):
    with pytest.raises(UnknownRole):
        Grants(brno.catalog).give(OPERATOR, replace(READER, role=role))
    with brno.catalog.begin() as unit:
        unit.grants.add(replace(READER, role=role))
    assert roles(brno) == frozenset()


@pytest.mark.parametrize("deed", [Grants.approve, Grants.end])
def test_a_number_that_is_none_is_unknown(brno, deed):
    with pytest.raises(UnknownGrant, match="77"):
        deed(Grants(brno.catalog), OPERATOR, 77)


def test_the_name_in_referrals_is_told_to_the_policy_folded(brno):
    Grants(brno.catalog).give(OPERATOR, replace(READER, role="referring physician", referring="NOVAK^PETR"))
    with brno.catalog.reading() as unit:
        assert known(unit, JANA).names == {"novak^petr"}
