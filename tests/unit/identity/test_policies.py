"""The policy of a site: activated with a reason, tried out before, explained afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import update

from node.audit.record import Event, read
from node.catalog import schema
from node.domain.decision import Standing
from node.domain.errors import BadPolicy, Forbidden, Rejected, UnknownDevice, UnknownRole, UnknownStudy
from node.domain.grant import ANYBODY, Grant
from node.domain.ids import StudyUID
from node.domain.principal import Action
from node.identity.gate import Gate
from node.identity.grants import Grants
from node.identity.persons import person
from node.identity.policies import Policies, Subject
from node.identity.simulation import Simulation
from node.policy.decide import default_text
from tests.support import synthetic
from tests.support.sites import BRNO, OPERATOR, TestSite, site

IDP = "https://idp.hospital-brno.test/"
JANA = person(issuer=IDP, name="jana@hospital-brno.test", site=BRNO)
ADMIN = person(issuer="local", name="admin@brno", site=BRNO)
READER = Grant(issuer=IDP, name=JANA.name, role="radiologist")


@pytest.fixture
def brno() -> Iterator[TestSite]:
    with site() as made:
        Grants(made.catalog).give(OPERATOR, Grant(issuer="local", name=ADMIN.name, role="node administrator"))
        yield made


CHANGED = default_text().replace('version = "', 'version = "changed ')


def without(name: str) -> str:
    """The default policy without one of its rules, under another version."""
    first, *rules = CHANGED.split("[[rule]]")
    return "[[rule]]".join([first, *(rule for rule in rules if f'name = "{name}"' not in rule)])


def test_an_activated_policy_decides_at_the_next_call_and_after_a_restart(brno):
    Grants(brno.catalog).give(OPERATOR, READER)
    gate = Gate(brno.catalog)
    assert gate.demand(JANA, Action.QUERY).policy
    policies = Policies(brno.catalog)
    new = policies.activate(ADMIN, without("radiologists read"), "nobody reads here")
    brno.crash()
    assert Policies(brno.catalog).current() == new
    assert Policies(brno.catalog).text() == without("radiologists read")
    explained = Policies(brno.catalog).why(OPERATOR, Subject(name=JANA.name), Action.STORE)
    assert not explained.allowed
    (activation,) = Policies(brno.catalog).history()
    assert (activation.version, activation.by) == (new.version, "local admin@brno")
    with brno.catalog.reading() as unit:
        last = read(list(unit.audit.after())[-1].deed)
    assert (last.event, last.reason) == (Event.CONFIGURED, "nobody reads here")
    assert new.version in last.what


def test_a_version_is_one_text(brno):
    policies = Policies(brno.catalog)
    policies.activate(OPERATOR, CHANGED, "first")
    policies.activate(OPERATOR, CHANGED, "again")
    assert len(policies.history()) == 1
    with pytest.raises(BadPolicy, match="another text"):
        policies.activate(OPERATOR, CHANGED + "\n", "same name")
    with pytest.raises(BadPolicy, match="another text"):
        policies.activate(OPERATOR, default_text() + "\n", "the name of the default")
    policies.activate(OPERATOR, default_text(), "back")
    policies.activate(OPERATOR, CHANGED, "and forth")
    assert policies.text() == CHANGED
    assert len(policies.history()) == 3


@pytest.mark.parametrize(("text", "reason"), [("version", "why"), (CHANGED, ""), (CHANGED, "a\tb\x07")])
def test_a_policy_that_is_none_or_changes_for_no_reason_is_not_activated(brno, text, reason):
    with pytest.raises((BadPolicy, Rejected)):
        Policies(brno.catalog).activate(OPERATOR, text, reason)
    assert Policies(brno.catalog).text() == default_text()


def test_who_may_not_grant_changes_no_policy_and_asks_about_none(brno):
    policies = Policies(brno.catalog)
    for deed in (
        lambda: policies.activate(JANA, CHANGED, "mine"),
        lambda: policies.simulate(JANA, CHANGED),
        lambda: policies.why(JANA, Subject(name=JANA.name), Action.QUERY),
    ):
        with pytest.raises(Forbidden):
            deed()
    assert policies.text() == default_text()


def test_a_policy_that_is_not_understood_any_more_closes_the_site_until_somebody_on_the_machine_replaces_it(
    brno,
):
    with brno.catalog.begin() as unit:
        unit.policies.put(CHANGED, "somebody")
    with brno.catalog.begin() as unit:
        unit.change(update(schema.policy).values(body='version = "of a later program"\nword = 1'))
    policies = Policies(brno.catalog)
    with pytest.raises(BadPolicy):
        Gate(brno.catalog).demand(JANA, Action.QUERY)
    with pytest.raises(BadPolicy):
        policies.activate(ADMIN, default_text(), "back")
    policies.activate(OPERATOR, default_text(), "back")
    assert policies.current().version


# what a changed one would alter


def simulated(brno: TestSite, text: str) -> Simulation:
    return Policies(brno.catalog).simulate(OPERATOR, text)


def told(simulation: Simulation) -> set[tuple[str, str, str, str, bool]]:
    return {(one.who, one.action, one.standing, one.about, one.after) for one in simulation.differences}


def test_the_same_policy_under_another_name_alters_nothing(brno):
    Grants(brno.catalog).give(OPERATOR, READER)
    found = simulated(brno, CHANGED)
    assert not found.alters
    assert found.grants == 2


def test_what_a_policy_would_alter_is_told_for_each_role_action_and_standing(brno):
    grants = Grants(brno.catalog)
    grants.give(OPERATOR, READER)
    grants.give(OPERATOR, replace(READER, name="eva@hospital-brno.test"))
    brno.admit(synthetic.instance(study=1))
    found = simulated(brno, without("radiologists read"))
    assert {one.many for one in found.differences} == {2}
    who = "radiologist (eva@hospital-brno.test)"
    assert told(found) == {
        (who, action, standing, "", False)
        for action in (Action.STORE, Action.QUERY, Action.RETRIEVE)
        for standing in (Standing.OWN, Standing.SHARED, Standing.FOREIGN, Standing.DEIDENTIFIED)
    }
    assert [(one.action, one.opened, one.closed, one.example) for one in found.effects] == [
        (action, 0, 1, synthetic.study_uid(1)) for action in (Action.QUERY, Action.RETRIEVE)
    ]
    assert Policies(brno.catalog).text() == default_text()


def test_what_would_differ_in_one_condition_only_is_told_with_it(brno):
    Grants(brno.catalog).give(OPERATOR, READER)
    mfa = simulated(brno, without("radiologists read restricted studies with a second factor"))
    assert {one.about for one in mfa.differences} == {"marked restricted with a second factor"}
    refused = simulated(brno, without("who refused exchange is not shown to other sites"))
    assert {one.about for one in refused.differences} == {"with exchange refused asked from another site"}
    assert {one.after for one in refused.differences} == {True}


def test_devices_and_persons_of_an_attribute_are_asked_about_too(brno):
    Grants(brno.catalog).give(
        OPERATOR,
        Grant(
            issuer=IDP, name=ANYBODY, role="researcher", attribute=("eduPersonEntitlement", "urn:example:x")
        ),
    )
    found = simulated(brno, without("devices find and retrieve"))
    assert {one.who for one in found.differences} == {"any device"}
    found = simulated(brno, without("researchers use de-identified data"))
    assert {one.who for one in found.differences} == {"researcher (everybody)"}


def test_a_role_that_would_want_two_persons_is_told_of_those_who_would_lose_it(brno):
    Grants(brno.catalog).give(OPERATOR, READER)
    found = simulated(brno, CHANGED.replace('dual_control = ["', 'dual_control = ["radiologist", "'))
    assert {one.who for one in found.differences} == {
        "radiologist, then no role, (jana@hospital-brno.test)",
    }


# why


def test_an_explanation_names_every_rule_that_was_looked_at_and_the_roles_that_hold(brno):
    Grants(brno.catalog).give(OPERATOR, READER)
    brno.admit(synthetic.instance(study=1))
    study = StudyUID(synthetic.study_uid(1))
    found = Policies(brno.catalog).why(ADMIN, Subject(name=JANA.name), Action.RETRIEVE, study)
    assert found.allowed
    assert found.principal.roles == {"radiologist"}
    ((resource, decision),) = found.answers
    assert resource is not None
    assert resource.standing is Standing.OWN
    assert decision.rule == "radiologists read"
    assert len(decision.reasons) == 2


def test_anybody_of_a_role_and_any_device_can_be_asked_about(brno):
    policies = Policies(brno.catalog)
    assert policies.why(OPERATOR, Subject(roles=frozenset({"auditor"})), Action.AUDIT).allowed
    assert not policies.why(OPERATOR, Subject(roles=frozenset({"auditor"})), Action.GRANT).allowed
    with pytest.raises(UnknownRole):
        policies.why(OPERATOR, Subject(roles=frozenset({"doctor"})), Action.AUDIT)
    with pytest.raises(UnknownDevice):
        policies.why(OPERATOR, Subject(name="CT9", is_device=True), Action.STORE)


def test_who_is_not_known_by_name_alone_has_to_be_named_with_the_issuer(brno):
    policies, grants = Policies(brno.catalog), Grants(brno.catalog)
    with pytest.raises(Rejected, match="nobody of that name"):
        policies.why(OPERATOR, Subject(name=JANA.name), Action.QUERY)
    assert not policies.why(OPERATOR, Subject(name=JANA.name, issuer=IDP), Action.QUERY).allowed
    grants.give(OPERATOR, READER)
    grants.give(OPERATOR, replace(READER, issuer="https://idp.hospital-praha.test/"))
    with pytest.raises(Rejected, match="each of"):
        policies.why(OPERATOR, Subject(name=JANA.name), Action.QUERY)
    with pytest.raises(UnknownStudy):
        policies.why(OPERATOR, Subject(name=JANA.name, issuer=IDP), Action.QUERY, StudyUID("1.2.3"))
