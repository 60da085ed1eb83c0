"""Attacks on service providers: answers with exactly one defect, beside the good one that they come from.

The numbers are those of the weaknesses that python3-saml 1.16 was found to have by itself; the other cases
are known attacks on other implementations, among them signature wrapping (XSW 1 to 8).
"""

from __future__ import annotations

import base64
import copy
import hashlib
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import xmlsec
from lxml import etree

from tests.support.saml_lab import (
    ACS,
    DS,
    EPPN,
    NS,
    RADIOLOGIST,
    SAML,
    SAMLP,
    Change,
    Idp,
    T,
    add,
    at,
    instant,
    pair,
    sealed,
    sign,
    unique,
)

DATA = ".//saml:SubjectConfirmationData"
CONDITIONS = ".//saml:Conditions"
DIRECTOR = "director@hospital-brno.test"
EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"
XSLT = "http://www.w3.org/TR/1999/REC-xslt-19991116"
XPATH = "http://www.w3.org/TR/1999/REC-xpath-19991116"
ROGUE = Idp(key=pair("rogue"))
ONLY_ASSERTION = {"message_signed": False}
ONLY_MESSAGE = {"assertion_signed": False}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A defect, and what the good answer beside it is like."""

    name: str
    control: dict[str, Any] = field(default_factory=dict)
    defect: dict[str, Any] = field(default_factory=dict)
    raw: Callable[[bytes], bytes] | None = None
    """A change of the bytes on the way."""
    unseen: bool = False
    """It has to be refused before anything is verified or decrypted."""
    sealed: bool = False
    """It has to be refused before anything is decrypted."""


def without(path: str, name: str) -> Change:
    """Take an attribute away."""
    return lambda root: at(root, path).attrib.pop(name)


def with_value(path: str, name: str, value: str) -> Change:
    """Change an attribute."""
    return lambda root: at(root, path).set(name, value)


def with_text(path: str, value: str) -> Change:
    """Change a text."""

    def change(root: etree._Element) -> None:
        at(root, path).text = value

    return change


def gone(path: str) -> Change:
    """Take an element away."""

    def change(root: etree._Element) -> None:
        element = at(root, path)
        parent = element.getparent()
        assert parent is not None
        parent.remove(element)

    return change


def eppn_of(assertion: etree._Element) -> etree._Element:
    return at(assertion, f".//saml:Attribute[@Name='{EPPN}']/saml:AttributeValue")


def forged(assertion: etree._Element) -> etree._Element:
    """A copy that is not signed and speaks of the director."""
    evil = copy.deepcopy(assertion)
    evil.tail = None
    for signature in evil.findall("ds:Signature", NS):
        evil.remove(signature)
    evil.set("ID", unique())
    eppn_of(evil).text = DIRECTOR
    return evil


# what a signature may ask a verifier to do


def stylesheet(depth: int = 18) -> etree._Element:
    """A style sheet that calls itself twice at each level: its cost doubles with each."""
    xsl = "http://www.w3.org/1999/XSL/Transform"
    text = (
        f'<xsl:stylesheet version="1.0" xmlns:xsl="{xsl}"><xsl:template match="/">'
        f'<xsl:call-template name="t"><xsl:with-param name="n" select="{depth}"/></xsl:call-template>'
        '</xsl:template><xsl:template name="t"><xsl:param name="n"/><xsl:if test="$n > 0">'
        '<xsl:call-template name="t"><xsl:with-param name="n" select="$n - 1"/></xsl:call-template>'
        '<xsl:call-template name="t"><xsl:with-param name="n" select="$n - 1"/></xsl:call-template>'
        "</xsl:if></xsl:template></xsl:stylesheet>"
    )
    return etree.fromstring(text)


def bogus(
    element: etree._Element, *, transforms: int = 1, algorithm: str = EXCLUSIVE, references: int = 1
) -> etree._Element:
    """A signature of nobody that asks for much."""
    signature = etree.Element(f"{{{DS}}}Signature", nsmap={"ds": DS})
    info = add(signature, "ds:SignedInfo")
    add(info, "ds:CanonicalizationMethod", Algorithm=EXCLUSIVE)
    add(info, "ds:SignatureMethod", Algorithm="http://www.w3.org/2001/04/xmldsig-more#rsa-sha256")
    for _ in range(references):
        reference = add(info, "ds:Reference", URI="#" + element.get("ID", ""))
        steps = add(reference, "ds:Transforms")
        for _ in range(transforms):
            add(steps, "ds:Transform", Algorithm=algorithm)
        add(reference, "ds:DigestMethod", Algorithm="http://www.w3.org/2001/04/xmlenc#sha256")
        add(reference, "ds:DigestValue", "AAAA")
    add(signature, "ds:SignatureValue", "AAAA")
    at(element, "saml:Issuer").addnext(signature)
    return signature


def costly(**asked: Any) -> Change:
    def change(element: etree._Element) -> None:
        bogus(element, **asked)

    return change


def with_stylesheet(element: etree._Element) -> None:
    signature = bogus(element, algorithm=XSLT)
    at(signature, ".//ds:Transform").append(stylesheet())


def with_xpath(element: etree._Element) -> None:
    signature = bogus(element, algorithm=XPATH)
    add(at(signature, ".//ds:Transform"), "ds:XPath", "count(//. | //@* | //namespace::*)")


EXHAUSTION = [
    Case(
        name="1 style sheet in the message",
        control=ONLY_ASSERTION,
        defect={"after": with_stylesheet},
        unseen=True,
    ),
    Case(
        name="1 style sheet in the assertion",
        control=ONLY_MESSAGE,
        defect={"in_assertion": with_stylesheet},
        unseen=True,
    ),
    Case(
        name="2 1500 transforms in the message",
        control=ONLY_ASSERTION,
        defect={"after": costly(transforms=1500)},
        unseen=True,
    ),
    Case(
        name="2 1500 transforms in the assertion",
        control=ONLY_MESSAGE,
        defect={"in_assertion": costly(transforms=1500)},
        unseen=True,
    ),
    Case(
        name="2 200 references", control=ONLY_ASSERTION, defect={"after": costly(references=200)}, unseen=True
    ),
    Case(name="2 XPath", control=ONLY_ASSERTION, defect={"after": with_xpath}, unseen=True),
    Case(
        name="2 four megabytes",
        raw=lambda data: data.replace(b"<saml:Subject>", b"<saml:Subject>" + b" " * (4 << 20)),
        unseen=True,
    ),
    Case(
        name="2 too many elements",
        control=ONLY_ASSERTION,
        defect={
            "after": lambda one: [add(at(one, "samlp:Status"), "samlp:StatusMessage") for _ in range(2000)]
        },
        unseen=True,
    ),
]


# what an assertion is for


def unsolicited(response: etree._Element) -> None:
    response.attrib.pop("InResponseTo")


def second_audience(assertion: etree._Element) -> None:
    add(add(at(assertion, CONDITIONS), "saml:AudienceRestriction"), "saml:Audience", "https://other.test/sp")


def another_data(assertion: etree._Element) -> None:
    at(assertion, ".//saml:SubjectConfirmation").set("Method", "urn:oasis:names:tc:SAML:2.0:cm:holder-of-key")


def two_data(assertion: etree._Element) -> None:
    """One confirmation has the address, the other the request: neither is whole."""
    first = at(assertion, ".//saml:SubjectConfirmation")
    second = copy.deepcopy(first)
    first.addnext(second)
    at(first, "saml:SubjectConfirmationData").set("Recipient", "https://other.test/acs")
    at(second, "saml:SubjectConfirmationData").set("InResponseTo", "_other")


def unknown_condition(assertion: etree._Element) -> None:
    condition = add(at(assertion, CONDITIONS), "saml:Condition")
    condition.set("{http://www.w3.org/2001/XMLSchema-instance}type", "x:OnMondays")


_FAR = instant(time.time() - 900)
LIMITS = [
    Case(
        name="3 nobody asked for it",
        defect={"in_message": unsolicited, "in_assertion": without(DATA, "InResponseTo")},
    ),
    Case(name="4 request stripped from the message", control=ONLY_ASSERTION, defect={"after": unsolicited}),
    Case(
        name="4 request missing in the confirmation", defect={"in_assertion": without(DATA, "InResponseTo")}
    ),
    Case(name="5 no audience", defect={"in_assertion": gone(CONDITIONS + "/saml:AudienceRestriction")}),
    Case(name="5 two audience restrictions, one of others", defect={"in_assertion": second_audience}),
    Case(name="5 another audience", defect={"audience": "https://other.test/sp"}),
    Case(
        name="5 an audience that begins like ours",
        defect={"audience": "https://images.prague.test/saml/metadata/2"},
    ),
    Case(
        name="6 Destination begins like ours",
        defect={"in_message": with_value(".", "Destination", ACS + ".evil/x")},
    ),
    Case(
        name="6 Destination in capitals", defect={"in_message": with_value(".", "Destination", ACS.upper())}
    ),
    Case(
        name="6 another Destination",
        defect={"in_message": with_value(".", "Destination", "https://other.test/acs")},
    ),
    Case(name="6 empty Destination", defect={"in_message": with_value(".", "Destination", "")}),
    Case(name="6 no Destination", defect={"in_message": without(".", "Destination")}),
    Case(
        name="6 Recipient contains ours",
        defect={"in_assertion": with_value(DATA, "Recipient", "https://evil.test/?" + ACS)},
    ),
    Case(
        name="6 another Recipient",
        defect={"in_assertion": with_value(DATA, "Recipient", "https://other.test/acs")},
    ),
    Case(name="6 no Recipient", defect={"in_assertion": without(DATA, "Recipient")}),
    Case(name="7 confirmation without an end", defect={"in_assertion": without(DATA, "NotOnOrAfter")}),
    Case(name="7 conditions without an end", defect={"in_assertion": without(CONDITIONS, "NotOnOrAfter")}),
    Case(name="no conditions", defect={"in_assertion": gone(CONDITIONS)}),
    Case(name="a condition that nobody knows", defect={"in_assertion": unknown_condition}),
    Case(name="confirmation expired", defect={"in_assertion": with_value(DATA, "NotOnOrAfter", _FAR)}),
    Case(name="conditions expired", defect={"in_assertion": with_value(CONDITIONS, "NotOnOrAfter", _FAR)}),
    Case(
        name="not good yet",
        defect={"in_assertion": with_value(CONDITIONS, "NotBefore", instant(time.time() + 1900))},
    ),
    Case(
        name="confirmation not good yet",
        defect={"in_assertion": with_value(DATA, "NotBefore", instant(time.time() + 1900))},
    ),
    Case(
        name="session over",
        defect={"in_assertion": with_value(".//saml:AuthnStatement", "SessionNotOnOrAfter", _FAR)},
    ),
    Case(
        name="login in the future",
        defect={
            "in_assertion": with_value(".//saml:AuthnStatement", "AuthnInstant", instant(time.time() + 1900))
        },
    ),
    Case(
        name="assertion older than the request",
        defect={"in_assertion": with_value(".", "IssueInstant", _FAR)},
    ),
    Case(name="message older than the request", defect={"in_message": with_value(".", "IssueInstant", _FAR)}),
    Case(
        name="a time that is none",
        defect={"in_assertion": with_value(DATA, "NotOnOrAfter", "2099-13-40T00:00:00Z")},
    ),
    Case(
        name="a time with an offset",
        defect={"in_assertion": with_value(DATA, "NotOnOrAfter", "2099-01-01T00:00:00+01:00")},
    ),
    Case(
        name="another request in the message",
        control=ONLY_ASSERTION,
        defect={"after": with_value(".", "InResponseTo", "_other")},
    ),
    Case(
        name="another request in the confirmation",
        defect={"in_assertion": with_value(DATA, "InResponseTo", "_other")},
    ),
    Case(
        name="another issuer of the message",
        defect={"in_message": with_text("saml:Issuer", "https://other.test/idp")},
    ),
    Case(
        name="another issuer of the assertion",
        defect={"in_assertion": with_text("saml:Issuer", "https://other.test/idp")},
    ),
    Case(
        name="an issuer of another kind",
        defect={
            "in_assertion": with_value(
                "saml:Issuer", "Format", "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
            )
        },
    ),
    Case(name="no issuer of the assertion", defect={"in_assertion": gone("saml:Issuer")}),
    Case(name="not a bearer's", defect={"in_assertion": another_data}),
    Case(name="two halves of a confirmation", defect={"in_assertion": two_data}),
    Case(name="no confirmation", defect={"in_assertion": gone(".//saml:SubjectConfirmation")}),
    Case(name="no subject", defect={"in_assertion": gone(".//saml:Subject")}),
    Case(name="no statement of a login", defect={"in_assertion": gone(".//saml:AuthnStatement")}),
    Case(name="SAML 1.1", defect={"in_message": with_value(".", "Version", "1.1")}),
    Case(name="an assertion of SAML 1.1", defect={"in_assertion": with_value(".", "Version", "1.1")}),
    Case(
        name="no success",
        defect={
            "in_message": with_value(
                "samlp:Status/samlp:StatusCode", "Value", "urn:oasis:names:tc:SAML:2.0:status:Responder"
            )
        },
    ),
    Case(name="no assertion", defect={"in_message": gone("saml:Assertion")}),
    Case(
        name="two assertions",
        defect={"in_message": lambda one: one.append(forged(at(one, "saml:Assertion")))},
    ),
]


# of whom it speaks


def told(*names: str, **more: tuple[str, ...]) -> dict[str, Any]:
    return {"attributes": {**RADIOLOGIST, EPPN: names, **more}}


def told_twice(assertion: etree._Element) -> None:
    attribute = at(assertion, f".//saml:Attribute[@Name='{EPPN}']")
    attribute.addnext(copy.deepcopy(attribute))


def inside(assertion: etree._Element) -> None:
    value = eppn_of(assertion)
    value.text = "radiologist@hospital-brno.test"
    add(value, "saml:NameID", "x").tail = ".evil.test"


def encrypted_attribute(assertion: etree._Element) -> None:
    statement = at(assertion, ".//saml:AttributeStatement")
    statement.append(etree.Element(f"{{{SAML}}}EncryptedAttribute"))


PERSONS = [
    Case(name="10 of another hospital", defect=told("director@hospital-prague.test")),
    Case(name="10 of a subdomain", defect=told("director@sub.hospital-brno.test")),
    Case(name="10 of a domain that ends alike", defect=told("director@evil-hospital-brno.test")),
    Case(name="10 two scopes", defect=told("director@hospital-prague.test@hospital-brno.test")),
    Case(name="10 no scope", defect=told("director")),
    Case(name="10 no name", defect=told("@hospital-brno.test")),
    Case(name="10 blank in the name", defect=told("a director@hospital-brno.test")),
    Case(name="10 two names", defect=told("radiologist@hospital-brno.test", "director@hospital-brno.test")),
    Case(
        name="10 two names, one of another hospital",
        defect=told("radiologist@hospital-brno.test", "director@hospital-prague.test"),
    ),
    Case(
        name="10 two names under two names",
        defect=told(
            "radiologist@hospital-brno.test", eduPersonPrincipalName=("director@hospital-brno.test",)
        ),
    ),
    Case(name="10 the attribute told twice", defect={"in_assertion": told_twice}),
    Case(name="no value", defect=told()),
    Case(name="elements in the name", defect={"in_assertion": inside}),
    Case(name="a very long name", defect=told("x" * 3000 + "@hospital-brno.test")),
    Case(name="an encrypted attribute", defect={"in_assertion": encrypted_attribute}),
]


# how it is signed and encrypted


def hmac_with_certificate(assertion: etree._Element) -> None:
    """Signed with what everybody knows: the certificate, taken for a secret."""
    signature = xmlsec.template.create(assertion, T.EXCL_C14N, T.HMAC_SHA256, ns="ds")
    at(assertion, "saml:Issuer").addnext(signature)
    reference = xmlsec.template.add_reference(signature, T.SHA256, uri="#" + assertion.get("ID", ""))
    xmlsec.template.add_transform(reference, T.ENVELOPED)
    xmlsec.template.add_transform(reference, T.EXCL_C14N)
    signer = xmlsec.SignatureContext()
    signer.register_id(assertion, "ID")
    signer.key = xmlsec.Key.from_binary_data(xmlsec.KeyData.HMAC, pair("brno").certificate.encode())
    signer.sign(signature)


def digest_of_nothing(response: etree._Element) -> None:
    empty = base64.b64encode(hashlib.sha256(b"").digest()).decode()
    at(response, "saml:Assertion/ds:Signature/ds:SignedInfo/ds:Reference/ds:DigestValue").text = empty


def empty_reference(response: etree._Element) -> None:
    """A signature over the whole document, wherever it is."""
    assertion = at(response, "saml:Assertion")
    signature = at(assertion, "ds:Signature")
    at(signature, "ds:SignedInfo/ds:Reference").set("URI", "")
    sealed(assertion, signature, pair("brno"))


def without_enveloped(response: etree._Element) -> None:
    steps = at(response, "saml:Assertion/ds:Signature/ds:SignedInfo/ds:Reference/ds:Transforms")
    steps.remove(steps[0])


def signed_object(response: etree._Element) -> None:
    signature = at(response, "saml:Assertion/ds:Signature")
    add(signature, "ds:Object").append(forged(at(response, "saml:Assertion")))


def two_signatures(response: etree._Element) -> None:
    signature = at(response, "saml:Assertion/ds:Signature")
    signature.addnext(copy.deepcopy(signature))


def retrieval(response: etree._Element) -> None:
    info = at(response, "saml:EncryptedAssertion/xenc:EncryptedData/ds:KeyInfo")
    add(info, "ds:RetrievalMethod", URI="https://evil.test/key")


def cipher_reference(response: etree._Element) -> None:
    data = at(response, "saml:EncryptedAssertion/xenc:EncryptedData/xenc:CipherData")
    data.remove(data[0])
    add(data, "xenc:CipherReference", URI="https://evil.test/data")


def flipped(response: etree._Element) -> None:
    """One bit of the cipher text is changed on the way."""
    value = at(response, "saml:EncryptedAssertion/xenc:EncryptedData/xenc:CipherData/xenc:CipherValue")
    data = bytearray(base64.b64decode(value.text or ""))
    data[40] ^= 1
    value.text = base64.b64encode(data).decode()


def short(response: etree._Element) -> None:
    at(response, "saml:EncryptedAssertion/xenc:EncryptedData/xenc:CipherData/xenc:CipherValue").text = "AAAA"


def no_key(response: etree._Element) -> None:
    at(response, "saml:EncryptedAssertion/xenc:EncryptedData").remove(
        at(response, "saml:EncryptedAssertion/xenc:EncryptedData/ds:KeyInfo")
    )


def many_keys(response: etree._Element) -> None:
    key = at(response, "saml:EncryptedAssertion/xenc:EncryptedData/ds:KeyInfo/xenc:EncryptedKey")
    for _ in range(20):
        key.addnext(copy.deepcopy(key))


GCM = {"cipher": "AES256_GCM", "message_signed": False}
CRYPTOGRAPHY = [
    *(
        Case(name=f"8 {name}", defect={"method": method}, unseen=True)
        for name, method in (
            ("RSA-SHA1", T.RSA_SHA1),
            ("RSA-MD5", T.RSA_MD5),
            ("RSA-RIPEMD160", T.RSA_RIPEMD160),
            ("RSA-SHA224", T.RSA_SHA224),
        )
    ),
    *(
        Case(name=f"8 digest {name}", defect={"digest": digest}, unseen=True)
        for name, digest in (
            ("SHA1", T.SHA1),
            ("MD5", T.MD5),
            ("RIPEMD160", T.RIPEMD160),
            ("SHA224", T.SHA224),
        )
    ),
    Case(name="8 signature made canonical inclusively", defect={"c14n": T.C14N}, unseen=True),
    Case(name="8 signature made canonical with comments", defect={"c14n": T.EXCL_C14N_COMMENTS}, unseen=True),
    Case(name="8 assertion made canonical inclusively", defect={"step": T.C14N}, unseen=True),
    Case(name="8 assertion made canonical with comments", defect={"step": T.EXCL_C14N_COMMENTS}, unseen=True),
    Case(name="8 RSA-SHA1 in what is encrypted", control=GCM, defect={"method": T.RSA_SHA1}),
    Case(
        name="HMAC with the certificate",
        control=ONLY_ASSERTION,
        defect={"assertion_signed": False, "in_assertion": hmac_with_certificate},
        unseen=True,
    ),
    Case(name="signed by another key", control=ONLY_ASSERTION, defect={"idp": ROGUE}),
    Case(name="message signed by another key", control=ONLY_MESSAGE, defect={"idp": ROGUE}),
    Case(
        name="message signed by another key around a good assertion",
        control=ONLY_ASSERTION,
        defect={"after": lambda one: sign(one, pair("rogue"))},
    ),
    Case(name="not signed", control=ONLY_ASSERTION, defect={"assertion_signed": False}),
    Case(name="encrypted and not signed", control=GCM, defect={"assertion_signed": False}),
    Case(
        name="empty signature",
        control=ONLY_ASSERTION,
        defect={"after": with_text("saml:Assertion/ds:Signature/ds:SignatureValue", "")},
        unseen=True,
    ),
    Case(
        name="signature of nothing",
        control=ONLY_ASSERTION,
        defect={"after": with_text("saml:Assertion/ds:Signature/ds:SignatureValue", "AAAA")},
    ),
    Case(name="digest of nothing", control=ONLY_ASSERTION, defect={"after": digest_of_nothing}),
    Case(
        name="signature without its value",
        control=ONLY_ASSERTION,
        defect={"after": gone("saml:Assertion/ds:Signature/ds:SignatureValue")},
        unseen=True,
    ),
    Case(
        name="signature without a reference",
        control=ONLY_ASSERTION,
        defect={"after": gone("saml:Assertion/ds:Signature/ds:SignedInfo/ds:Reference")},
        unseen=True,
    ),
    Case(name="reference to nothing", control=ONLY_ASSERTION, defect={"after": empty_reference}, unseen=True),
    Case(
        name="reference to the message",
        control=ONLY_ASSERTION,
        defect={"after": lambda one: at(one, ".//ds:Reference").set("URI", "#" + one.get("ID", ""))},
        unseen=True,
    ),
    Case(name="not enveloped", control=ONLY_ASSERTION, defect={"after": without_enveloped}, unseen=True),
    Case(
        name="an object in the signature",
        control=ONLY_ASSERTION,
        defect={"after": signed_object},
        unseen=True,
    ),
    Case(name="two signatures", control=ONLY_ASSERTION, defect={"after": two_signatures}),
    Case(
        name="a name that was changed",
        control=ONLY_ASSERTION,
        defect={"after": lambda one: with_text(".", DIRECTOR)(eppn_of(one))},
    ),
    Case(
        name="a name that was changed in a signed message",
        control=ONLY_MESSAGE,
        defect={"after": lambda one: with_text(".", DIRECTOR)(eppn_of(one))},
    ),
    Case(name="11 RSA PKCS #1 v1.5", control=GCM, defect={"transport": "RSA_PKCS1"}, unseen=True),
    Case(name="11 Triple DES", control=GCM, defect={"cipher": "DES3"}, unseen=True),
    Case(
        name="11 AES-CBC in a message that is not signed",
        control=GCM,
        defect={"cipher": "AES128"},
        unseen=True,
    ),
    Case(
        name="11 forged signature of the message",
        control={"cipher": "AES256_GCM"},
        defect={"after": with_text("ds:Signature/ds:SignatureValue", "AAAA")},
        sealed=True,
    ),
    Case(
        name="11 message signed by another key",
        control={"cipher": "AES256_GCM"},
        defect={"idp": ROGUE},
        sealed=True,
    ),
    Case(name="encrypted for somebody else", control=GCM, defect={"recipient": pair("plzen")}),
    Case(name="a bit of the cipher text flipped", control=GCM, defect={"after": flipped}),
    Case(name="cipher text too short", control=GCM, defect={"after": short}),
    Case(name="no encrypted key", control=GCM, defect={"after": no_key}),
    Case(name="too many encrypted keys", control=GCM, defect={"after": many_keys}, unseen=True),
    Case(name="a key to be fetched", control=GCM, defect={"after": retrieval}, unseen=True),
    Case(name="cipher text to be fetched", control=GCM, defect={"after": cipher_reference}, unseen=True),
    Case(
        name="encrypted assertion and a plain one",
        control=GCM,
        defect={
            "after": lambda one: one.append(etree.fromstring(f'<a:Assertion xmlns:a="{SAML}" ID="_x"/>'))
        },
    ),
    Case(
        name="encrypted data in the status",
        control=GCM,
        defect={
            "after": lambda one: at(one, "samlp:Status").append(
                copy.deepcopy(at(one, "saml:EncryptedAssertion/xenc:EncryptedData"))
            )
        },
        unseen=True,
    ),
]


# one thing is signed and another is read


def original(element: etree._Element) -> etree._Element:
    """A copy without its signature, as it was when it was signed."""
    clean = copy.deepcopy(element)
    clean.tail = None
    clean.remove(at(clean, "ds:Signature"))
    return clean


def xsw1(response: etree._Element) -> None:
    """The signed message is inside the signature of a forged one."""
    good, signature = original(response), at(response, "ds:Signature")
    response.set("ID", unique())
    eppn_of(response).text = DIRECTOR
    signature.append(good)


def xsw2(response: etree._Element) -> None:
    """The signed message is before its signature, in a forged one."""
    good, signature = original(response), at(response, "ds:Signature")
    response.set("ID", unique())
    eppn_of(response).text = DIRECTOR
    signature.addprevious(good)


def xsw3(response: etree._Element) -> None:
    """A forged assertion is before the signed one."""
    good = at(response, "saml:Assertion")
    good.addprevious(forged(good))


def xsw4(response: etree._Element) -> None:
    """A forged assertion is around the signed one."""
    good = at(response, "saml:Assertion")
    evil = forged(good)
    response.replace(good, evil)
    evil.append(good)


def xsw5(response: etree._Element) -> None:
    """The forged assertion has the signature; the signed one comes later without it."""
    good = at(response, "saml:Assertion")
    clean, signature = original(good), at(good, "ds:Signature")
    evil = forged(good)
    evil.insert(1, signature)
    response.replace(good, evil)
    response.append(clean)


def xsw6(response: etree._Element) -> None:
    """The signed assertion is inside its signature, in a forged one."""
    good = at(response, "saml:Assertion")
    clean, signature = original(good), at(good, "ds:Signature")
    evil = forged(good)
    evil.insert(1, signature)
    signature.append(clean)
    response.replace(good, evil)


def xsw7(response: etree._Element) -> None:
    """A forged assertion of the same ID is in an extension."""
    good = at(response, "saml:Assertion")
    evil = forged(good)
    evil.set("ID", good.get("ID", ""))
    extensions = etree.Element(f"{{{SAMLP}}}Extensions")
    extensions.append(evil)
    at(response, "saml:Issuer").addnext(extensions)


def xsw8(response: etree._Element) -> None:
    """The signed assertion is in an object of its signature, in a forged one."""
    good = at(response, "saml:Assertion")
    clean, signature = original(good), at(good, "ds:Signature")
    evil = forged(good)
    evil.insert(1, signature)
    add(signature, "ds:Object").append(clean)
    response.replace(good, evil)


def moved_to(path: str) -> Change:
    """The signed assertion is somewhere else, and a forged one is in its place."""

    def change(response: etree._Element) -> None:
        good = at(response, "saml:Assertion")
        response.replace(good, forged(good))
        place = response
        for name in path.split("/"):
            found = place.find(name, NS)
            place = found if found is not None else add(place, name)
        place.append(good)

    return change


def in_advice(response: etree._Element) -> None:
    good = at(response, "saml:Assertion")
    evil = forged(good)
    response.replace(good, evil)
    add(evil, "saml:Advice").append(good)


def in_ciphertext(assertion: etree._Element) -> None:
    """What is encrypted is a forged assertion around the signed one."""
    good = copy.deepcopy(assertion)
    evil = forged(assertion)
    for child in list(assertion):
        assertion.remove(child)
    assertion.set("ID", evil.get("ID", ""))
    assertion.extend(list(evil))
    add(assertion, "saml:Advice").append(good)


def polluted(response: etree._Element) -> None:
    """Two attributes that some reader takes for the ID."""
    response.set(f"{{{SAMLP}}}ID", response.get("ID", ""))
    response.set("ID", unique())


def confused(response: etree._Element) -> None:
    """A forged assertion in a namespace that is nearly the right one."""
    good = at(response, "saml:Assertion")
    text = etree.tostring(forged(good)).replace(SAML.encode(), SAML.encode() + b"/")
    good.addprevious(etree.fromstring(text))


def same_id(response: etree._Element) -> None:
    at(response, ".//saml:AuthnStatement").set("Id", at(response, "saml:Assertion").get("ID", ""))


def base_of(response: etree._Element) -> None:
    response.set("{http://www.w3.org/XML/1998/namespace}base", "https://evil.test/")


def xml_id(response: etree._Element) -> None:
    response.set("{http://www.w3.org/XML/1998/namespace}id", "other")


WRAPPING = [
    Case(name="XSW1", control=ONLY_MESSAGE, defect={"after": xsw1}, unseen=True),
    Case(name="XSW2", control=ONLY_MESSAGE, defect={"after": xsw2}, unseen=True),
    Case(name="XSW3", control=ONLY_ASSERTION, defect={"after": xsw3}),
    Case(name="XSW4", control=ONLY_ASSERTION, defect={"after": xsw4}, unseen=True),
    Case(name="XSW5", control=ONLY_ASSERTION, defect={"after": xsw5}, unseen=True),
    Case(name="XSW6", control=ONLY_ASSERTION, defect={"after": xsw6}, unseen=True),
    Case(name="XSW7", control=ONLY_ASSERTION, defect={"after": xsw7}, unseen=True),
    Case(name="XSW8", control=ONLY_ASSERTION, defect={"after": xsw8}, unseen=True),
    Case(
        name="wrapped in Extensions",
        control=ONLY_ASSERTION,
        defect={"after": moved_to("samlp:Extensions")},
        unseen=True,
    ),
    Case(
        name="wrapped in StatusDetail",
        control=ONLY_ASSERTION,
        defect={"after": moved_to("samlp:Status/samlp:StatusDetail")},
        unseen=True,
    ),
    Case(name="wrapped in Advice", control=ONLY_ASSERTION, defect={"after": in_advice}, unseen=True),
    Case(
        name="wrapped in a nested Response",
        control=ONLY_ASSERTION,
        defect={"after": moved_to("samlp:Response")},
        unseen=True,
    ),
    Case(name="wrapped in what is encrypted", control=GCM, defect={"sealed": in_ciphertext}),
    Case(name="an ID in a namespace", control=ONLY_MESSAGE, defect={"after": polluted}, unseen=True),
    Case(name="a namespace that is nearly right", control=ONLY_ASSERTION, defect={"after": confused}),
    Case(name="two elements of the same ID", control=ONLY_ASSERTION, defect={"after": same_id}, unseen=True),
    Case(name="a base for references", control=ONLY_ASSERTION, defect={"after": base_of}, unseen=True),
    Case(name="xml:id", control=ONLY_ASSERTION, defect={"after": xml_id}, unseen=True),
]


# what XML can do besides


def commented(root: etree._Element) -> None:
    """A comment, which is not signed, splits the name; some readers stop there."""
    value = eppn_of(root)
    value.text = "radiologist@hospital-brno"
    value.append(etree.Comment("x"))
    value[0].tail = ".test"


def instructed(root: etree._Element) -> None:
    value = eppn_of(root)
    value.text = "radiologist@hospital-brno.test"
    value.append(etree.ProcessingInstruction("x", "y"))
    value[0].tail = ""


def targeted(root: etree._Element) -> None:
    """The same in a NameID inside an attribute (eduPersonTargetedID)."""
    name = at(root, ".//saml:Subject/saml:NameID")
    name.append(etree.Comment("x"))


def declared(text: bytes) -> Callable[[bytes], bytes]:
    """A document type in front."""
    return lambda data: text + data


def deep(data: bytes) -> bytes:
    inside_out = b"<saml:a>" * 5000 + b"</saml:a>" * 5000
    return data.replace(b"<samlp:Status>", inside_out + b"<samlp:Status>")


LAUGHS = (
    b"<!DOCTYPE r [<!ENTITY a 'ha'>"
    + b"".join(b"<!ENTITY %c '%s'>" % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9))
    + b"]>"
)
QUADRATIC = b"<!DOCTYPE r [<!ENTITY a '" + b"a" * 50_000 + b"'>]>"
ON_THE_WAY: dict[str, Any] = ONLY_ASSERTION
XML = [
    Case(name="a comment in the name", control=ON_THE_WAY, defect={"after": commented}, unseen=True),
    Case(
        name="a signed comment in the name",
        control=ON_THE_WAY,
        defect={"in_assertion": commented},
        unseen=True,
    ),
    Case(name="a comment in the NameID", control=ON_THE_WAY, defect={"after": targeted}, unseen=True),
    Case(name="a comment in what is encrypted", control=GCM, defect={"sealed": commented}),
    Case(name="an instruction in the name", control=ON_THE_WAY, defect={"after": instructed}, unseen=True),
    Case(name="an instruction in what is encrypted", control=GCM, defect={"sealed": instructed}),
    Case(
        name="external entity",
        raw=declared(b'<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]>'),
        unseen=True,
    ),
    Case(
        name="external document type",
        raw=declared(b'<!DOCTYPE r SYSTEM "https://evil.test/x.dtd">'),
        unseen=True,
    ),
    Case(
        name="parameter entity",
        raw=declared(b'<!DOCTYPE r [<!ENTITY % x SYSTEM "https://evil.test/x"> %x;]>'),
        unseen=True,
    ),
    Case(name="billion laughs", raw=declared(LAUGHS), unseen=True),
    Case(name="quadratic blow-up", raw=declared(QUADRATIC), unseen=True),
    Case(
        name="UTF-16 with a document type",
        raw=lambda data: ("<?xml version='1.0' encoding='UTF-16'?><!DOCTYPE r []>" + data.decode()).encode(
            "utf-16"
        ),
        unseen=True,
    ),
    Case(name="UTF-16", raw=lambda data: data.decode().encode("utf-16"), unseen=True),
    Case(name="UTF-7", raw=declared(b'<?xml version="1.0" encoding="UTF-7"?>'), unseen=True),
    Case(name="Latin 2", raw=declared(b'<?xml version="1.0" encoding="ISO-8859-2"?>'), unseen=True),
    Case(name="5000 elements deep", raw=deep, unseen=True),
    Case(
        name="a namespace that is relative",
        control=ON_THE_WAY,
        raw=lambda data: data.replace(b"<saml:Assertion ", b'<saml:Assertion xmlns:r="relative" '),
        unseen=True,
    ),
    Case(
        name="an element without a namespace",
        control=ON_THE_WAY,
        raw=lambda data: data.replace(b"<samlp:Status>", b"<x/><samlp:Status>"),
        unseen=True,
    ),
    Case(
        name="XInclude",
        control=ON_THE_WAY,
        raw=lambda data: data.replace(
            b"<samlp:Status>",
            b'<i:include xmlns:i="http://www.w3.org/2001/XInclude" href="file:///etc/passwd"/><samlp:Status>',
        ),
        unseen=True,
    ),
    Case(
        name="another message",
        raw=lambda data: data.replace(b"samlp:Response", b"samlp:ArtifactResponse"),
        unseen=True,
    ),
    Case(name="cut off", raw=lambda data: data[:-20], unseen=True),
    Case(name="two documents", raw=lambda data: data + data, unseen=True),
    Case(name="nothing", raw=lambda data: b"", unseen=True),
    Case(name="zeros", raw=lambda data: b"\0" * 100, unseen=True),
    Case(
        name="compressed as for a redirect",
        raw=lambda data: zlib.compress(data)[2:-4],
        unseen=True,
    ),
    Case(
        name="too many attributes",
        control=ON_THE_WAY,
        raw=lambda data: data.replace(
            b"<samlp:Status>", b"<samlp:Status " + b" ".join(b'a%d=""' % n for n in range(900)) + b">"
        ),
        unseen=True,
    ),
    Case(
        name="too many namespaces",
        control=ON_THE_WAY,
        raw=lambda data: data.replace(
            b"<samlp:Status>",
            b"<samlp:Status " + b" ".join(b'xmlns:n%d="urn:%d"' % (n, n) for n in range(1100)) + b">",
        ),
        unseen=True,
    ),
]

ALL = [*EXHAUSTION, *LIMITS, *PERSONS, *CRYPTOGRAPHY, *WRAPPING, *XML]
