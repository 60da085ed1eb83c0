"""Metadata are believed if they are signed with a pinned key and hold now; each flaw by itself is enough."""

from __future__ import annotations

import io
import json

import pytest
from lxml import etree

from node.catalog.providers import FOREVER, ProviderRow
from node.domain.alert import DAY, SECOND
from node.domain.errors import BadSignature, Malformed, MalformedMetadata
from node.identity.providers.aggregate import Head, Tail, Wanted, as_line, from_line, is_signed, main, read
from node.identity.providers.descriptor import Provider
from node.identity.providers.discovery import provider_of
from tests.support.metadata_lab import BRNO_IDP, NOW, PRAGUE_IDP, aggregate, inner, key_of, one, signed

FEDERATION = key_of("federation")
IDP = key_of("idp-brno").certificate
MDUI = "{urn:oasis:names:tc:SAML:metadata:ui}"


def wanted(kind: str = "aggregate", **what) -> Wanted:
    return Wanted(**{"kind": kind, "pins": (FEDERATION.certificate.pem,), "now": NOW, **what})


def told(document: bytes, what: Wanted | None = None) -> dict[str, Provider]:
    parts = list(read(document, what or wanted()))
    return {part.entity: provider_of(part) for part in parts if isinstance(part, ProviderRow)}


def tail(document: bytes, what: Wanted | None = None) -> Tail:
    last = list(read(document, what or wanted()))[-1]
    assert isinstance(last, Tail)
    return last


def test_a_signed_aggregate_is_believed():
    entities = [inner(), inner(PRAGUE_IDP, names={"en": "Prague Hospital"})]
    head, brno, prague, end = read(signed(aggregate(entities, published=NOW - SECOND), FEDERATION), wanted())
    assert head == Head(valid_until=NOW + 10 * DAY, published=NOW - SECOND)
    assert (brno.entity, brno.ends, prague.entity) == (BRNO_IDP, FOREVER, PRAGUE_IDP)
    assert end == Tail(read=2, skipped=0, notes=())


def test_what_is_read_of_an_identity_provider():
    attributes = {
        "http://macedir.org/entity-category-support": ["http://refeds.org/category/research-and-scholarship"],
        "http://macedir.org/entity-category": ["http://refeds.org/category/hide-from-discovery"],
        "urn:oasis:names:tc:SAML:attribute:assurance-certification": ["https://refeds.org/sirtfi"],
    }
    (found,) = told(signed(aggregate([inner(attributes=attributes)]), FEDERATION)).values()
    assert found.names == (("cs", "Nemocnice Brno"), ("en", "Brno Hospital"))
    assert found.sso == (("urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect", BRNO_IDP + "/sso"),)
    assert found.slo == (("urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect", BRNO_IDP + "/slo", ""),)
    assert found.certificates == (IDP.pem,)
    assert found.scopes == (("hospital-brno.test", False),)
    assert found.contact == "help@hospital-brno.test"
    assert found.hidden
    assert "http://refeds.org/category/research-and-scholarship" in found.categories
    assert found.assurance == ("https://refeds.org/sirtfi",)
    assert not found.demonstration


def test_a_pin_may_be_the_fingerprint_of_the_certificate_in_the_signature():
    document = signed(aggregate([inner()]), FEDERATION)
    assert told(document, wanted(pins=(FEDERATION.certificate.fingerprint,)))
    with pytest.raises(BadSignature, match="not signed with a key that was pinned"):
        told(document, wanted(pins=(key_of("other").certificate.fingerprint,)))


def test_several_pins_let_a_federation_change_its_key():
    both = wanted(pins=(key_of("other").certificate.pem, FEDERATION.certificate.pem))
    assert told(signed(aggregate([inner()]), FEDERATION), both)
    assert told(signed(aggregate([inner()]), key_of("other")), both)


def _moved(document: bytes) -> bytes:
    """The signature, over an inner group that stays as it was, with an outer one that lies."""
    root = etree.fromstring(document)
    outer = etree.fromstring(aggregate([inner("https://evil.test/")]).encode())
    signature = root[0]
    root.remove(signature)
    outer.append(root)
    outer.insert(0, signature)
    return etree.tostring(outer)


def _twice(document: bytes) -> bytes:
    """Another element with the same ID as the whole."""
    root = etree.fromstring(document)
    root[-1].set("ID", root.get("ID", ""))
    return etree.tostring(root)


def _transformed(document: bytes) -> bytes:
    """One transform more than is allowed."""
    root = etree.fromstring(document)
    transforms = root.find(".//{*}Transforms")
    etree.SubElement(transforms, transforms[0].tag, Algorithm="http://www.w3.org/TR/1999/REC-xslt-19991116")
    return etree.tostring(root)


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(aggregate([inner()]).encode(), id="not signed"),
        pytest.param(signed(aggregate([inner()]), key_of("other")), id="signed with another key"),
        pytest.param(
            signed(aggregate([inner()]), FEDERATION).replace(b"Brno Hospital", b"Evil Hospital"), id="changed"
        ),
        pytest.param(signed(aggregate([inner()]), FEDERATION, method="RSA_SHA1"), id="signed with SHA-1"),
        pytest.param(signed(aggregate([inner()]), FEDERATION, digest="SHA1"), id="digested with SHA-1"),
        pytest.param(signed(aggregate([inner()]), FEDERATION, uri=""), id="refers to nothing by ID"),
        pytest.param(_moved(signed(aggregate([inner()]), FEDERATION)), id="signature of an inner group"),
        pytest.param(_twice(signed(aggregate([inner()]), FEDERATION)), id="the ID is there twice"),
        pytest.param(_transformed(signed(aggregate([inner()]), FEDERATION)), id="transformed"),
    ],
)
def test_an_aggregate_is_not_believed_if_its_signature_has_a_flaw(document):
    with pytest.raises(BadSignature):
        told(document)


def test_a_key_that_is_too_weak_signs_nothing():
    weak = key_of("weak", 1024)
    with pytest.raises(Malformed):
        told(signed(aggregate([inner()]), weak), wanted(pins=(weak.certificate.pem,)))
    with pytest.raises(BadSignature):
        told(signed(aggregate([inner()]), weak), wanted(pins=(weak.certificate.fingerprint,)))


@pytest.mark.parametrize(
    ("until", "why"),
    [
        (None, "does not say until when"),
        (NOW - 1, "has ended"),
        (NOW, "has ended"),
        (NOW + 30 * DAY + SECOND, "more than 30 days"),
    ],
)
def test_an_aggregate_has_to_end_within_thirty_days(until, why):
    with pytest.raises(MalformedMetadata) as refused:
        told(signed(aggregate([inner()], until=until), FEDERATION))
    assert why in refused.value.args[0]
    assert told(signed(aggregate([inner()], until=NOW + 30 * DAY), FEDERATION))


def test_an_entity_may_end_before_its_aggregate_does():
    document = signed(aggregate([inner(until=NOW - 1), inner(PRAGUE_IDP, until=NOW + DAY)]), FEDERATION)
    (row,) = [part for part in read(document, wanted()) if isinstance(part, ProviderRow)]
    assert (row.entity, row.ends) == (PRAGUE_IDP, NOW + DAY)
    assert tail(document).notes == (f"{BRNO_IDP}: it has ended",)


def test_groups_inside_of_groups_are_read_and_end_what_is_in_them():
    group = aggregate([inner()], until=NOW + 2 * DAY).partition("?>")[2].partition("-->")[2]
    document = signed(aggregate([group, inner(PRAGUE_IDP)]), FEDERATION)
    rows = [part for part in read(document, wanted()) if isinstance(part, ProviderRow)]
    assert [(row.entity, row.ends) for row in rows] == [(BRNO_IDP, NOW + 2 * DAY), (PRAGUE_IDP, FOREVER)]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"bits": 1024, "keys": ["weak-idp"]}, "no certificate with a key that is strong enough"),
        ({"keys": []}, "no certificate"),
        ({"sso": "http://idp.hospital-brno.test/sso"}, "no address for a login"),
        ({"sso": "javascript:alert(1)"}, "no address for a login"),
        ({"attributes": {"urn:konzilium:demonstration": ["true"]}}, "it is a demonstration"),
        ({"attributes": {"urn:konzilium:demonstration": ["yes, truly"]}}, "it is a demonstration"),
    ],
)
def test_an_identity_provider_that_cannot_be_used_is_left_out_and_the_others_stay(changes, why):
    document = signed(aggregate([inner(**changes), inner(PRAGUE_IDP)]), FEDERATION)
    assert list(told(document)) == [PRAGUE_IDP]
    assert tail(document).skipped == 1
    assert why in tail(document).notes[0]


def test_a_demonstration_site_believes_demonstrations():
    document = signed(aggregate([inner(attributes={"urn:konzilium:demonstration": ["true"]})]), FEDERATION)
    (found,) = told(document, wanted(demonstration=True)).values()
    assert found.demonstration


@pytest.mark.parametrize(
    "changes", [{"role": "SPSSODescriptor"}, {"protocol": "urn:oasis:names:tc:SAML:1.1:protocol"}]
)
def test_what_is_no_identity_provider_of_saml_2_is_passed_over(changes):
    document = signed(aggregate([inner(**changes), inner(PRAGUE_IDP)]), FEDERATION)
    assert list(told(document)) == [PRAGUE_IDP]
    assert tail(document).skipped == 0


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"nothing",
        b"<a/>",
        b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        aggregate([inner()]).encode("utf-16"),
        aggregate([inner()]).replace("Nemocnice", "Nemoc<?x?>nice").encode(),
        aggregate([inner()]).encode()[:-20],
    ],
)
def test_what_is_no_plain_xml_is_not_read(document):
    with pytest.raises(MalformedMetadata):
        told(document)


def test_a_comment_does_not_cut_a_text_short():
    text = aggregate([inner(scopes=[("hospital-brno.test<!-- -->.evil.test", False)])])
    (found,) = told(signed(text, FEDERATION)).values()
    assert found.scopes == (("hospital-brno.test.evil.test", False),)


# one identity provider


def single(**what) -> Wanted:
    return wanted("single", **{"pins": (IDP.fingerprint,), **what})


def test_a_single_one_is_believed_by_the_fingerprint_of_its_certificate():
    head, row, _ = read(one(until=None).encode(), single())
    assert (head.valid_until, row.ends) == (FOREVER, FOREVER)
    assert provider_of(row).certificates == (IDP.pem,)


def test_of_several_certificates_only_those_that_were_pinned_are_believed():
    document = one(keys=["idp-brno", "idp-next"]).encode()
    (found,) = told(document, single()).values()
    assert found.certificates == (IDP.pem,)
    both = single(pins=(IDP.fingerprint, key_of("idp-next").certificate.fingerprint))
    (found,) = told(document, both).values()
    assert len(found.certificates) == 2


def test_a_single_one_with_another_certificate_is_not_believed():
    document = one(keys=["other"]).encode()
    assert told(document, single()) == {}
    assert "other certificates than were pinned" in tail(document, single()).notes[0]


def test_a_single_one_may_be_signed_with_a_pinned_key_instead():
    pinned = wanted("single")
    assert told(signed(one(until=None), FEDERATION), pinned)
    with pytest.raises(BadSignature):
        told(one().encode(), pinned)


def test_a_single_one_that_has_ended_is_not_believed():
    with pytest.raises(MalformedMetadata):
        told(one(until=NOW - 1).encode(), single())


def test_the_scope_of_a_single_one_can_be_given_by_hand():
    (found,) = told(one(scopes=[(".*", True)]).encode(), single(scopes=("clinic.test",))).values()
    assert found.scopes == (("clinic.test", False),)


def test_whether_a_document_shows_a_signature():
    assert is_signed(signed(one(), FEDERATION))
    assert not is_signed(one().encode())
    assert not is_signed(b"nothing")


# asked for by name


def test_the_answer_to_a_question_has_to_be_about_whom_was_asked_for():
    document = signed(one(), FEDERATION)
    assert list(told(document, wanted("mdq", entity=BRNO_IDP))) == [BRNO_IDP]
    assert told(document, wanted("mdq", entity=PRAGUE_IDP)) == {}
    with pytest.raises(BadSignature):
        told(one().encode(), wanted("mdq", entity=BRNO_IDP))
    with pytest.raises(MalformedMetadata):
        told(signed(one(until=None), FEDERATION), wanted("mdq", entity=BRNO_IDP))


# in a process of its own


def test_parts_go_from_process_to_process_as_lines():
    for part in read(signed(aggregate([inner()]), FEDERATION), wanted()):
        assert from_line(as_line(part)) == part


@pytest.mark.parametrize(
    ("document", "error"), [(aggregate([inner()]).encode(), BadSignature), (b"nothing", MalformedMetadata)]
)
def test_what_a_reader_refuses_is_refused_by_who_started_it(document, error):
    order = json.dumps({"kind": "aggregate", "pins": [FEDERATION.certificate.pem], "now": NOW, "scopes": []})
    outgoing = io.StringIO()
    assert main(io.BytesIO(order.encode() + b"\n" + document), outgoing) == 0
    with pytest.raises(error):
        for line in outgoing.getvalue().splitlines():
            from_line(line)
