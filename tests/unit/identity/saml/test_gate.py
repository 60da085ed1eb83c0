"""The gate: whatever comes, the answer is a refusal or a message, and never another error."""

from __future__ import annotations

import base64
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from node.domain.errors import LoginRefused, Unauthenticated
from node.identity.saml import crypt, gate
from node.identity.saml.answers import Asked, read_answer
from node.identity.saml.claims import moment
from node.identity.saml.names import RESPONSE
from tests.support.saml_attacks import (
    CRYPTOGRAPHY,
    DIRECTOR,
    EXHAUSTION,
    WRAPPING,
    Case,
    eppn_of,
    with_text,
)
from tests.support.saml_lab import BROWSER, Lab, at

BEHIND = ("11 AES-CBC in a message that is not signed",)
"""Whether that may be read is known when it is to be decrypted."""
QUIET = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


@pytest.mark.parametrize(
    "case",
    [
        one
        for one in (*WRAPPING, *CRYPTOGRAPHY, *EXHAUSTION)
        if one.unseen and one.raw is None and one.name not in BEHIND
    ],
    ids=lambda case: case.name,
)
def test_what_is_out_of_place_does_not_pass_the_gate(lab: Lab, case: Case) -> None:
    """The gate alone refuses it, whatever is checked behind it."""
    good = lab.answer("_r", **case.control).made()
    bad = lab.answer("_r", **{**case.control, **case.defect}).made()
    assert gate.read(etree.tostring(good), {RESPONSE}).tag == RESPONSE
    with pytest.raises(Unauthenticated):
        gate.read(etree.tostring(bad), {RESPONSE})


@QUIET
@given(st.binary(max_size=300))
def test_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(Unauthenticated):
        gate.read(data, {RESPONSE})


@QUIET
@given(st.text(max_size=200))
def test_texts_are_refused_or_decoded(text: str) -> None:
    with suppress(LoginRefused):
        gate.decoded(text)
    with suppress(LoginRefused):
        moment(text)


@QUIET
@given(data=st.data())
def test_an_answer_that_was_damaged_on_the_way_is_refused(lab: Lab, data: st.DataObject) -> None:
    """Bytes are changed anywhere, in an answer that is signed or also encrypted."""
    options: dict[str, Any] = data.draw(st.sampled_from([{}, {"cipher": "AES256_GCM"}]))
    begun, request = lab.begin()
    whole = bytearray(base64.b64decode(lab.answer(request, **options).encoded()))
    place = data.draw(st.integers(0, len(whole) - 1))
    before = whole[place]
    whole[place] = data.draw(st.integers(0, 255).filter(lambda value: value != before))
    try:
        entered = lab.logins.finish(base64.b64encode(whole).decode(), begun.token, browser=BROWSER)
    except Unauthenticated:
        return
    assert entered.principal.name == "radiologist@hospital-brno.test"


@QUIET
@given(data=st.data())
def test_an_answer_whose_elements_were_moved_is_refused(lab: Lab, data: st.DataObject) -> None:
    begun, request = lab.begin()
    root = lab.answer(request, message_signed=data.draw(st.booleans())).made()
    elements = list(root.iter())[1:]
    moved, place = data.draw(st.sampled_from(elements)), data.draw(st.sampled_from(elements))
    if moved in place.iterancestors() or moved is place:
        return
    place.insert(0, moved)
    encoded = base64.b64encode(etree.tostring(root)).decode()
    with suppress(Unauthenticated):
        entered = lab.logins.finish(encoded, begun.token, browser=BROWSER)
        assert entered.principal.name == "radiologist@hospital-brno.test"


@QUIET
@given(st.binary(max_size=200))
def test_what_was_encrypted_may_be_anything(data: bytes) -> None:
    holder = etree.fromstring('<a:b xmlns:a="urn:a" xmlns="urn:c?a&amp;b"/>')
    with pytest.raises(Unauthenticated):
        gate.read_within(data, holder, {RESPONSE})


@QUIET
@given(st.binary(max_size=80), st.sampled_from([16, 24, 32]))
def test_a_cipher_text_may_be_anything(data: bytes, size: int) -> None:
    assert crypt._opened_gcm(data, b"k" * size) is None
    opened = crypt._opened_cbc(data, b"k" * size)
    assert opened is None or len(opened) < len(data)


def test_an_answer_is_read_the_same_with_line_breaks(lab: Lab) -> None:
    begun, request = lab.begin()
    encoded = lab.answer(request).encoded()
    lines = "\r\n".join(encoded[place : place + 76] for place in range(0, len(encoded), 76))
    assert lab.finish(begun, lines).principal.name == "radiologist@hospital-brno.test"


@pytest.mark.parametrize("text", ["YWJj*", "YWJj=YWJj", "YQ", "é", "YWJj\0"])
def test_what_is_not_base64_is_refused(text: str) -> None:
    with pytest.raises(LoginRefused, match="base64"):
        gate.decoded(text)


def test_a_message_has_a_limit_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "base64", None)
    with pytest.raises(LoginRefused, match="longer"):
        gate.decoded("A" * (gate.MAX_ENCODED + 1))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:01Z", 1_000_000),
        ("1970-01-01T00:00:01.5Z", 1_500_000),
        ("1970-01-01T00:00:01.1234567Z", 1_123_456),
    ],
)
def test_times_are_read_as_identity_providers_write_them(text: str, expected: int) -> None:
    assert moment(text) == expected


def test_an_answer_without_a_certificate_is_as_good(lab: Lab) -> None:
    """The key comes from metadata."""
    root = lab.answer("_r", assertion_signed=False).made()
    signature = at(root, "ds:Signature")
    signature.remove(at(signature, "ds:KeyInfo"))
    encoded = base64.b64encode(etree.tostring(root)).decode()
    asked = Asked(provider=lab.idp.provider, request="_r", begun_at=0)
    assert read_answer(encoded, asked, lab.sp, time.time_ns() // 1000).id


@pytest.mark.parametrize("order", ["xmlsec, lxml.etree", "lxml.etree, xmlsec"])
def test_both_libraries_of_xml_fit_together(order: str) -> None:
    """Each brings its own libxml2, and both have to be of one kind: setup.cfg pins what fits."""
    check = f"import {order}, onelogin.saml2.response; xmlsec.tree.add_ids(lxml.etree.Element('a'), ['ID'])"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_several_people_log_in_at_the_same_time(lab: Lab) -> None:
    def log_in(number: int) -> str:
        if number % 2:
            return lab.login(cipher="AES256_GCM").principal.name
        try:
            return lab.login(after=lambda one: with_text(".", DIRECTOR)(eppn_of(one))).principal.name
        except Unauthenticated:
            return "refused"

    with ThreadPoolExecutor(4) as pool:
        names = list(pool.map(log_in, range(16)))
    assert names == ["refused", "radiologist@hospital-brno.test"] * 8
