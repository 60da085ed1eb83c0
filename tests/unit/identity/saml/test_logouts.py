"""Logging out: what this site sends, and what it believes of what identity providers send."""

from __future__ import annotations

import base64
import json
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote_plus, urlsplit

import pytest
import xmlsec
from cryptography.hazmat.primitives import hashes
from lxml import etree

from node.domain.errors import BadSignature, Expired, LoginRefused, Replayed, Unauthenticated, UnknownProvider
from node.identity.providers.descriptor import POST, REDIRECT
from node.identity.saml import gate
from node.identity.saml.logout import LogoutHeard
from tests.support.saml_lab import (
    BASE,
    ENTITY,
    NS,
    PRAGUE_IDP,
    SAML,
    SAMLP,
    Change,
    Idp,
    Lab,
    Pair,
    add,
    at,
    encoded,
    instant,
    is_signed_query,
    message_in,
    pair,
    redirected,
    sign,
    unique,
)

SLO = BASE + "/saml/slo"
RSA = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"


def asked(idp: Idp, change: Change | None = None, *, name: str = "_transient-4711") -> etree._Element:
    """A request of an identity provider to end a session."""
    request = etree.Element(f"{{{SAMLP}}}LogoutRequest", nsmap={"samlp": SAMLP, "saml": SAML})
    for attribute, value in (
        ("ID", unique()),
        ("Version", "2.0"),
        ("IssueInstant", instant(time.time())),
        ("Destination", SLO),
        ("NotOnOrAfter", instant(time.time() + 300)),
    ):
        request.set(attribute, value)
    add(request, "saml:Issuer", idp.entity)
    add(request, "saml:NameID", name)
    add(request, "samlp:SessionIndex", "_session-1")
    if change:
        change(request)
    return request


def answered(idp: Idp, request: str, change: Change | None = None) -> etree._Element:
    """An answer of an identity provider to our request."""
    answer = etree.Element(f"{{{SAMLP}}}LogoutResponse", nsmap={"samlp": SAMLP, "saml": SAML})
    for attribute, value in (
        ("ID", unique()),
        ("Version", "2.0"),
        ("IssueInstant", instant(time.time())),
        ("Destination", SLO),
        ("InResponseTo", request),
    ):
        answer.set(attribute, value)
    add(answer, "saml:Issuer", idp.entity)
    add(add(answer, "samlp:Status"), "samlp:StatusCode", Value="urn:oasis:names:tc:SAML:2.0:status:Success")
    if change:
        change(answer)
    return answer


def by_redirect(lab: Lab, message: etree._Element, key: Pair | None = None, **options: Any) -> LogoutHeard:
    return lab.logins.hear_logout(redirected(message, key or lab.idp.key, **options), REDIRECT)


def by_form(lab: Lab, message: etree._Element, key: Pair | None = None, relay: str = "") -> LogoutHeard:
    sign(message, key or lab.idp.key)
    field = "SAMLResponse" if message.tag.endswith("Response") else "SAMLRequest"
    return lab.logins.hear_logout({field: encoded(message), "RelayState": relay}, POST)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path, PRAGUE_IDP, Idp())
    yield made
    made.close()


def test_the_identity_provider_is_told_who_leaves(lab: Lab) -> None:
    entered = lab.login()
    url = lab.logins.leave(entered.leaving)
    assert url is not None and url.startswith("https://idp.hospital-brno.test/slo?SAMLRequest=")
    request = message_in(url)
    assert request.findtext("saml:Issuer", namespaces=NS) == ENTITY
    assert at(request, "saml:NameID").text == entered.name_id
    assert at(request, "saml:NameID").get("SPNameQualifier") == ENTITY
    assert at(request, "samlp:SessionIndex").text == entered.session_index
    assert is_signed_query(url, lab.sp.keys.current().certificate.pem)


@pytest.mark.parametrize(
    "kept", ["", "nothing", "[]", '{"issuer": "https://nobody.test/idp", "name_id": "x"}']
)
def test_who_came_in_otherwise_has_nowhere_to_go(lab: Lab, kept: str) -> None:
    assert lab.logins.leave(kept) is None


def test_an_identity_provider_without_such_an_address_is_not_told(own: Lab) -> None:
    kept = json.dumps({"issuer": PRAGUE_IDP.entity, "name_id": "x"})
    assert own.logins.leave(kept) is None


@pytest.mark.parametrize("bring", [by_redirect, by_form])
def test_the_answer_to_a_logout_is_taken_once(lab: Lab, bring: Any) -> None:
    url = lab.logins.leave(lab.login().leaving)
    assert url is not None
    relay, request = parse_qs(urlsplit(url).query)["RelayState"][0], message_in(url).get("ID", "")
    heard = bring(lab, answered(lab.idp, request), relay=relay)
    assert (heard.asked, heard.complete, heard.answer_url) == (False, True, "")
    with pytest.raises(LoginRefused, match="nobody has begun a logout"):
        bring(lab, answered(lab.idp, request), relay=relay)


def test_an_identity_provider_may_have_logged_out_only_in_part(lab: Lab) -> None:
    def partial(answer: etree._Element) -> None:
        code = at(answer, "samlp:Status/samlp:StatusCode")
        add(code, "samlp:StatusCode", Value="urn:oasis:names:tc:SAML:2.0:status:PartialLogout")

    url = lab.logins.leave(lab.login().leaving)
    assert url is not None
    relay, request = parse_qs(urlsplit(url).query)["RelayState"][0], message_in(url).get("ID", "")
    assert not by_redirect(lab, answered(lab.idp, request, partial), relay=relay).complete


def test_an_answer_to_another_request_is_refused(lab: Lab) -> None:
    url = lab.logins.leave(lab.login().leaving)
    assert url is not None
    relay = parse_qs(urlsplit(url).query)["RelayState"][0]
    with pytest.raises(LoginRefused, match="nobody has begun a logout"):
        by_redirect(lab, answered(lab.idp, "_another"), relay=relay)


def test_a_login_is_not_ended_by_the_answer_to_a_logout(lab: Lab) -> None:
    begun, request = lab.begin()
    with pytest.raises(LoginRefused):
        by_redirect(lab, answered(lab.idp, request), relay=begun.token)
    assert lab.finish(begun, lab.answer(request).encoded()).principal.name.startswith("radiologist@")


@pytest.mark.parametrize("bring", [by_redirect, by_form])
def test_an_identity_provider_ends_a_session_and_gets_an_answer(lab: Lab, bring: Any) -> None:
    request = asked(lab.idp)
    heard = bring(lab, request, relay="what it wants back")
    assert (heard.asked, heard.provider.entity) == (True, lab.idp.entity)
    assert (heard.name_id, heard.session_index) == ("_transient-4711", "_session-1")
    assert heard.answer_form is None
    answer = message_in(heard.answer_url)
    assert answer.get("InResponseTo") == request.get("ID")
    assert answer.get("Destination") == lab.idp.slo[0][1]
    assert parse_qs(urlsplit(heard.answer_url).query)["RelayState"] == ["what it wants back"]
    assert is_signed_query(heard.answer_url, lab.sp.keys.current().certificate.pem)


def test_an_identity_provider_that_only_takes_forms_gets_its_answer_so(own: Lab) -> None:
    heard = by_form(own, asked(PRAGUE_IDP))
    assert heard.answer_url == "" and heard.answer_form is not None
    assert heard.answer_form.action == "https://idp.hospital-prague.test/slo/answer"
    answer = etree.fromstring(base64.b64decode(dict(heard.answer_form.fields)["SAMLResponse"]))
    assert answer.find("ds:Signature", NS) is not None


def test_a_request_without_sessions_means_all_of_them(lab: Lab) -> None:
    heard = by_redirect(lab, asked(lab.idp, lambda one: one.remove(at(one, "samlp:SessionIndex"))))
    assert heard.session_indexes == () and heard.session_index == ""


@pytest.mark.parametrize("bring", [by_redirect, by_form])
def test_a_request_is_taken_once(lab: Lab, bring: Any) -> None:
    same = unique()
    bring(lab, asked(lab.idp, lambda one: one.set("ID", same)))
    with pytest.raises(Replayed):
        bring(lab, asked(lab.idp, lambda one: one.set("ID", same)))


LATE = instant(time.time() - 900)
DEFECTS: dict[str, Change] = {
    "sent elsewhere": lambda one: one.set("Destination", SLO + "/x"),
    "sent nowhere": lambda one: one.attrib.pop("Destination"),
    "over": lambda one: one.set("NotOnOrAfter", LATE),
    "old": lambda one: one.set("IssueInstant", LATE),
    "from the future": lambda one: one.set("IssueInstant", instant(time.time() + 900)),
    "without a time": lambda one: one.attrib.pop("IssueInstant"),
    "of SAML 1.1": lambda one: one.set("Version", "1.1"),
    "without an ID": lambda one: one.attrib.pop("ID"),
    "about nobody": lambda one: one.remove(at(one, "saml:NameID")),
    "about nobody in particular": lambda one: at(one, "saml:NameID").__setattr__("text", " "),
    "about two people": lambda one: add(one, "saml:NameID", "another"),
    "with elements in the name": lambda one: add(at(one, "saml:NameID"), "saml:NameID", "another"),
    "about very many sessions": lambda one: [add(one, "samlp:SessionIndex", "x") for _ in range(60)],
    "of an issuer of another kind": lambda one: at(one, "saml:Issuer").set("Format", "urn:x"),
    "with a comment": lambda one: one.append(etree.Comment("x")),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_request_is_refused_that_is(lab: Lab, name: str) -> None:
    assert by_redirect(lab, asked(lab.idp)).asked
    with pytest.raises(Unauthenticated):
        by_redirect(lab, asked(lab.idp, DEFECTS[name]))


@pytest.mark.parametrize("bring", [by_redirect, by_form])
def test_a_request_counts_only_if_the_identity_provider_signed_it(lab: Lab, bring: Any) -> None:
    with pytest.raises(BadSignature):
        bring(lab, asked(lab.idp), pair("rogue"))
    with pytest.raises(UnknownProvider):
        bring(lab, asked(Idp(entity="https://nobody.test/idp")), lab.idp.key)
    with pytest.raises(BadSignature):
        bring(lab, asked(PRAGUE_IDP), lab.idp.key)


def test_a_request_that_is_not_signed_is_refused(lab: Lab) -> None:
    query = redirected(asked(lab.idp), lab.idp.key)
    message = query.partition("&")[0]
    for sent in (
        message,
        f"{message}&SigAlg={quote_plus(RSA)}",
        f"{message}&SigAlg={quote_plus(RSA)}&Signature=",
    ):
        with pytest.raises(BadSignature, match="is not signed"):
            lab.logins.hear_logout(sent, REDIRECT)
    with pytest.raises(Unauthenticated):
        lab.logins.hear_logout({"SAMLRequest": encoded(asked(lab.idp))}, POST)


def test_a_signature_inside_does_not_make_up_for_that_of_the_query(lab: Lab) -> None:
    request = asked(lab.idp)
    sign(request, lab.idp.key)
    with pytest.raises(BadSignature):
        by_redirect(lab, request, pair("rogue"))


@pytest.mark.parametrize(
    ("method", "signing"),
    [
        ("http://www.w3.org/2000/09/xmldsig#rsa-sha1", hashes.SHA1()),
        ("http://www.w3.org/2001/04/xmldsig-more#rsa-md5", hashes.MD5()),
        ("http://www.w3.org/2001/04/xmldsig-more#rsa-sha224", hashes.SHA224()),
        ("http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256", hashes.SHA256()),
        ("", hashes.SHA256()),
    ],
)
def test_a_query_that_is_signed_weakly_is_refused(lab: Lab, method: str, signing: Any) -> None:
    with pytest.raises(BadSignature):
        by_redirect(lab, asked(lab.idp), method=method, signing=signing)


def test_what_the_query_carries_back_is_signed_too(lab: Lab) -> None:
    query = redirected(asked(lab.idp), lab.idp.key, relay="right")
    with pytest.raises(BadSignature):
        lab.logins.hear_logout(query.replace("RelayState=right", "RelayState=wrong"), REDIRECT)


def test_the_order_of_a_query_does_not_matter(lab: Lab) -> None:
    parts = redirected(asked(lab.idp), lab.idp.key, relay="right").split("&")
    assert lab.logins.hear_logout("&".join([*reversed(parts), "other=1"]), REDIRECT).asked


def test_a_parameter_that_is_there_twice_is_refused(lab: Lab) -> None:
    query = redirected(asked(lab.idp), lab.idp.key)
    with pytest.raises(LoginRefused, match="twice"):
        lab.logins.hear_logout(query + "&" + query, REDIRECT)


@pytest.mark.parametrize(
    "sent", ["", "a=b", "SAMLRequest=", "SAMLRequest=x&SAMLResponse=y", "SAMLRequest=%%"]
)
def test_what_is_no_message_is_refused(lab: Lab, sent: str) -> None:
    with pytest.raises(LoginRefused):
        lab.logins.hear_logout(sent, REDIRECT)
    with pytest.raises(LoginRefused):
        lab.logins.hear_logout({name: value[0] for name, value in parse_qs(sent).items()}, POST)


def test_a_message_belongs_to_its_binding(lab: Lab) -> None:
    query = redirected(asked(lab.idp), lab.idp.key)
    for sent, binding in ((query, POST), ({"SAMLRequest": "x"}, REDIRECT), (query, "urn:x")):
        with pytest.raises(LoginRefused):
            lab.logins.hear_logout(sent, binding)  # type: ignore[arg-type]


def test_a_message_under_the_wrong_name_is_refused(lab: Lab) -> None:
    query = redirected(asked(lab.idp), lab.idp.key)
    with pytest.raises(LoginRefused):
        lab.logins.hear_logout(query.replace("SAMLRequest", "SAMLResponse"), REDIRECT)


def test_what_grows_when_it_is_unpacked_is_refused_before_it_has_grown() -> None:
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = engine.compress(b"<a>" + b" " * (20 << 20)) + engine.flush()
    assert len(bomb) < 80_000
    with pytest.raises(LoginRefused, match="longer than"):
        gate.inflated(bomb)


@pytest.mark.parametrize("data", [b"", b"\xff\xff", b"\x03\x00 and more"])
def test_what_is_not_packed_is_refused(data: bytes) -> None:
    with pytest.raises(LoginRefused):
        gate.inflated(data)


def test_a_request_may_name_the_person_encrypted(lab: Lab) -> None:
    request = asked(lab.idp)
    name = at(request, "saml:NameID")
    manager = xmlsec.KeysManager()
    manager.add_key(xmlsec.Key.from_memory(pair("prague").certificate, xmlsec.KeyFormat.CERT_PEM, None))
    engine = xmlsec.EncryptionContext(manager)
    engine.key = xmlsec.Key.generate(xmlsec.KeyData.AES, 256, xmlsec.KeyDataType.SESSION)
    data = xmlsec.template.encrypted_data_create(
        request, xmlsec.Transform.AES256_GCM, type=xmlsec.EncryptionType.ELEMENT, ns="xenc"
    )
    xmlsec.template.encrypted_data_ensure_cipher_value(data)
    info = xmlsec.template.encrypted_data_ensure_key_info(data, ns="ds")
    wrapped = xmlsec.template.add_encrypted_key(info, xmlsec.Transform.RSA_OAEP)
    xmlsec.template.encrypted_data_ensure_cipher_value(wrapped)
    held = etree.Element(f"{{{SAML}}}EncryptedID")
    name.addprevious(held)
    held.append(engine.encrypt_xml(data, name))
    assert by_redirect(lab, request).name_id == "_transient-4711"


def test_a_request_that_is_late_by_the_clock_says_so(lab: Lab) -> None:
    with pytest.raises(Expired):
        by_redirect(lab, asked(lab.idp, DEFECTS["over"]))
