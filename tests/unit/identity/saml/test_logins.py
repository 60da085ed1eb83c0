"""Logging in: what goes out, what comes back, and who it is then."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from node.catalog.catalog import Catalog
from node.domain.errors import (
    AttributeMissing,
    Expired,
    LoginRefused,
    Rejected,
    Replayed,
    SecondFactorNeeded,
    Unauthenticated,
    UnknownProvider,
)
from node.domain.principal import Kind
from node.identity.providers.descriptor import POST
from node.identity.saml import keys
from node.identity.saml.login import LIFE, Logins
from tests.support.saml_lab import (
    ACS,
    BROWSER,
    ENTITY,
    EPPN,
    MFA,
    NS,
    PRAGUE_IDP,
    RADIOLOGIST,
    SITE,
    Idp,
    Lab,
    T,
    add,
    at,
    is_signed_query,
    pair,
    request_in,
    sealed,
    sign,
)

MICRO = 1_000_000


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Lab]:
    """A site of one test."""
    made = Lab(tmp_path)
    yield made
    made.close()


def test_a_radiologist_of_brno_logs_in_with_the_account_of_brno(lab: Lab) -> None:
    entered = lab.login()
    person = entered.principal
    assert (person.kind, person.name, person.site) == (Kind.PERSON, "radiologist@hospital-brno.test", SITE)
    assert (person.issuer, person.display, person.address) == (
        lab.idp.entity,
        "Test Radiologist",
        "192.0.2.7",
    )
    assert person.values("eduPersonEntitlement") == ("urn:mace:example.test:role:radiologist",)
    assert list(person.attributes) == sorted(person.attributes)
    assert not person.roles and not person.may and not person.mfa
    assert (entered.name_id, entered.session_index) == ("_transient-4711", "_session-1")
    assert entered.onward == "/studies?x=1"
    assert abs(entered.until - (time.time() + 28_800) * MICRO) < 60 * MICRO


@pytest.mark.parametrize(
    "options",
    [
        {"message_signed": False},
        {"assertion_signed": False},
        {"cipher": "AES256_GCM"},
        {"cipher": "AES128_GCM", "message_signed": False},
        {"cipher": "AES128"},
        {"cipher": "AES256", "assertion_signed": False},
        {"method": T.RSA_SHA512, "digest": T.SHA512},
    ],
    ids=str,
)
def test_identity_providers_may_sign_and_encrypt_in_several_ways(lab: Lab, options: dict[str, Any]) -> None:
    assert lab.login(**options).principal.name == "radiologist@hospital-brno.test"


def test_an_identity_provider_may_have_an_elliptic_key(tmp_path: Path) -> None:
    lab = Lab(tmp_path, Idp(key=pair("elliptic", "ec")))
    assert lab.login(method=T.ECDSA_SHA256).principal.name == "radiologist@hospital-brno.test"
    lab.close()


@pytest.mark.parametrize("prefixes", ["xsd", "samlp", "#default saml samlp"])
def test_a_signature_may_list_prefixes_as_shibboleth_does(lab: Lab, prefixes: str) -> None:
    def list_prefixes(response: etree._Element) -> None:
        signature = at(response, "saml:Assertion/ds:Signature")
        assertion = at(response, "saml:Assertion")
        step = at(signature, "ds:SignedInfo/ds:Reference/ds:Transforms/ds:Transform[2]")
        exclusive = "http://www.w3.org/2001/10/xml-exc-c14n#"
        etree.SubElement(step, f"{{{exclusive}}}InclusiveNamespaces", PrefixList=prefixes)
        sealed(assertion, signature, lab.idp.key)

    assert lab.login(message_signed=False, after=list_prefixes).principal.name.startswith("radiologist@")


def test_the_request_names_this_site_and_is_signed(lab: Lab) -> None:
    begun, _ = lab.begin()
    request = request_in(begun)
    assert begun.url.startswith("https://idp.hospital-brno.test/sso?realm=staff&x=1&SAMLRequest=")
    assert request.get("Destination") == lab.idp.sso[0][1]
    assert (request.get("AssertionConsumerServiceURL"), request.get("ProtocolBinding")) == (ACS, POST)
    assert request.findtext("saml:Issuer", namespaces=NS) == ENTITY
    assert request.find("samlp:RequestedAuthnContext", NS) is None
    assert is_signed_query(begun.url, lab.sp.keys.current().certificate.pem)


def test_metadata_cannot_write_into_the_request(tmp_path: Path) -> None:
    odd = 'https://idp.hospital-brno.test/sso?a="><samlp:Extensions/>&b=1'
    lab = Lab(tmp_path, Idp(sso=(("urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect", odd),)))
    request = request_in(lab.begin()[0])
    assert request.get("Destination") == odd
    assert request.find("samlp:Extensions", NS) is None
    lab.close()


def test_an_identity_provider_that_only_takes_forms_gets_one(tmp_path: Path) -> None:
    lab = Lab(tmp_path, Idp(sso=((POST, "https://idp.hospital-brno.test/post"),)))
    begun, request = lab.begin()
    assert begun.url == "" and begun.form is not None
    assert begun.form.action == "https://idp.hospital-brno.test/post"
    assert dict(begun.form.fields)["RelayState"] == begun.token
    assert request_in(begun).find("ds:Signature", NS) is not None
    assert lab.finish(begun, lab.answer(request).encoded()).principal.name.startswith("radiologist@")
    lab.close()


def test_a_login_is_answered_once(lab: Lab) -> None:
    begun, request = lab.begin()
    answer = lab.answer(request).encoded()
    lab.finish(begun, answer)
    with pytest.raises(LoginRefused, match="begin again"):
        lab.finish(begun, answer)


def test_a_login_is_over_after_a_bad_answer(lab: Lab) -> None:
    begun, request = lab.begin()
    with pytest.raises(LoginRefused):
        lab.finish(begun, "bm90aGluZw==")
    with pytest.raises(LoginRefused, match="begin again"):
        lab.finish(begun, lab.answer(request).encoded())


def test_an_answer_counts_in_the_browser_that_began_and_no_other_can_spoil_it(lab: Lab) -> None:
    begun, request = lab.begin()
    answer = lab.answer(request).encoded()
    for other in ("the secret of another browser", ""):
        with pytest.raises(LoginRefused, match="no login is in progress in this browser"):
            lab.finish(begun, answer, browser=other)
    assert lab.finish(begun, answer).principal.name.startswith("radiologist@")


def test_a_login_cannot_begin_without_a_browser_to_recognise(lab: Lab) -> None:
    with pytest.raises(Rejected):
        lab.begin(browser="")


def test_an_answer_that_nobody_waits_for_is_refused_before_it_is_read(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.identity.saml.gate.decoded", None)
    for token in ("", "unknown", "\udcff"):
        with pytest.raises(LoginRefused, match="no login is in progress"):
            lab.logins.finish("PHNhbWxwOlJlc3BvbnNlLz4=", token, browser=BROWSER)


def test_a_login_that_took_longer_than_ten_minutes_is_over(tmp_path: Path) -> None:
    moment = [int(time.time() * MICRO)]
    lab = Lab(tmp_path)
    lab.catalog.close()
    lab.catalog = Catalog(tmp_path / "catalog.sqlite", origin=SITE, clock=lambda: moment[0])
    lab.logins = Logins(lab.catalog, lab.believed, lab.sp, site=SITE, clock=lambda: moment[0])
    begun, request = lab.begin()
    answer = lab.answer(request).encoded()
    moment[0] += (LIFE + 1) * MICRO
    with pytest.raises(LoginRefused, match="ten minutes"):
        lab.finish(begun, answer)
    moment[0] -= 2 * MICRO
    with pytest.raises(Unauthenticated):  # ten minutes are longer than the assertion is good for
        lab.finish(begun, answer)
    lab.close()


def test_what_has_begun_and_was_taken_outlives_the_process(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    begun, request = lab.begin()
    answer = lab.answer(request, in_assertion=lambda one: one.set("ID", "_same")).encoded()
    lab.close()
    again = Lab(tmp_path)
    assert again.finish(begun, answer).principal.name.startswith("radiologist@")
    again.close()
    later = Lab(tmp_path)
    with pytest.raises(LoginRefused):
        later.finish(begun, answer)
    with pytest.raises(Replayed):
        later.login(in_assertion=lambda one: one.set("ID", "_same"))
    later.close()


def test_two_identity_providers_have_assertions_of_the_same_name(lab: Lab) -> None:
    lab.login(in_assertion=lambda one: one.set("ID", "_of-both"))
    begun, request = lab.begin(entity=PRAGUE_IDP.entity)
    told = {EPPN: ("physician@hospital-prague.test",)}
    answer = lab.answer(
        request, idp=PRAGUE_IDP, attributes=told, in_assertion=lambda one: one.set("ID", "_of-both")
    )
    assert lab.finish(begun, answer.encoded()).principal.name == "physician@hospital-prague.test"


@pytest.mark.parametrize("entity", ["https://nobody.test/idp", "zzz' or @entityID='b", ""])
def test_nobody_is_sent_to_an_identity_provider_that_is_not_known(lab: Lab, entity: str) -> None:
    with pytest.raises(UnknownProvider):
        lab.begin(entity=entity)


def test_an_identity_provider_that_is_not_believed_any_more_cannot_answer(own: Lab) -> None:
    begun, request = own.begin()
    own.believed.known.clear()
    with pytest.raises(UnknownProvider):
        own.finish(begun, own.answer(request).encoded())


def test_a_second_factor_is_asked_for_and_has_to_be_proved(lab: Lab) -> None:
    begun, request = lab.begin(mfa=True)
    asked = at(request_in(begun), "samlp:RequestedAuthnContext")
    assert asked.get("Comparison") == "exact"
    assert [one.text for one in asked] == [MFA]
    entered = lab.finish(begun, lab.answer(request, context=MFA).encoded())
    assert entered.mfa and entered.principal.mfa


def test_a_password_is_no_second_factor(lab: Lab) -> None:
    begun, request = lab.begin(mfa=True)
    with pytest.raises(SecondFactorNeeded, match="Hospital Brno"):
        lab.finish(begun, lab.answer(request).encoded())


def test_an_identity_provider_may_say_that_it_has_no_second_factor(lab: Lab) -> None:
    def refuse(response: etree._Element) -> None:
        response.remove(at(response, "saml:Assertion"))
        code = at(response, "samlp:Status/samlp:StatusCode")
        code.set("Value", "urn:oasis:names:tc:SAML:2.0:status:Responder")
        add(code, "samlp:StatusCode", Value="urn:oasis:names:tc:SAML:2.0:status:NoAuthnContext")

    begun, request = lab.begin(mfa=True)
    with pytest.raises(SecondFactorNeeded):
        lab.finish(begun, lab.answer(request, in_message=refuse).encoded())


def test_a_site_can_ask_everybody_for_a_second_factor(tmp_path: Path) -> None:
    lab = Lab(tmp_path, mfa=True)
    with pytest.raises(SecondFactorNeeded):
        lab.login()
    assert lab.login(context=MFA).mfa
    lab.close()


def test_an_attribute_that_is_missing_is_named_with_whom_to_ask(lab: Lab) -> None:
    told = {name: values for name, values in RADIOLOGIST.items() if name != EPPN}
    with pytest.raises(AttributeMissing) as caught:
        lab.login(attributes=told)
    assert str(caught.value) == (
        "Hospital Brno did not tell eduPersonPrincipalName; "
        "ask identity@hospital-brno.test to release it to this service."
    )


def test_the_person_reads_the_name_of_the_institution_in_their_language(lab: Lab) -> None:
    begun, request = lab.begin(language="cs")
    with pytest.raises(AttributeMissing, match="Nemocnice Brno"):
        lab.finish(begun, lab.answer(request, attributes={}).encoded())


def test_nobody_to_ask_is_said_in_words(lab: Lab) -> None:
    begun, request = lab.begin(entity=PRAGUE_IDP.entity)
    with pytest.raises(AttributeMissing, match="ask those who run it"):
        lab.finish(begun, lab.answer(request, idp=PRAGUE_IDP, attributes={}).encoded())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("urn:oasis:names:tc:SAML:attribute:subject-id", "S-4711@hospital-brno.test"),
        ("urn:oasis:names:tc:SAML:attribute:pairwise-id", "P-4711@hospital-brno.test"),
        ("eduPersonPrincipalName", "N-4711@Hospital-Brno.test"),
    ],
)
def test_a_person_has_one_name_in_lower_case(lab: Lab, name: str, value: str) -> None:
    assert lab.login(attributes={name: (value,)}).principal.name == value.lower()


def test_the_names_of_a_person_make_up_for_a_display_name(lab: Lab) -> None:
    told = {
        EPPN: RADIOLOGIST[EPPN],
        "urn:oid:2.5.4.42": ("Test",),
        "urn:oid:2.5.4.4": ("Person",),
    }
    assert lab.login(attributes=told).principal.display == "Test Person"


def test_attributes_that_nobody_asked_for_do_no_harm(lab: Lab) -> None:
    def more(assertion: etree._Element) -> None:
        """A photograph, many groups, and a name inside a name as in eduPersonTargetedID."""
        statement = at(assertion, "saml:AttributeStatement")
        for name, values in (
            ("jpegPhoto", ["A" * 50_000]),
            ("memberOf", ["group"] * 500),
            ("targeted", [""]),
        ):
            attribute = add(statement, "saml:Attribute", Name=name)
            for value in values:
                add(attribute, "saml:AttributeValue", value)
        add(at(statement, "saml:Attribute[@Name='targeted']/saml:AttributeValue"), "saml:NameID", "x")

    person = lab.login(in_assertion=more).principal
    assert person.attributes == lab.login().principal.attributes


def test_values_that_cannot_be_right_are_dropped(lab: Lab) -> None:
    told = {EPPN: RADIOLOGIST[EPPN], "urn:oid:2.16.840.1.113730.3.1.241": ("x" * 3000, "Test", "")}
    assert lab.login(attributes=told).principal.values("displayName") == ("Test",)


def test_both_keys_of_this_site_are_read_while_they_change(own: Lab) -> None:
    folder = own.sp.keys.folder
    old = pair("prague")
    following = pair("prague-next")
    (folder / keys.NEXT).write_bytes(following.pem + following.certificate.encode())
    for recipient in (old, following):
        assert own.login(cipher="AES256_GCM", recipient=recipient).principal.name.startswith("radiologist@")
    keys.promote(folder)
    assert is_signed_query(own.begin()[0].url, following.certificate)
    for recipient in (old, following):
        assert own.login(cipher="AES256_GCM", recipient=recipient).principal.name.startswith("radiologist@")
    keys.retire(folder)
    own.login(cipher="AES256_GCM", recipient=following)
    with pytest.raises(LoginRefused, match="not encrypted for a key of this site"):
        own.login(cipher="AES256_GCM", recipient=old)


def test_both_keys_of_an_identity_provider_count_while_they_change(tmp_path: Path) -> None:
    old, new = pair("brno"), pair("brno-new")
    idp = Idp(published=(old, new))
    lab = Lab(tmp_path, idp)
    for key in (old, new):
        assert lab.login(idp=replace(idp, key=key)).principal.name.startswith("radiologist@")
    lab.believed.known[idp.entity] = replace(idp, published=(new,)).provider
    with pytest.raises(Unauthenticated, match="signature"):
        lab.login(idp=replace(idp, key=old))
    lab.close()


def test_a_site_can_insist_on_encryption(tmp_path: Path) -> None:
    lab = Lab(tmp_path, encrypted_only=True)
    assert lab.login(cipher="AES256_GCM").principal.name.startswith("radiologist@")
    with pytest.raises(LoginRefused, match="not encrypted"):
        lab.login()
    lab.close()


def alone(lab: Lab, **different: Any) -> bytes:
    """An assertion that a workstation brings for its user."""
    answer = lab.answer("", message_signed=False, **different).made()
    return etree.tostring(at(answer, "saml:Assertion"), with_tail=False)


def test_a_device_may_bring_an_assertion_for_its_user_once(lab: Lab) -> None:
    brought = alone(lab)
    entered = lab.logins.verify_assertion(brought, address="192.0.2.9")
    assert (entered.principal.name, entered.principal.address) == (
        "radiologist@hospital-brno.test",
        "192.0.2.9",
    )
    assert entered.until > time.time() * MICRO
    with pytest.raises(Replayed):
        lab.logins.verify_assertion(brought)


def test_a_device_may_be_let_bring_it_again_while_it_is_good(lab: Lab) -> None:
    brought = alone(lab)
    for _ in range(2):
        assert lab.logins.verify_assertion(brought, once=False).principal.name.startswith("radiologist@")


@pytest.mark.parametrize(
    "different",
    [
        {"assertion_signed": False},
        {"audience": "https://other.test/sp"},
        {"idp": Idp(key=pair("rogue"))},
        {"in_assertion": lambda one: at(one, ".//saml:SubjectConfirmationData").set("InResponseTo", "_r")},
        {"in_assertion": lambda one: at(one, ".//saml:SubjectConfirmationData").set("Recipient", ACS)},
        {"in_assertion": lambda one: at(one, ".//saml:SubjectConfirmationData").attrib.pop("NotOnOrAfter")},
        {
            "in_assertion": lambda one: at(one, ".//saml:SubjectConfirmationData").set(
                "NotOnOrAfter", "2099-01-01T00:00:00Z"
            )
        },
        {"attributes": {EPPN: ("director@hospital-prague.test",)}},
    ],
    ids=[
        "not signed",
        "for another service",
        "by another key",
        "in answer to a login",
        "for the web",
        "without an end",
        "good for decades",
        "of another hospital",
    ],
)
def test_a_device_cannot_bring_one_that_is(lab: Lab, different: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated):
        lab.logins.verify_assertion(alone(lab, **different))


def test_a_device_cannot_bring_one_of_nobody(lab: Lab) -> None:
    with pytest.raises(UnknownProvider):
        lab.logins.verify_assertion(alone(lab, idp=Idp(entity="https://nobody.test/idp")))


def test_a_message_is_no_assertion(lab: Lab) -> None:
    for brought in (etree.tostring(lab.answer("").made()), b"", b"<a/>"):
        with pytest.raises(LoginRefused):
            lab.logins.verify_assertion(brought)


def test_a_signature_over_something_else_does_not_cover_an_assertion(lab: Lab) -> None:
    def sign_again(assertion: etree._Element) -> None:
        sign(assertion, pair("rogue"))

    with pytest.raises(Unauthenticated):
        lab.logins.verify_assertion(alone(lab, sealed=sign_again))


def test_clocks_may_differ_by_three_minutes_and_not_by_more(lab: Lab) -> None:
    for behind in (-150, 150):
        assert lab.login(now=time.time() + behind).principal.name.startswith("radiologist@")
    for behind in (-240, 240):
        with pytest.raises(Expired):
            lab.login(now=time.time() + behind)
