"""Attacks: none gets in, none escapes as another error, none makes the node work before it is refused.

Each case has one defect and is freshly signed; beside it, the same answer without the defect is taken.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import pytest
from lxml import etree
from onelogin.saml2.utils import OneLogin_Saml2_Utils

from node.domain.errors import Replayed, Unauthenticated
from node.identity.saml import crypt, second, signature
from tests.support import saml_attacks
from tests.support.saml_attacks import Case, eppn_of
from tests.support.saml_lab import EPPN, RADIOLOGIST, Idp, Lab, at, pair, sign


@dataclass
class Work:
    """What the node has done for an answer."""

    verified: int = 0
    decrypted: int = 0
    opposed: int = 0
    """How often it was python3-saml that refused."""


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    """Counts signatures that are computed, and keys that are used."""
    done = Work()
    context, unwrapped, agree = signature.context, crypt._unwrapped, second.agree

    def verifying(pem: str) -> Any:
        done.verified += 1
        return context(pem)

    def decrypting(wrapped: etree._Element, key: Any) -> bytes:
        done.decrypted += 1
        return unwrapped(wrapped, key)

    def asking(*given: Any, **named: Any) -> None:
        done.opposed += 1
        agree(*given, **named)
        done.opposed -= 1

    monkeypatch.setattr(signature, "context", verifying)
    monkeypatch.setattr(second, "agree", asking)
    monkeypatch.setattr(crypt, "_unwrapped", decrypting)
    return done


@pytest.mark.parametrize("case", saml_attacks.ALL, ids=lambda case: case.name)
def test_an_answer_with_one_defect_is_refused(lab: Lab, work: Work, case: Case) -> None:
    assert lab.login(**case.control).principal.name == "radiologist@hospital-brno.test"
    assert work.verified
    work.verified = work.decrypted = 0
    with pytest.raises(Unauthenticated):
        lab.login(**{**case.control, **case.defect}, bytes_of=_on_the_way(case))
    assert not work.opposed, "it was python3-saml that refused it"
    assert not (case.unseen and work.verified), "it was verified before it was refused"
    assert not ((case.unseen or case.sealed) and work.decrypted), "it was decrypted before it was refused"


def test_the_cases_have_different_names() -> None:
    names = [case.name for case in saml_attacks.ALL]
    assert len(names) == len(set(names)) > 140


def test_an_assertion_is_taken_once_whatever_message_it_comes_in(lab: Lab) -> None:
    lab.login(in_assertion=lambda one: one.set("ID", "_again"))
    with pytest.raises(Replayed):
        lab.login(in_assertion=lambda one: one.set("ID", "_again"))


def test_nothing_that_was_refused_counts_as_taken(lab: Lab) -> None:
    with pytest.raises(Unauthenticated):
        lab.login(in_assertion=lambda one: one.set("ID", "_first"), attributes={})
    assert lab.login(in_assertion=lambda one: one.set("ID", "_first")).principal.name.startswith(
        "radiologist"
    )


def test_a_name_in_sections_of_characters_is_read_whole(lab: Lab) -> None:
    def split(encoded: str) -> str:
        data = base64.b64decode(encoded)
        changed = data.replace(b">radiologist@", b"><![CDATA[radiologist]]>@")
        assert changed != data
        return base64.b64encode(changed).decode()

    entered = lab.login(message_signed=False, bytes_of=split)
    assert entered.principal.name == "radiologist@hospital-brno.test"


def test_a_name_in_sections_of_characters_is_read_whole_when_it_was_encrypted(lab: Lab) -> None:
    def split(assertion: etree._Element) -> None:
        eppn_of(assertion).text = etree.CDATA("radiologist@hospital-brno.test")

    entered = lab.login(message_signed=False, cipher="AES256_GCM", sealed=split)
    assert entered.principal.name == "radiologist@hospital-brno.test"


def test_what_others_may_say_is_dropped(lab: Lab) -> None:
    told = {
        EPPN: RADIOLOGIST[EPPN],
        "urn:oid:1.3.6.1.4.1.5923.1.1.1.9": ("employee@hospital-brno.test", "head@hospital-prague.test"),
        "urn:oid:1.3.6.1.4.1.25178.1.2.9": ("hospital-prague.test",),
        "urn:oid:9.9.9": ("whatever",),
    }
    person = lab.login(attributes=told).principal
    assert person.values("eduPersonScopedAffiliation") == ("employee@hospital-brno.test",)
    assert person.values("schacHomeOrganization") == ()
    assert [name for name, _ in person.attributes] == ["eduPersonPrincipalName", "eduPersonScopedAffiliation"]


def test_python3_saml_verifies_as_the_node_does() -> None:
    element = etree.fromstring(
        f'<a:Assertion xmlns:a="{saml_attacks.SAML}" ID="_1"><a:Issuer>x</a:Issuer></a:Assertion>'
    )
    sign(element, pair("rogue"))
    made = at(element, "ds:Signature")
    rogue = pair("rogue").certificate
    fingerprint = OneLogin_Saml2_Utils.calculate_x509_fingerprint(rogue, "sha256")
    verify = OneLogin_Saml2_Utils.validate_node_sign
    assert verify is second.OneLogin_Saml2_Utils.validate_node_sign
    assert verify(made, element, rogue)
    assert not verify(made, element, pair("brno").certificate)
    assert not verify(made, element, None, fingerprint, "sha256"), "the certificate came with the message"


def test_where_both_opinions_differ_nobody_gets_in(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second._Response, "get_assertion_id", lambda self: "another")
    with pytest.raises(Unauthenticated):
        lab.login()


def test_whatever_python3_saml_raises_is_a_refusal(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: object) -> None:
        raise MemoryError

    monkeypatch.setattr(second, "_settings", fail)
    with pytest.raises(Unauthenticated):
        lab.login()


def test_a_provider_with_a_weak_key_lets_nobody_in(tmp_path: Any) -> None:
    lab = Lab(tmp_path, Idp(key=pair("weak", "weak")))
    with pytest.raises(Unauthenticated):
        lab.login()
    lab.close()


def _on_the_way(case: Case) -> Any:
    if case.raw is None:
        return None
    change = case.raw
    return lambda encoded: base64.b64encode(change(base64.b64decode(encoded))).decode()
