"""Who owes a copy: all rules that match add up, over active members, within the terms."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.catalog import rules as module
from node.catalog.rules import Partner, Policy
from node.domain.ids import SiteId
from node.domain.member import Member, Standing
from node.domain.rule import DAY, EVERYTHING, EVERYWHERE, NOTHING, Match, Rule, Terms, Traits
from node.journal.entry import Fact
from tests.support.sites import TestSite, site

PRAGUE, OLOMOUC, OSTRAVA = SiteId("prague"), SiteId("olomouc"), SiteId("ostrava")
CT = Traits(study="1.2", modality="CT", ae_title="CT1", body_part="HEAD", taken_at=100 * DAY)
MR = Traits(study="1.3", modality="MR", taken_at=100 * DAY)
NOW = 110 * DAY
ONLY_CT = Match(modalities=("CT",))


def partner(name: SiteId, standing: Standing = Standing.ACTIVE, export: Terms = EVERYTHING) -> Partner:
    return Partner(site=name, standing=standing, export=export)


ALL = (partner(OLOMOUC), partner(OSTRAVA), partner(PRAGUE))


def owed(traits: Traits, *rules: Rule, partners: tuple[Partner, ...] = ALL, now: int = NOW) -> tuple:
    return Policy(rules=rules, partners=partners).desired(traits, now=now)


def member(name: SiteId, export: Terms = EVERYTHING, standing: Standing = Standing.ACTIVE) -> Member:
    return Member(
        site=name, descriptor="", certificates=(), fingerprints=(), version=1, url=None, ae_title="",
        standing=standing, introduced_by=SiteId("brno"), export=export,
    )  # fmt: skip


@pytest.fixture
def brno() -> Iterator[TestSite]:
    with site() as made:
        yield made


def state(brno: TestSite, name: str, rule: Rule | None, position: int = 1) -> None:
    says = {"name": name, "rule": rule.told() if rule else None, "position": position}
    brno.catalog.perform(lambda unit: unit.journal.append(Fact.RULE, says))


def admit_member(brno: TestSite, one: Member) -> None:
    brno.catalog.perform(lambda unit: unit.members.put(one))


# ---- the policy


def test_without_rules_every_member_owes_a_copy():
    assert owed(CT) == (OLOMOUC, OSTRAVA, PRAGUE)
    assert owed(CT, partners=()) == ()


def test_with_rules_nothing_is_owed_that_none_of_them_matches():
    assert owed(CT, Rule(name="ct", match=ONLY_CT)) == (OLOMOUC, OSTRAVA, PRAGUE)
    assert owed(MR, Rule(name="ct", match=ONLY_CT)) == ()


def test_rules_that_match_add_up():
    to_prague = Rule(name="ct", match=ONLY_CT, sites=(PRAGUE,))
    to_olomouc = Rule(name="head", match=Match(body_parts=("HEAD",)), sites=(OLOMOUC,))
    assert owed(CT, to_prague, to_olomouc) == owed(CT, to_olomouc, to_prague) == (OLOMOUC, PRAGUE)


@pytest.mark.parametrize("standing", [one for one in Standing if one is not Standing.ACTIVE])
def test_a_member_that_is_not_active_owes_nothing(standing):
    assert owed(CT, partners=(partner(PRAGUE, standing), partner(OLOMOUC))) == (OLOMOUC,)


def test_a_member_owes_nothing_that_the_terms_do_not_give_it():
    partners = (partner(OLOMOUC, export=NOTHING), partner(PRAGUE, export=Terms(matches=(ONLY_CT,))))
    assert owed(CT, partners=partners) == (PRAGUE,)
    assert owed(MR, partners=partners) == ()


def test_the_copies_of_a_rule_are_spread_over_those_that_may_have_them():
    two = Rule(name="two", copies=2)
    assert len(owed(CT, two)) == 2
    partners = (partner(OLOMOUC, Standing.SUSPENDED), *ALL[1:])
    assert owed(CT, two, partners=partners) == (OSTRAVA, PRAGUE)


def test_age_is_counted_from_the_study_to_now():
    young = Rule(name="young", match=Match(younger_than=30))
    assert owed(CT, young, now=129 * DAY) == (OLOMOUC, OSTRAVA, PRAGUE)
    assert owed(CT, young, now=130 * DAY) == ()
    old = Rule(name="old", match=Match(older_than=30))
    assert owed(CT, old, now=129 * DAY) == ()
    assert owed(CT, old, now=130 * DAY) == (OLOMOUC, OSTRAVA, PRAGUE)


@given(
    st.lists(st.sampled_from([OLOMOUC, OSTRAVA, PRAGUE]), max_size=3), st.integers(1, 4), st.integers(0, 99)
)
def test_a_rule_never_wants_a_copy_where_it_may_not_be(sites, copies, study):
    rule = Rule(name="some", sites=tuple(sites), copies=copies)
    found = owed(Traits(study=f"1.{study}"), rule)
    eligible = set(sites) or {OLOMOUC, OSTRAVA, PRAGUE}
    assert set(found) <= eligible
    assert len(found) == min(copies, len(eligible))


# ---- the rules of a site


def test_rules_are_the_latest_facts_of_this_site_in_the_order_in_which_they_were_added(brno):
    state(brno, "b", Rule(name="b", copies=1), 1)
    state(brno, "a", Rule(name="a"), 2)
    state(brno, "b", Rule(name="b", copies=2), 1)
    state(brno, "c", Rule(name="c"), 3)
    state(brno, "c", None)
    with brno.catalog.reading() as unit:
        assert [(rule.name, rule.copies) for rule in unit.rules.all()] == [("b", 2), ("a", None)]


def test_a_site_without_rules_holds_to_the_default(brno):
    admit_member(brno, member(PRAGUE))
    with brno.catalog.reading() as unit:
        assert unit.rules.all() == ()
        assert unit.rules.policy.matching(CT, now=NOW) == (EVERYWHERE,)
        assert unit.rules.desired(CT) == (PRAGUE,)


def test_a_change_is_seen_by_the_next_unit_and_after_forgetting_by_the_same(brno):
    admit_member(brno, member(PRAGUE))
    with brno.catalog.begin() as unit:
        assert unit.rules.desired(CT) == (PRAGUE,)
        unit.members.put(member(PRAGUE, standing=Standing.SUSPENDED))
        unit.rules.forget()
        assert unit.rules.desired(CT) == ()
    with brno.catalog.reading() as unit:
        assert unit.rules.desired(CT) == ()


def test_nothing_is_read_twice_while_nothing_changes(brno):
    admit_member(brno, member(PRAGUE))
    state(brno, "ct", Rule(name="ct", match=ONLY_CT))
    policies = []
    for _ in range(3):
        with brno.catalog.reading() as unit:
            policies.append(unit.rules.policy)
    assert all(policy is policies[0] for policy in policies)
    assert module._policy.cache_info().hits >= 2


# ---- the number of the terms


def number(brno: TestSite) -> int:
    with brno.catalog.reading() as unit:
        return unit.rules.terms_number()


@pytest.mark.parametrize(
    ("kind", "says"),
    [(Fact.RULE, {"name": "x", "rule": None, "position": 1}),
     (Fact.CONSENT, {"site": "prague", "export": [], "accept": []}),
     (Fact.STANDING, {"site": "prague", "standing": "active"})],
)  # fmt: skip
def test_the_number_of_the_terms_grows_with_every_decision(brno, kind, says):
    before = number(brno)
    brno.catalog.perform(lambda unit: unit.journal.append(kind, says))
    assert number(brno) > before
    assert number(brno) == number(brno)


def test_the_number_of_the_terms_changes_daily_only_where_age_counts(brno):
    before = number(brno)
    brno.clock.forward(86400)
    assert number(brno) == before
    state(brno, "young", Rule(name="young", match=Match(younger_than=30)))
    before = number(brno)
    brno.clock.forward(86400)
    assert number(brno) != before


def test_terms_with_an_age_make_what_is_owed_depend_on_the_day():
    dated = Terms(matches=(Match(older_than=1),))
    assert Policy(rules=(), partners=(partner(PRAGUE, export=dated),)).is_dated
    assert not Policy(rules=(Rule(name="ct", match=ONLY_CT),), partners=ALL).is_dated
