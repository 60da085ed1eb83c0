"""What holds of every policy, and what does not pass for one."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.domain.decision import Resource, Sensitivity, Standing
from node.domain.errors import BadPolicy
from node.domain.ids import SiteId
from node.domain.principal import DEVICE_ACTIONS, Action, Kind, Principal
from node.policy.decide import decide, default, default_text, is_for_all
from node.policy.rules import Effect, Glass, Policy, PolicyRule, folded, read
from tests.support.sites import BRNO

PRAGUE = SiteId("prague")
READING = (Action.QUERY, Action.RETRIEVE, Action.REQUEST)
ROLES = ("radiologist", "researcher", "auditor")
NAME = "novak^jan"


def some(values, most: int = 2):
    return st.frozensets(st.sampled_from(tuple(values)), max_size=most)


rules = st.builds(
    PolicyRule,
    name=st.uuids().map(str),
    roles=st.frozensets(st.sampled_from((*ROLES, "modality")), min_size=1),
    actions=st.frozensets(st.sampled_from(Action), min_size=1),
    effect=st.sampled_from(Effect),
    on=some(Standing, 4),
    sites=some((BRNO, PRAGUE)),
    issuers=some(("A", "B")),
    modalities=some(("CT", "MR")),
    sensitivity=some(Sensitivity),
    referring=st.booleans(),
    consent=some(("research",)),
    refused=some(("exchange",)),
    purposes=some(("TREAT",)),
    mfa=st.booleans(),
    elsewhere=st.none() | st.booleans(),
).map(lambda rule: rule if rule.effect is Effect.ALLOW else replace(rule, mfa=False))
policies = st.builds(
    Policy,
    version=st.just("one"),
    rules=st.lists(rules, max_size=6).map(tuple),
    roles=st.just(dict.fromkeys((*ROLES, "modality"), "")),
    glass=st.builds(Glass, roles=some(ROLES)),
)
persons = st.builds(
    Principal,
    kind=st.just(Kind.PERSON),
    name=st.just("jana@hospital-brno.test"),
    issuer=st.just("local"),
    site=st.just(BRNO),
    roles=some(ROLES, 3),
    names=some((NAME,)),
    emergencies=some(("1.2",)),
    mfa=st.booleans(),
    purpose=st.sampled_from(("", "TREAT")),
    via=st.none() | st.just(PRAGUE),
)
devices = st.builds(
    Principal, kind=st.just(Kind.DEVICE), name=st.just("CT1"), site=st.just(BRNO), may=some(DEVICE_ACTIONS, 3)
)
resources = st.builds(
    Resource,
    standing=st.sampled_from(Standing),
    site=st.sampled_from((BRNO, PRAGUE)),
    study=st.sampled_from(("1.2", "1.3")),
    issuer=st.sampled_from(("A", "B")),
    modalities=some(("CT", "MR")),
    referring=st.sampled_from(("", "NOVAK^JAN", "SVOBODA^EVA")),
    sensitivity=st.sampled_from(Sensitivity),
    consent=some(("research",)),
    refused=some(("exchange",)),
)
actions = st.sampled_from(Action)


@settings(max_examples=40)
@given(persons | devices, actions, resources, policies, rules)
def test_a_rule_that_denies_only_ever_closes(who, action, what, policy, rule):
    closed = replace(policy, rules=(*policy.rules, replace(rule, effect=Effect.DENY, mfa=False)))
    if decide(who, action, what, policy=closed).allowed:
        assert decide(who, action, what, policy=policy).allowed


@settings(max_examples=40)
@given(persons | devices, actions, resources, policies, rules)
def test_a_rule_that_allows_only_ever_opens(who, action, what, policy, rule):
    opened = replace(policy, rules=(*policy.rules, replace(rule, effect=Effect.ALLOW)))
    if decide(who, action, what, policy=policy).allowed:
        assert decide(who, action, what, policy=opened).allowed


@settings(max_examples=40)
@given(persons, actions, resources, policies)
def test_one_rule_that_denies_outweighs_all_others(who, action, what, policy):
    who = replace(who, emergencies=frozenset())
    no = PolicyRule(name="no", roles=frozenset(ROLES), actions=frozenset(Action), effect=Effect.DENY)
    assert not decide(who, action, what, policy=replace(policy, rules=(*policy.rules, no))).allowed


@settings(max_examples=40)
@given(persons | devices, actions, st.none() | resources, policies, st.randoms(use_true_random=False))
def test_the_order_of_the_rules_does_not_matter(who, action, what, policy, chance: random.Random):
    shuffled = list(policy.rules)
    chance.shuffle(shuffled)
    one = decide(who, action, what, policy=policy)
    other = decide(who, action, what, policy=replace(policy, rules=tuple(shuffled)))
    assert (one.allowed, one.step_up, one.emergency) == (other.allowed, other.step_up, other.emergency)
    assert sorted(one.reasons) == sorted(other.reasons)


@settings(max_examples=40)
@given(persons | devices, actions, st.none() | resources)
def test_a_policy_without_rules_allows_nothing(who, action, what):
    assert not decide(who, action, what, policy=Policy(version="none", rules=(), roles={})).allowed


@settings(max_examples=40)
@given(persons | devices, actions, resources, policies)
def test_where_some_study_is_open_the_question_without_a_study_says_so(who, action, what, policy):
    if decide(who, action, what, policy=policy).allowed:
        assert decide(who, action, policy=policy).allowed


@settings(max_examples=40)
@given(devices, actions, resources, policies)
def test_who_is_told_that_no_study_matters_gets_one_answer_for_all_that_are_shown(who, action, what, policy):
    if is_for_all(who, action, policy=policy) and what.standing is not Standing.RETRACTED:
        decision = decide(who, action, what, policy=policy)
        assert decision.allowed == decide(who, action, policy=policy).allowed


@settings(max_examples=40)
@given(persons, resources, st.sampled_from(READING))
def test_what_was_withdrawn_is_shown_to_nobody_who_only_reads(who, what, action):
    everybody = replace(who, roles=frozenset(default().roles), emergencies=frozenset({what.study}))
    withdrawn = replace(what, standing=Standing.RETRACTED)
    assert not decide(everybody, action, withdrawn).allowed


@settings(max_examples=40)
@given(persons, actions, resources, policies)
def test_broken_glass_opens_reading_of_the_named_study_to_the_named_roles_alone(who, action, what, policy):
    without = decide(replace(who, emergencies=frozenset()), action, what, policy=policy)
    decision = decide(who, action, what, policy=policy)
    if decision.allowed and not without.allowed:
        assert action in {Action.QUERY, Action.RETRIEVE}
        assert what.study in who.emergencies
        assert who.roles & policy.glass.roles
        assert decision.rule == "emergency"
        assert without.emergency


@settings(max_examples=40)
@given(persons, actions, resources, policies)
def test_a_second_factor_closes_nothing_and_what_it_opens_is_foretold(who, action, what, policy):
    without = decide(replace(who, mfa=False), action, what, policy=policy)
    proved = decide(replace(who, mfa=True), action, what, policy=policy)
    assert proved.allowed or not without.allowed
    if proved.allowed and not without.allowed:
        assert without.step_up
        assert not proved.step_up


@settings(max_examples=40)
@given(persons, actions, resources, policies)
def test_every_decision_names_the_policy_and_a_reason_and_tells_nothing_of_a_closed_study(
    who, action, what, policy
):
    decision = decide(who, action, what, policy=policy)
    assert decision.version == policy.version
    assert decision.reason
    if not decision.allowed and decision.about_study:
        assert not any(rule.name in decision.told for rule in policy.rules)


@pytest.mark.parametrize("action", [Action.APPROVE, Action.REVIEW, Action.GRANT])
def test_nobody_decides_about_a_request_of_his_or_her_own(action):
    everybody = Principal(
        kind=Kind.PERSON, name="eva@brno", issuer="local", site=BRNO, roles=frozenset(default().roles)
    )
    asked = Resource(standing=Standing.OWN, site=BRNO)
    assert decide(everybody, action, asked).allowed
    assert not decide(everybody, action, replace(asked, requested_by="local eva@brno")).allowed


@pytest.mark.parametrize("role", ["node administrator", "installer", "federation operator", "auditor"])
@pytest.mark.parametrize("standing", Standing)
@pytest.mark.parametrize("mfa", [False, True])
def test_who_runs_a_node_or_audits_it_sees_no_images(role, standing, mfa):
    who = Principal(
        kind=Kind.PERSON, name="eva@brno", issuer="local", site=BRNO, roles=frozenset({role}), mfa=mfa
    )
    for action in (*READING, Action.STORE):
        assert not decide(who, action, Resource(standing=standing, site=BRNO)).allowed


HERE = {Standing.OWN, Standing.SHARED}
IDENTIFIED = HERE | {Standing.FOREIGN}
SHOWN = IDENTIFIED | {Standing.DEIDENTIFIED}
ALL = frozenset(Standing)
TABLE = {
    "radiologist": {Action.STORE: SHOWN, Action.QUERY: SHOWN, Action.RETRIEVE: SHOWN},
    "referring physician": {Action.QUERY: IDENTIFIED, Action.RETRIEVE: IDENTIFIED},
    "node administrator": {Action.ADMINISTER: ALL, Action.GRANT: ALL},
    "installer": {Action.ADMINISTER: ALL},
    "federation operator": {Action.FEDERATE: ALL},
    "researcher": {action: {Standing.DEIDENTIFIED} for action in READING},
    "data steward": {action: ALL - {Standing.FOREIGN} for action in (Action.AMEND, Action.APPROVE)},
    "auditor": {Action.AUDIT: ALL, Action.REVIEW: ALL},
}
"""What each role may by the default policy, on data of which standing; a referral is the person's own."""


@pytest.mark.parametrize("role", default().roles)
def test_the_default_policy_lets_each_role_do_this_and_nothing_else(role):
    who = Principal(
        kind=Kind.PERSON,
        name="eva@brno",
        issuer="local",
        site=BRNO,
        roles=frozenset({role}),
        names=frozenset({NAME}),
    )
    allowed = {
        (action, standing)
        for action in Action
        for standing in Standing
        if decide(who, action, Resource(standing=standing, site=BRNO, referring="NOVAK^JAN")).allowed
    }
    if role == "modality":
        listed = Principal(kind=Kind.DEVICE, name="CT1", site=BRNO, may=DEVICE_ACTIONS)
        assert allowed == {(Action.STORE, one) for one in ALL} | {
            (action, one) for action in (Action.QUERY, Action.RETRIEVE) for one in SHOWN
        }
        assert all(
            decide(listed, action, Resource(standing=one, site=BRNO)).allowed for action, one in allowed
        )
    else:
        assert allowed == {(action, one) for action, several in TABLE[role].items() for one in several}


@pytest.mark.parametrize("action", [Action.QUERY, Action.RETRIEVE])
def test_a_restricted_study_is_read_with_a_second_factor(action):
    what = Resource(standing=Standing.OWN, site=BRNO, sensitivity=Sensitivity.RESTRICTED)
    who = Principal(
        kind=Kind.PERSON, name="eva@brno", issuer="local", site=BRNO, roles=frozenset({"radiologist"})
    )
    without = decide(who, action, what)
    assert not without.allowed
    assert without.step_up
    assert decide(replace(who, mfa=True), action, what).allowed


@pytest.mark.parametrize("action", [Action.QUERY, Action.RETRIEVE])
@pytest.mark.parametrize("via", [None, PRAGUE])
def test_who_refused_exchange_is_not_shown_to_people_of_other_sites(action, via):
    what = Resource(standing=Standing.OWN, site=BRNO, refused=frozenset({"exchange"}))
    who = Principal(
        kind=Kind.PERSON,
        name="eva@brno",
        issuer="local",
        site=BRNO,
        roles=frozenset({"radiologist"}),
        via=via,
    )
    assert decide(who, action, what).allowed is (via is None)


# reading

RULE = '[[rule]]\nname = "one"\nroles = ["r"]\nactions = ["query"]\n'
POLICY = f'version = "1"\n[roles]\nr = "reads"\n{RULE}'


def test_the_policy_that_every_site_begins_with_is_in_conf_to_be_copied():
    conf = Path(__file__).parents[3] / "conf" / "policy.toml"
    assert conf.read_text("utf-8") == default_text()


def test_every_role_of_the_default_policy_is_in_some_rule():
    named = {role for rule in default().rules for role in rule.roles}
    assert named == set(default().roles)


def test_what_a_rule_says_is_read():
    policy = read(
        POLICY + 'on = ["own", "de-identified"]\nsensitivity = ["", "restricted"]\nmfa = true\n'
        'elsewhere = false\npurposes = ["TREAT"]\nconsent = ["research"]\n'
    )
    (rule,) = policy.rules
    assert rule.on == {Standing.OWN, Standing.DEIDENTIFIED}
    assert rule.sensitivity == set(Sensitivity)
    assert rule.mfa
    assert rule.elsewhere is False
    assert (rule.purposes, rule.consent) == ({"TREAT"}, {"research"})


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("", "version"),
        ("version = 1", "version"),
        ('version = ""', "version"),
        ('version = "a\\u0007"', "version"),
        ('version = "1"\nversoin = "2"', "versoin"),
        ('version = "1"\nrule = 5', "rule"),
        ('version = "1"\nrule = [5]', "rule 1"),
        ('version = "1"\n[rule]\nname = "one"', "rule"),
        ('version = "1"\nroles = ["r"]', "roles"),
        ('version = "1"\nemergency = 5', "emergency"),
        ('version = "1"\ndual_control = ["r"]', "'r'"),
        ('version = "1"\n[emergency]\nminutes = 0', "minutes"),
        ('version = "1"\n[emergency]\nminutes = true', "minutes"),
        ('version = "1"\n[emergency]\nminutes = 1441', "minutes"),
        ('version = "1"\n[emergency]\nroles = ["r"]', "'r'"),
        ('version = "1"\n[emergency]\nfor = 5', "for"),
        ("version =", "cannot be used"),
        ("version = " + "[" * 100_000, "nested"),
        (POLICY + "acton = []", "acton"),
        (POLICY + 'on = ["mine"]', "mine"),
        (POLICY + 'on = "own"', "on"),
        (POLICY + 'effect = "maybe"', "effect"),
        (POLICY + 'mfa = "yes"', "mfa"),
        (POLICY + "referring = 1", "referring"),
        (POLICY + "sites = [1]", "sites"),
        (POLICY + 'sensitivity = ["secret"]', "secret"),
        (POLICY + 'effect = "deny"\nmfa = true', "second factor"),
        (POLICY.replace('["query"]', '["audit"]') + 'on = ["own"]', "audit is not"),
        (POLICY.replace('["query"]', '["query", "grant"]') + "referring = true", "grant is not"),
        (POLICY + RULE, "two rules are called 'one'"),
        (POLICY.replace('["query"]', '["look"]'), "look"),
        (POLICY.replace('["query"]', "[]"), "actions"),
        (POLICY.replace('roles = ["r"]', 'roles = ["x"]'), "'x'"),
        (POLICY.replace('roles = ["r"]', "roles = []"), "roles"),
        (POLICY.replace('name = "one"\n', ""), "no name"),
        ("#" * 300_000, "longer"),
        (POLICY + "\n".join(RULE.replace("one", str(number)) for number in range(501)), "500"),
    ],
)
def test_what_is_not_understood_is_refused_and_the_place_is_named(text, about):
    with pytest.raises(BadPolicy, match=about):
        read(text)


@settings(max_examples=40)
@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
def test_no_text_is_anything_but_a_policy_or_refused(text):
    try:
        read(text)
    except BadPolicy as refusal:
        assert str(refusal)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("NOVAK^JAN", "Novak^Jan"),
        ("NOVAK^JAN^^", "NOVAK^JAN"),
        ("NOVAK^JAN=NOVAQUE^JEAN", "novak^jan"),
        (" NOVAK ^ JAN ", "NOVAK^JAN"),
    ],
)
def test_two_writings_of_a_name_are_one_name(one, other):
    assert folded(one) == folded(other)
