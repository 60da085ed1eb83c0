"""Who caused the call: good once, here, now, over the connection of the issuer, for its own people."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from node.domain.errors import (
    BadSignature,
    Expired,
    IssuedBeforeStart,
    MalformedMessage,
    Replayed,
    Unauthenticated,
)
from node.domain.principal import Kind, Principal
from node.identity import keys
from node.identity.assertion import ASSERTION, LONGEST, SECOND, SKEW, Verifier, demand_member
from node.identity.replay import Memory
from node.identity.xmlnames import DS, HL7, SAML, add, entity_id, instant
from node.identity.xmlread import parse
from node.identity.xspa import COMMUNITY, ORGANIZATION, PURPOSE, ROLE, SUBJECT_ID, Purpose, community
from tests.support.saml_schema import CODED, schema
from tests.support.signed import ARRIVED, BRNO, NOW, PRAGUE, Federation, reissued


@pytest.fixture(scope="module")
def federation(tmp_path_factory) -> Federation:
    return Federation(tmp_path_factory.mktemp("keys"))


def verify(
    federation: Federation, assertion: etree._Element, *, key=None, now: int = NOW, by=None
) -> Principal:
    arrived = parse(etree.tostring(assertion))
    return (by or federation.assertions()).verify(arrived, (key or federation.brno).fingerprint, now)


def refused(
    federation: Federation, assertion: etree._Element, why: str, error=Unauthenticated, **how
) -> None:
    with pytest.raises(error, match=why) as raised:
        verify(federation, assertion, **how)
    assert raised.type is error


def refused_if(federation: Federation, change: Callable[[etree._Element], object], why: str, **how) -> None:
    """An assertion is good, and if its issuer had signed it with this change in it, it would not be."""
    good = federation.assertion()
    assert verify(federation, reissued(good, federation.brno, lambda _: None)) == ARRIVED
    refused(federation, reissued(good, federation.brno, change), why, **how)


def find(assertion: etree._Element, name: str, namespace: str = SAML) -> etree._Element:
    return next(assertion.iter(f"{{{namespace}}}{name}"))


def again(element: etree._Element) -> None:
    element.getparent().append(copy.deepcopy(element))


def attribute(assertion: etree._Element, name: str) -> etree._Element:
    return next(one for one in assertion.iter(f"{{{SAML}}}Attribute") if one.get("Name") == name)


def test_the_principal_arrives_as_it_left(federation):
    assert verify(federation, federation.assertion()) == ARRIVED


@settings(max_examples=50)
@given(
    kind=st.sampled_from(Kind),
    name=st.text(
        st.characters(codec="utf-8", exclude_categories=("C", "Zl", "Zp")), min_size=1, max_size=40
    ).filter(str.isprintable),
)
def test_every_name_that_can_be_printed_arrives_as_it_left(federation, kind, name):
    issuer = "https://idp.test" if kind is Kind.PERSON else ""
    principal = Principal(kind=kind, name=name, site=BRNO, issuer=issuer, display=name if issuer else "")
    if issuer:
        principal = replace(principal, purpose=Purpose.TREATMENT)
    assert verify(federation, federation.assertion(principal=principal)) == replace(principal, via=BRNO)


@pytest.mark.parametrize("name", ["", "a\nb", "a\x00", "\u202ea", "x" * 257, "a\u2028"])
def test_a_name_that_cannot_be_shown_on_one_line_is_neither_sent_nor_taken(federation, name):
    with pytest.raises(Unauthenticated, match="name"):
        federation.assertion(principal=Principal(kind=Kind.OPERATOR, name=name, site=BRNO))
    if "\x00" not in name:
        refused_if(
            federation,
            lambda one: setattr(find(one, "NameID"), "text", f"operator:{name}@brno"),
            "name of the principal",
        )


def test_it_says_what_other_systems_expect_of_an_assertion(federation):
    """XUA (ITI TF-2 3.40): subject, organization, home community, role and purpose."""
    one = federation.assertion(purpose=Purpose.RESEARCH, organization="Nemocnice")
    values = {name: attribute(one, name)[0] for name in (SUBJECT_ID, ORGANIZATION, COMMUNITY, ROLE, PURPOSE)}
    assert values[SUBJECT_ID].text == "technician"
    assert values[ORGANIZATION].text == "Nemocnice"
    assert values[COMMUNITY].text == community(BRNO)
    assert community(BRNO).startswith("urn:oid:2.25.")
    assert len(community(BRNO).removeprefix("urn:oid:")) <= 64
    assert values[ROLE][0].tag == f"{{{HL7}}}Role"
    assert values[ROLE][0].get("code") == "operator"
    assert values[PURPOSE][0].get("code") == "RESEARCH"


def test_it_is_valid_against_the_schema_of_saml(federation):
    schema(CODED).assertValid(parse(etree.tostring(federation.assertion())))


def test_a_node_does_not_issue_for_somebody_of_another_site(federation):
    with pytest.raises(Unauthenticated, match="cannot speak for"):
        federation.assertion(principal=Principal(kind=Kind.OPERATOR, name="technician", site=PRAGUE))


def test_it_is_good_once(federation):
    by, one = federation.assertions(), federation.assertion()
    assert verify(federation, one, by=by) == ARRIVED
    refused(federation, one, "received before", Replayed, by=by)
    refused(federation, one, "received before", Replayed, by=by, now=NOW + 100 * SECOND)


def test_a_refused_one_does_not_use_it_up(federation):
    by, one = federation.assertions(), federation.assertion()
    refused(federation, one, "connection", by=by, key=federation.plzen)
    assert verify(federation, one, by=by) == ARRIVED


def test_after_a_restart_those_of_before_are_refused_and_new_ones_are_good(federation):
    """The crash has forgotten which ones were received."""
    restarted = federation.assertions(started=NOW + 10 * SECOND)
    later = NOW + 20 * SECOND
    refused(federation, federation.assertion(), "send a new one", IssuedBeforeStart, by=restarted, now=later)
    assert verify(federation, federation.assertion(now=later), by=restarted, now=later) == ARRIVED


def test_it_is_good_for_its_time_give_or_take_the_difference_of_clocks(federation):
    one = federation.assertion(ttl=120)
    early, late = NOW - SKEW * SECOND, NOW + (120 + SKEW) * SECOND - 1
    for now in (early, late):
        assert verify(federation, one, now=now, by=federation.assertions(started=early)) == ARRIVED
    refused(federation, one, "good from .* compare the clocks", Expired, now=early - 1)
    refused(federation, one, "good until .* compare the clocks", Expired, now=late + 1)


def test_it_is_good_for_five_minutes_at_most(federation):
    assert verify(federation, federation.assertion(ttl=LONGEST)) == ARRIVED
    refused(federation, federation.assertion(ttl=LONGEST + 1), "at most 300 seconds", Expired)
    refused(federation, federation.assertion(ttl=0), "at most", Expired)


def test_a_long_life_cannot_hide_behind_a_late_beginning(federation):
    def late(one: etree._Element) -> None:
        one.set("IssueInstant", instant(NOW - 250 * SECOND))

    refused_if(federation, late, "at most 300 seconds", error=Expired, by=federation.assertions(started=0))


def test_one_that_is_good_from_later_on_is_not_good_yet(federation):
    later = instant(NOW + (SKEW + 1) * SECOND)
    refused_if(
        federation, lambda one: find(one, "Conditions").set("NotBefore", later), "good from", error=Expired
    )


@pytest.mark.parametrize("text", ["", "soon", "2027-01-15T08:00:00", "2027-01-15T09:00:00+01:00"])
def test_a_time_that_is_missing_or_not_in_utc_is_refused(federation, text):
    for element, name in (
        (None, "IssueInstant"),
        ("Conditions", "NotBefore"),
        ("Conditions", "NotOnOrAfter"),
    ):
        refused_if(
            federation,
            lambda one, at=element, n=name: (find(one, at) if at else one).set(n, text),
            "in which time",
        )


def test_one_for_another_node_is_refused(federation):
    refused(federation, federation.assertion(audience=federation.plzen.site), "for urn:konzilium:node:plzen")


def test_two_audiences_or_none_are_refused(federation):
    refused_if(federation, lambda one: again(find(one, "Audience")), "2 elements Audience")
    refused_if(federation, lambda one: again(find(one, "AudienceRestriction")), "conditions")
    refused_if(
        federation, lambda one: find(one, "Conditions").remove(find(one, "AudienceRestriction")), "conditions"
    )
    refused_if(federation, lambda one: one.remove(find(one, "Conditions")), "0 elements Conditions")


def test_a_condition_that_is_not_known_is_refused(federation):
    refused_if(federation, lambda one: add(find(one, "Conditions"), f"{{{SAML}}}OneTimeUse"), "conditions")


def test_a_node_cannot_speak_for_somebody_of_another_site(federation):
    refused_if(
        federation,
        lambda one: setattr(find(one, "NameID"), "text", "operator:technician@prague"),
        "brno cannot speak for somebody of prague",
    )


@pytest.mark.parametrize(
    "text", ["technician", "god:x@brno", ":x@brno", "operator:x@", "@", "a:b@B", "operator:x@brno@"]
)
def test_a_subject_is_a_kind_a_name_and_a_site(federation, text):
    refused_if(federation, lambda one: setattr(find(one, "NameID"), "text", text), "kind:name@site")


def test_two_subjects_are_refused(federation):
    refused_if(federation, lambda one: again(find(one, "Subject")), "2 elements Subject")
    refused_if(federation, lambda one: again(find(one, "NameID")), "2 elements NameID")
    refused_if(
        federation, lambda one: again(find(one, "SubjectConfirmation")), "2 elements SubjectConfirmation"
    )


def test_that_of_one_node_is_worth_nothing_over_the_connection_of_another(federation):
    refused(federation, federation.assertion(), "does not show a certificate of brno", key=federation.plzen)


def test_it_is_worth_nothing_over_a_connection_without_a_certificate(federation):
    with pytest.raises(Unauthenticated, match="no client certificate"):
        federation.assertions().verify(federation.assertion(), None, NOW)


def test_a_rogue_that_says_it_is_brno_is_refused_over_its_own_connection_and_over_that_of_brno(federation):
    forged = federation.assertion(key=federation.rogue)
    refused(federation, forged, "does not show a certificate of brno", key=federation.rogue)
    refused(federation, forged, "not known", BadSignature)


def test_one_that_is_bound_to_another_key_is_refused(federation):
    refused_if(
        federation,
        lambda one: setattr(find(one, "X509Certificate", DS), "text", federation.plzen.certificate.base64),
        "holder of another key",
    )


def test_one_that_another_member_issued_is_refused_though_the_far_end_is_known(federation):
    one = federation.assertion()
    ends = [
        demand_member(entity_id(key.site), key.fingerprint, federation.certificates_of, NOW)
        for key in (federation.brno, federation.plzen)
    ]
    with pytest.raises(Unauthenticated, match="not issued by plzen"):
        federation.assertions().accept(one, ends[1], NOW)
    assert federation.assertions().accept(one, ends[0], NOW) == ARRIVED


def test_the_list_of_members_is_asked_once_for_an_assertion(federation):
    asked: list[str] = []

    def certificates_of(site):
        asked.append(site)
        return federation.certificates_of(site)

    by = Verifier(site=PRAGUE, certificates_of=certificates_of, memory=Memory(started=0))
    assert by.verify(federation.assertion(), federation.brno.fingerprint, NOW) == ARRIVED
    assert asked == [BRNO]


def test_a_bearer_is_refused(federation):
    refused_if(
        federation,
        lambda one: find(one, "SubjectConfirmation").set("Method", "urn:oasis:names:tc:SAML:2.0:cm:bearer"),
        "bound to the key",
    )
    refused_if(federation, lambda one: find(one, "SubjectConfirmationData").clear(), "0 elements KeyInfo")


def test_one_of_a_site_that_is_no_member_or_not_any_more_is_refused(federation):
    by, first, second = federation.assertions(), federation.assertion(), federation.assertion()
    assert verify(federation, first, by=by) == ARRIVED
    revoked = federation.members.pop(BRNO)
    try:
        refused(federation, second, "no active member", by=by)
    finally:
        federation.members[BRNO] = revoked
    assert verify(federation, second, by=by) == ARRIVED


@pytest.mark.parametrize(
    "issuer", ["https://idp.brno.example", "brno", "urn:konzilium:node:x", "urn:konzilium:node:none"]
)
def test_an_issuer_that_is_no_node_is_refused(federation, issuer):
    refused_if(federation, lambda one: setattr(find(one, "Issuer"), "text", issuer), "no active member")


def test_during_a_change_of_keys_either_is_good_with_its_own_connection(federation, tmp_path):
    keys.make(tmp_path / "k", site=BRNO, now=NOW)
    keys.prepare(tmp_path / "k", now=NOW)
    old, new = keys.load(tmp_path / "k"), keys.promote(tmp_path / "k")
    pinned = federation.members[BRNO]
    federation.members[BRNO] = (new.pem, old.pem)
    try:
        for key in (old, new):
            assert verify(federation, federation.assertion(key=key), key=key) == ARRIVED
        refused(federation, federation.assertion(key=old), "another key", key=new)
        federation.members[BRNO] = (new.pem,)
        refused(federation, federation.assertion(key=old), "does not show", key=old)
    finally:
        federation.members[BRNO] = pinned


def test_a_certificate_that_has_expired_is_refused(federation):
    late = federation.brno.certificate.not_after + (SKEW + 1) * SECOND
    good = federation.brno.certificate.not_after + (SKEW - 1) * SECOND
    assert verify(federation, federation.assertion(now=good), now=good) == ARRIVED
    refused(federation, federation.assertion(now=late), "certificate .* is valid from", Expired, now=late)


def test_every_change_is_noticed(federation):
    text = etree.tostring(federation.assertion())
    for old, new in (
        (b">operator:technician@brno<", b">operator:director@brno<"),
        (b'code="operator"', b'code="node"'),
        (b"node:prague<", b"node:plzen<"),
        (b"NotBefore=", b"notBefore="),
        (b'code="TREATMENT"', b'code="RESEARCH"'),
    ):
        assert old in text
        refused(federation, parse(text.replace(old, new)), "changed", BadSignature)


def test_an_unsigned_one_is_refused(federation):
    def bare(one: etree._Element) -> etree._Element:
        one.remove(find(one, "Signature", DS))
        return one

    refused(federation, bare(federation.assertion()), "0 elements Signature", BadSignature)


def test_attributes_that_contradict_the_subject_are_refused(federation):
    for name in (SUBJECT_ID, COMMUNITY):
        refused_if(
            federation,
            lambda one, n=name: setattr(attribute(one, n)[0], "text", "other"),
            "not those of its subject",
        )
    refused_if(
        federation, lambda one: attribute(one, ROLE)[0][0].set("code", "node"), "not those of its subject"
    )
    refused_if(federation, lambda one: attribute(one, ROLE)[0].clear(), "not those of its subject")
    refused_if(federation, lambda one: again(attribute(one, ROLE)), "twice")
    refused_if(federation, lambda one: again(find(one, "AttributeStatement")), "2 elements")


def test_what_is_no_assertion_is_refused(federation):
    refused_if(federation, lambda one: one.set("Version", "1.1"), "no SAML 2.0")
    refused_if(federation, lambda one: setattr(one, "tag", ASSERTION + "s"), "no SAML 2.0")


def test_a_comment_cannot_cut_a_name_in_two(federation):
    """The signature does not see the comment, and a careless reader sees half a name."""
    one = federation.assertion()
    name = find(one, "NameID")
    name.text = "operator:tech"
    name.append(etree.Comment("x"))
    name[0].tail = "nician@brno"
    for verifier in (federation.assertions(),):
        with pytest.raises((MalformedMessage, Unauthenticated)):
            verifier.verify(one, federation.brno.fingerprint, NOW)


def test_the_assertion_that_was_verified_is_not_changed(federation):
    one = federation.assertion()
    before = etree.tostring(one)
    assert federation.assertions().verify(one, federation.brno.fingerprint, NOW) == ARRIVED
    assert etree.tostring(one) == before
