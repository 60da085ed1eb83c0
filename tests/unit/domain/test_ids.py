"""Identifiers are checked once, where they enter."""

from __future__ import annotations

import re
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import RE_VALID_UID, generate_uid

from node.domain.errors import MalformedIdentifier
from node.domain.ids import UID, AETitle, Digest, InstanceUID, SiteId, StudyUID

KINDS = (UID, StudyUID, InstanceUID, AETitle, SiteId, Digest)


@given(st.from_regex(r"[0-9]{1,20}(\.[0-9]{1,10}){0,8}", fullmatch=True))
def test_a_uid_is_up_to_64_digits_and_dots(text):
    if len(text) <= 64:
        assert UID(text) == text
    else:
        with pytest.raises(MalformedIdentifier):
            UID(text)


@given(st.binary(max_size=8))
def test_every_generated_uid_is_one(entropy):
    assert UID(generate_uid(entropy_srcs=[entropy.hex()]))


@pytest.mark.parametrize("text", ["1.2.03", "01", "0.0"])
def test_leading_zeros_of_modalities_are_tolerated(text):
    assert UID(text) == text


@pytest.mark.parametrize(
    "text", ["", ".", "1.", ".1", "1..2", "1.a", " 1.2", "1.2\n", "1.2\0", "1" * 65, "\u0661.\u0662"]
)
def test_what_is_no_uid_is_refused(text):
    with pytest.raises(MalformedIdentifier, match="Study Instance UID"):
        StudyUID(text)


@given(st.text(max_size=70))
def test_whatever_the_standard_calls_a_uid_is_one_here(text):
    try:
        UID(text)
        taken = True
    except MalformedIdentifier:
        taken = False
    if len(text) <= 64 and text.isascii() and re.fullmatch(RE_VALID_UID, text):
        assert taken


@pytest.mark.parametrize("text", ["A", "CT 1", "STORE-SCP", "x" * 16, "a.b,c[d]"])
def test_an_ae_title_is_up_to_16_printable_characters(text):
    assert AETitle(text) == text


@pytest.mark.parametrize("text", ["", " ", " A", "A ", "x" * 17, "A\\B", "Ž", "A\n", "A\0"])
def test_what_is_no_ae_title_is_refused(text):
    with pytest.raises(MalformedIdentifier, match="AE title"):
        AETitle(text)


@pytest.mark.parametrize("text", ["brno", "u-hradiste", "a1", "a" * 32])
def test_a_site_name_is_one_label_of_a_host_name(text):
    assert SiteId(text) == text


@pytest.mark.parametrize("text", ["", "a", "Brno", "1brno", "brno-", "a" * 33, "br no", "../x"])
def test_what_is_no_site_name_is_refused(text):
    with pytest.raises(MalformedIdentifier, match="site name"):
        SiteId(text)


@given(st.binary(max_size=4))
def test_a_digest_is_64_hexadecimal_digits(content):
    digest = sha256(content).hexdigest()
    assert Digest(digest) == digest
    for bad in (
        digest[1:],
        digest + "0",
        digest.upper() if digest.upper() != digest else "",
        f"../{digest[3:]}",
    ):
        with pytest.raises(MalformedIdentifier):
            Digest(bad)


@given(st.sampled_from(KINDS), st.text())
def test_the_message_never_repeats_what_was_sent(kind, text):
    try:
        kind(text)
    except MalformedIdentifier as error:
        assert str(error) == f"This is not a valid {kind.what}."
