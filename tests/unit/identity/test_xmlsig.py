"""Signatures in XML: as another implementation makes them, and of no other shape than the one allowed."""

from __future__ import annotations

import base64
import copy
import hashlib
import hmac
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import xmlsec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from node.domain.errors import BadSignature, Malformed, MalformedMessage
from node.identity.keys import NodeKey
from node.identity.xmlnames import DS, add
from node.identity.xmlread import parse
from node.identity.xmlsig import SIGNATURE, Part, canonical, sign, sign_parts, verify, verify_parts
from tests.support.signed import Federation

EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"
ENVELOPED = f"{DS}enveloped-signature"
DOCUMENT = b'<s:a xmlns:s="urn:s" ID="_1"><s:b role="reader">1.2.3</s:b><c xmlns="urn:c">x</c></s:a>'


@pytest.fixture(scope="module")
def federation(tmp_path_factory) -> Federation:
    return Federation(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def key(federation) -> NodeKey:
    return federation.brno


def signed(key: NodeKey, data: bytes = DOCUMENT, position: int = 0) -> etree._Element:
    """A signed document as it arrives."""
    element = etree.fromstring(data)
    sign(element, key, position)
    return parse(etree.tostring(element))


def found(element: etree._Element, name: str) -> etree._Element:
    return next(element.iter(f"{{{DS}}}{name}"))


def refused(key: NodeKey, change: Callable[[etree._Element], object], why: str, error=BadSignature) -> None:
    """The document is good, and with this one change it is not."""
    document = signed(key)
    assert verify(document, [key.pem]) == key.certificate
    change(document)
    with pytest.raises(error, match=why):
        verify(parse(etree.tostring(document)), [key.pem])


def signs_again(key: NodeKey, change: Callable[[etree._Element], object]) -> Callable[[etree._Element], None]:
    """A change of what is signed about the document, by the holder of the key."""

    def changed(document: etree._Element) -> None:
        change(document)
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

        value = key.signing.sign(canonical(found(document, "SignedInfo")), ec.ECDSA(hashes.SHA256()))
        r, s = decode_dss_signature(value)
        text = base64.b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big")).decode()
        found(document, "SignatureValue").text = text

    return changed


def test_what_was_signed_is_known_by_its_certificate_among_several(federation, key):
    assert verify(signed(key), [federation.plzen.pem, key.pem, federation.prague.pem]) == key.certificate


def test_a_signature_by_a_key_that_is_not_among_those_given_is_refused(federation, key):
    for certificates in ([], [federation.plzen.pem], [federation.rogue.pem]):
        with pytest.raises(BadSignature, match="not known"):
            verify(signed(key), certificates)


def test_every_change_of_content_is_noticed(key):
    changes: list[Callable[[etree._Element], object]] = [
        lambda a: a[1].set("role", "admin"),
        lambda a: setattr(a[1], "text", "1.2.4"),
        lambda a: setattr(a[1], "text", " 1.2.3"),
        lambda a: setattr(a[1], "tail", " "),
        lambda a: add(a, "extra"),
        lambda a: a.remove(a[2]),
        lambda a: a.set("extra", "1"),
        lambda a: setattr(a[2], "tag", "{urn:d}c"),
        lambda a: a.insert(1, a[2]),
    ]
    for change in changes:
        refused(key, change, "changed")


def test_every_change_of_the_signature_is_noticed(key):
    def flipped(name: str) -> Callable[[etree._Element], None]:
        def change(document: etree._Element) -> None:
            value = bytearray(base64.b64decode(found(document, name).text))
            value[5] ^= 1
            found(document, name).text = base64.b64encode(value).decode()

        return change

    refused(key, flipped("SignatureValue"), "changed")
    refused(key, flipped("DigestValue"), "changed")


def test_what_is_not_signed_is_refused(key):
    refused(key, lambda a: a.remove(a[0]), "0 elements Signature")


def test_an_empty_or_odd_signature_value_is_refused(key):
    for text in (None, "", "AAAA", "!", "A" * 88, "é"):
        refused(key, lambda a, text=text: setattr(found(a, "SignatureValue"), "text", text), "base64|changed")


def test_a_second_signature_is_refused(key):
    refused(key, lambda a: a.append(copy.deepcopy(a[0])), "2 elements Signature")


def test_a_signature_of_another_element_is_not_one_of_this(key):
    outer = etree.fromstring(b'<o ID="_0"/>')
    outer.append(signed(key))
    with pytest.raises(BadSignature, match="0 elements Signature"):
        verify(outer, [key.pem])
    outer.insert(0, outer[0][0])
    with pytest.raises(BadSignature, match="cover"):
        verify(outer, [key.pem])


def test_an_id_that_another_element_has_too_is_refused(key):
    for attribute in (
        "ID",
        "Id",
        "id",
        "{http://www.w3.org/XML/1998/namespace}id",
        "{http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd}Id",
    ):
        document = etree.fromstring(DOCUMENT)
        document[0].set(attribute, "_2")
        sign(document, key)
        assert verify(document, [key.pem]) == key.certificate
        document = etree.fromstring(DOCUMENT)
        document[0].set(attribute, "_1")
        sign(document, key)
        with pytest.raises(BadSignature, match="same ID"):
            verify(document, [key.pem])


def test_an_element_without_an_id_cannot_be_signed_by_referring_to_the_whole_document(key):
    without = DOCUMENT.replace(b' ID="_1"', b"")
    for uri in ("#", ""):
        document = etree.fromstring(without)
        sign(document, key)
        signs_again(key, lambda a, uri=uri: found(a, "Reference").set("URI", uri))(document)
        with pytest.raises(BadSignature, match="no ID"):
            verify(document, [key.pem])


@pytest.mark.parametrize(
    "uri",
    ["", "#", "#_2", "_1", "#xpointer(id('_1'))", "#xpointer(/)", "http://127.0.0.1/", "file:///etc/passwd"],
)
def test_a_reference_to_anything_but_the_element_is_refused(key, uri):
    refused(key, signs_again(key, lambda a: found(a, "Reference").set("URI", uri)), "cover")


def test_another_reference_is_refused(key):
    def change(document: etree._Element) -> None:
        info = found(document, "SignedInfo")
        info.append(copy.deepcopy(info[2]))

    refused(key, signs_again(key, change), "cover")


def test_a_second_signed_info_is_refused_wherever_it_is(key):
    def another(document: etree._Element) -> etree._Element:
        return copy.deepcopy(found(document, "SignedInfo"))

    refused(key, lambda a: a[0].insert(0, another(a)), "form")
    refused(key, lambda a: a[0].append(another(a)), "form")
    refused(key, lambda a: a[0].insert(1, another(a)), "form")


def test_a_signature_with_something_missing_or_something_more_is_refused(key):
    for name in ("SignedInfo", "SignatureValue", "CanonicalizationMethod", "SignatureMethod", "Reference"):
        change = drops(name)
        refused(key, change, "form|cover")
    for name in ("Transforms", "Transform", "DigestMethod", "DigestValue"):
        refused(key, signs_again(key, drops(name)), "form")
    for name in ("SignedInfo", "Reference", "Transforms"):
        refused(key, signs_again(key, lambda a, name=name: add(found(a, name), "extra")), "form")
    for name in ("CanonicalizationMethod", "SignatureMethod", "Transform", "DigestMethod"):
        refused(key, signs_again(key, lambda a, name=name: found(a, name).set("extra", "1")), "not allowed")


def drops(name: str) -> Callable[[etree._Element], None]:
    def change(document: etree._Element) -> None:
        gone = found(document, name)
        gone.getparent().remove(gone)

    return change


def test_an_object_in_a_signature_is_refused(key):
    refused(key, lambda a: add(a[0], f"{{{DS}}}Object"), "form")


def test_comments_are_refused_since_they_are_not_signed(key):
    document = signed(key)
    document[1].text = "1.2"
    document[1].append(etree.Comment("x"))
    document[1][0].tail = ".3"
    assert canonical(document[1]) == canonical(signed(key)[1])
    with pytest.raises(MalformedMessage, match="comments"):
        verify(document, [key.pem])


@pytest.mark.parametrize(
    ("name", "algorithm"),
    [
        ("SignatureMethod", "http://www.w3.org/2000/09/xmldsig#hmac-sha1"),
        ("SignatureMethod", "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256"),
        ("SignatureMethod", "http://www.w3.org/2000/09/xmldsig#rsa-sha1"),
        ("SignatureMethod", "http://www.w3.org/2001/04/xmldsig-more#rsa-md5"),
        ("SignatureMethod", "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha1"),
        ("SignatureMethod", "http://www.w3.org/2000/09/xmldsig#dsa-sha1"),
        ("SignatureMethod", ""),
        ("DigestMethod", "http://www.w3.org/2000/09/xmldsig#sha1"),
        ("DigestMethod", "http://www.w3.org/2001/04/xmldsig-more#md5"),
        ("DigestMethod", "http://www.w3.org/2001/04/xmldsig-more#sha224"),
        ("CanonicalizationMethod", "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"),
        ("CanonicalizationMethod", "http://www.w3.org/2001/10/xml-exc-c14n#WithComments"),
        ("CanonicalizationMethod", "http://www.w3.org/2006/12/xml-c14n11"),
        ("Transform", "http://www.w3.org/TR/1999/REC-xslt-19991116"),
        ("Transform", "http://www.w3.org/TR/1999/REC-xpath-19991116"),
        ("Transform", "http://www.w3.org/2002/06/xmldsig-filter2"),
        ("Transform", "http://www.w3.org/2000/09/xmldsig#base64"),
        ("Transform", EXCLUSIVE),
    ],
)
def test_an_algorithm_that_is_not_on_the_list_is_refused_whoever_chose_it(key, name, algorithm):
    refused(key, signs_again(key, lambda a: found(a, name).set("Algorithm", algorithm)), "not allowed")


def test_transforms_have_to_be_exactly_those_two(key):
    def more(document: etree._Element) -> None:
        for _ in range(2000):
            add(found(document, "Transforms"), f"{{{DS}}}Transform", Algorithm=EXCLUSIVE)

    refused(key, signs_again(key, more), "form")
    refused(key, signs_again(key, lambda a: found(a, "Transforms").remove(found(a, "Transform"))), "form")
    refused(key, signs_again(key, lambda a: found(a, "Reference").remove(found(a, "Transforms"))), "form")


def test_no_algorithm_takes_parameters(key):
    def stylesheet(document: etree._Element) -> None:
        style = '<xsl:stylesheet xmlns:xsl="http://www.w3.org/1999/XSL/Transform" version="1.0"/>'
        found(document, "Transform").append(etree.fromstring(style))

    def prefixes(document: etree._Element) -> None:
        add(found(document, "CanonicalizationMethod"), f"{{{EXCLUSIVE}}}InclusiveNamespaces", PrefixList="s")

    refused(key, signs_again(key, stylesheet), "parameter")
    refused(key, signs_again(key, prefixes), "parameter")
    shorter = f"{{{DS}}}HMACOutputLength"
    refused(key, signs_again(key, lambda a: add(found(a, "SignatureMethod"), shorter, "8")), "parameter")
    refused(key, signs_again(key, lambda a: found(a, "Reference").set("Type", f"{DS}Manifest")), "attributes")


def test_the_certificate_cannot_be_used_as_the_secret_of_a_mac(key):
    """The classic confusion: the verifier's public key as the key of an HMAC that the attacker computes."""

    def change(document: etree._Element) -> None:
        found(document, "SignatureMethod").set(
            "Algorithm", "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256"
        )
        value = hmac.digest(key.pem.encode(), canonical(found(document, "SignedInfo")), "sha256")
        found(document, "SignatureValue").text = base64.b64encode(value).decode()

    refused(key, change, "not allowed")


def test_a_key_that_the_signature_brings_along_is_worth_nothing(federation, key):
    document = signed(federation.rogue)
    assert verify(document, [federation.rogue.pem])
    with pytest.raises(BadSignature, match="not known"):
        verify(document, [key.pem])


def test_without_key_info_the_signature_holds_as_well(key):
    document = signed(key)
    document[0].remove(found(document, "KeyInfo"))
    assert verify(document, [key.pem]) == key.certificate


def test_what_has_no_canonical_form_is_not_taken_for_nothing(key):
    """A relative namespace has none; a verifier that goes on with an empty text accepts any content."""
    document = etree.fromstring(DOCUMENT)
    sign(document, key)
    document[2].append(etree.fromstring('<x xmlns="relative"/>'))
    found(document, "DigestValue").text = base64.b64encode(hashlib.sha256(b"").digest()).decode()
    signs_again(key, lambda _: None)(document)
    with pytest.raises(BadSignature):
        verify(document, [key.pem])


def test_a_document_that_is_built_to_cost_much_is_refused_before_it_does(key):
    attributes = " ".join(f'a{number}=""' for number in range(60_000))
    document = etree.fromstring(f"<a ID='_1'><b {attributes}/></a>")
    small = etree.fromstring("<a ID='_1'/>")
    sign(small, key)
    document.insert(0, small[0])
    with pytest.raises(MalformedMessage, match="attributes"):
        verify(document, [key.pem])


def test_several_parts_are_covered_by_one_signature(key):
    root, parts = several(key)
    verify_parts(root[-1], parts, key.certificate)
    for part in parts:
        root, parts = several(key)
        changed = next(one for one in parts if one.uri == part.uri)
        changed.element.text = "other"
        with pytest.raises(BadSignature, match="changed"):
            verify_parts(root[-1], parts, key.certificate)


def test_a_signature_value_has_one_form_only(key):
    """As a number, s is the same with a zero in front."""

    def longer(document: etree._Element) -> None:
        value = base64.b64decode(found(document, "SignatureValue").text)
        found(document, "SignatureValue").text = base64.b64encode(value[:32] + b"\0" + value[32:]).decode()

    refused(key, longer, "changed")


def test_a_signature_covers_something_and_not_very_much(key):
    root = etree.fromstring("<r>" + "".join(f"<a ID='_{number}'/>" for number in range(17)) + "</r>")
    for parts in ([], [Part(element=child) for child in root]):
        sign_parts(root, parts, key, [])
        with pytest.raises(BadSignature, match="would have to be signed"):
            verify_parts(root[-1], parts, key.certificate)
        root.remove(root[-1])
    sign_parts(root, [Part(element=child) for child in root][:16], key, [])
    verify_parts(root[-1], [Part(element=child) for child in root][:16], key.certificate)


def test_a_part_that_is_not_covered_or_covered_though_not_used_is_refused(key):
    root, parts = several(key)
    with pytest.raises(BadSignature, match="not covered: -"):
        verify_parts(root[-1], parts[:2], key.certificate)
    extra = add(root, "extra", ID="_extra")
    with pytest.raises(BadSignature, match="not covered: extra"):
        verify_parts(root[-2], [*parts, Part(element=extra)], key.certificate)
    with pytest.raises(BadSignature, match="not covered: extra"):
        verify_parts(root[-2], [*parts[:2], Part(element=extra)], key.certificate)


def test_parts_whose_references_are_exchanged_are_refused(key):
    """Each digest belongs to one place: header and body cannot take each other's."""
    root, parts = several(key)
    first, second = parts[0].element, parts[1].element
    first.text, second.text = second.text, first.text
    with pytest.raises(BadSignature, match="changed"):
        verify_parts(root[-1], parts, key.certificate)


def several(key: NodeKey) -> tuple[etree._Element, list[Part]]:
    root = etree.fromstring("<r><a ID='_a'>1</a><b ID='_b'>2</b><c ID='_c'>3</c></r>")
    parts = [Part(element=child) for child in root]
    sign_parts(root, parts, key, [])
    return root, parts


names = st.sampled_from(["a", "b", "{urn:x}c", "{urn:y}d", "{urn:x}e"])
texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn")), max_size=8)


@st.composite
def elements(draw: st.DrawFn, depth: int = 3) -> etree._Element:
    prefixes = draw(st.sampled_from([{}, {None: "urn:x"}, {"p": "urn:x"}, {"p": "urn:y", "q": "urn:x"}]))
    element = etree.Element(draw(names), nsmap=prefixes)
    for name, value in draw(st.dictionaries(names, texts, max_size=3)).items():
        element.set(name, value)
    element.text = draw(texts)
    for child in draw(st.lists(elements(depth - 1), max_size=2)) if depth else []:
        child.tail = draw(texts)
        element.append(child)
    return element


@settings(max_examples=60)
@given(elements())
def test_another_implementation_accepts_what_we_sign_and_we_what_it_signs(key, element):
    outer = etree.Element("{urn:x}outer", nsmap={None: "urn:z", "p": "urn:x"})
    outer.append(element)
    element.set("ID", "_1")
    written = etree.tostring(outer)
    ours, theirs = parse(written), parse(written)
    sign(ours[0], key)
    ours = parse(etree.tostring(ours))
    checked = xmlsec.SignatureContext()
    checked.key = xmlsec.Key.from_memory(key.pem, xmlsec.constants.KeyDataFormatCertPem)
    checked.register_id(ours[0], "ID")
    checked.verify(ours[0][0])
    signed_elsewhere(theirs, theirs[0], key.key_file.read_bytes())
    theirs = parse(etree.tostring(theirs))
    assert verify(theirs[0], [key.pem]) == key.certificate


def signed_elsewhere(
    document: etree._Element,
    element: etree._Element,
    private: bytes,
    method=xmlsec.constants.TransformEcdsaSha256,
    digest=xmlsec.constants.TransformSha256,
) -> etree._Element:
    """The document with the element signed by libxmlsec."""
    signature = xmlsec.template.create(element, xmlsec.constants.TransformExclC14N, method, ns="ds")
    reference = xmlsec.template.add_reference(signature, digest, uri="#_1")
    xmlsec.template.add_transform(reference, xmlsec.constants.TransformEnveloped)
    xmlsec.template.add_transform(reference, xmlsec.constants.TransformExclC14N)
    element.insert(0, signature)
    context = xmlsec.SignatureContext()
    context.key = xmlsec.Key.from_memory(private, xmlsec.constants.KeyDataFormatPem)
    context.register_id(element, "ID")
    context.sign(signature)
    return document


def pair(private) -> tuple[bytes, str]:
    """A private key and a certificate for it, both PEM."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "peer")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, private.public_key(), 1, now, now + timedelta(days=1))
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    certificate = made.sign(private, hashes.SHA256())
    return pem, certificate.public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.parametrize("size", [256, 384, 512])
def test_rsa_of_a_length_that_is_still_good_is_verified(size):
    private, certificate = pair(rsa.generate_private_key(65537, 2048))
    document = etree.fromstring(DOCUMENT)
    method = getattr(xmlsec.constants, f"TransformRsaSha{size}")
    digest = getattr(xmlsec.constants, f"TransformSha{size}")
    signed_elsewhere(document, document, private, method, digest)
    assert verify(parse(etree.tostring(document)), [certificate]).pem == certificate
    value = found(document, "SignatureValue")
    value.text, kept = base64.b64encode(bytes(256)).decode(), value.text
    with pytest.raises(BadSignature, match="not known"):
        verify(document, [certificate])
    value.text = kept
    document[1].text = "other"
    with pytest.raises(BadSignature, match="changed"):
        verify(document, [certificate])


@pytest.mark.parametrize("curve", [ec.SECP384R1, ec.SECP521R1])
def test_longer_curves_are_verified(curve):
    private, certificate = pair(ec.generate_private_key(curve()))
    document = etree.fromstring(DOCUMENT)
    signed_elsewhere(document, document, private, xmlsec.constants.TransformEcdsaSha384)
    assert verify(parse(etree.tostring(document)), [certificate]).pem == certificate


@pytest.mark.parametrize(
    "private",
    [rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP224R1())],
    ids=["rsa-1024", "p-224"],
)
def test_a_key_that_is_too_short_makes_no_certificate_here(key, private):
    _, certificate = pair(private)
    with pytest.raises(Malformed, match="neither EC"):
        verify(signed(key), [certificate])


def test_a_method_that_does_not_fit_the_key_is_refused(key):
    private, certificate = pair(rsa.generate_private_key(65537, 2048))
    document = etree.fromstring(DOCUMENT)
    signed_elsewhere(document, document, private, xmlsec.constants.TransformRsaSha256)
    with pytest.raises(BadSignature, match="not known"):
        verify(document, [key.pem])
    with pytest.raises(BadSignature, match="not known"):
        verify(signed(key), [certificate])


def test_eight_threads_sign_and_verify_without_taking_each_others_words(federation):
    keys = [federation.brno, federation.prague, federation.plzen]

    def work(number: int) -> bool:
        own, other = keys[number % 3], keys[(number + 1) % 3]
        document = signed(own, DOCUMENT.replace(b"1.2.3", f"1.2.{number}".encode()))
        good = verify(document, [other.pem, own.pem]) == own.certificate
        document[1].text = "1.2"
        try:
            verify(document, [own.pem])
        except BadSignature:
            return good
        return False

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(800)))


def test_a_signature_is_where_it_was_put_and_tells_other_readers_the_certificate(key):
    assert [child.tag for child in signed(key, position=1)][1] == SIGNATURE
    assert found(signed(key), "X509Certificate").text == key.certificate.base64
    assert verify(signed(key, position=2), [key.pem])
