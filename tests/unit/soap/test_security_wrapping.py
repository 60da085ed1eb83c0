"""Wrapping: the signed element is moved aside, where a signature still finds it, and another takes its place.

Each attack is also shown to a verifier that looks elements up by their IDs, as the general standard does: it
accepts every one of them, which proves that they are attacks.
"""

from __future__ import annotations

import copy
from contextlib import suppress

import pytest
import xmlsec
from lxml import etree

from node.domain.errors import MalformedMessage, Unauthenticated
from node.identity.xmlnames import DS, SAML, WSU, add
from node.identity.xmlread import parse
from node.identity.xmlsig import SIGNATURE
from services.soap.security.names import ID, SOAP12
from tests.support.signed import (
    ARRIVED,
    BRNO,
    NOW,
    Federation,
    body,
    carried,
    reissued,
    resigned,
    security,
    signature,
)

OBJECT = f"{{{DS}}}Object"


@pytest.fixture(scope="module")
def federation(tmp_path_factory) -> Federation:
    return Federation(tmp_path_factory.mktemp("keys"))


def naive(document: etree._Element, found: etree._Element, pem: str) -> bool:
    """Whether a signature holds for whoever resolves its references by ID, first come, first served."""
    context = xmlsec.SignatureContext()
    context.key = xmlsec.Key.from_memory(pem, xmlsec.constants.KeyDataFormatCertPem)
    for element in document.iter(etree.Element):
        for attribute, namespace in (("Id", WSU), ("ID", None)):
            name = f"{{{namespace}}}{attribute}" if namespace else attribute
            if element.get(name):
                with suppress(xmlsec.Error):
                    context.register_id(element, attribute, namespace)
    try:
        context.verify(found)
    except xmlsec.Error:
        return False
    return True


def evil_twin(original: etree._Element) -> etree._Element:
    """The body that the attacker wants to be served."""
    twin = copy.deepcopy(original)
    twin[0][0].text = "9.9.9"
    return twin


def swap(message: etree._Element, identifier: str | None = "id-evil") -> etree._Element:
    """Put the attacker's body in the place of the signed one; returned is what stands for that in the tree.

    Moved as a tree it would change: the library gives names the prefixes of their new surroundings.
    """
    original = body(message)
    twin = evil_twin(original)
    if identifier is None:
        del twin.attrib[ID]
    elif identifier:
        twin.set(ID, identifier)
    message.replace(original, twin)
    return etree.Element("hidden")


def in_a_header(message: etree._Element) -> None:
    add(message[0], "{urn:x}Wrapper").append(swap(message))


def in_a_header_where_the_evil_one_has_no_id(message: etree._Element) -> None:
    add(message[0], "{urn:x}Wrapper").append(swap(message, None))


def in_a_header_before_the_evil_one_with_the_same_id(message: etree._Element) -> None:
    add(message[0], "{urn:x}Wrapper").append(swap(message, ""))


def in_the_security_header(message: etree._Element) -> None:
    security(message).insert(0, swap(message))


def in_a_wrapper_in_the_security_header(message: etree._Element) -> None:
    add(security(message), "{urn:x}Wrapper").append(swap(message))


def in_an_object_of_the_signature(message: etree._Element) -> None:
    add(signature(message), OBJECT).append(swap(message))


def in_the_key_info(message: etree._Element) -> None:
    next(signature(message).iterchildren(f"{{{DS}}}KeyInfo")).append(swap(message))


def in_the_token_reference(message: etree._Element) -> None:
    next(signature(message).iterchildren(f"{{{DS}}}KeyInfo"))[0].append(swap(message))


def inside_the_evil_one(message: etree._Element) -> None:
    hidden = swap(message)
    body(message).append(hidden)


def after_the_evil_one(message: etree._Element) -> None:
    message.append(swap(message))


def before_the_evil_one(message: etree._Element) -> None:
    message.insert(1, swap(message))


def before_the_header(message: etree._Element) -> None:
    message.insert(0, swap(message))


def in_a_wrapper_after_the_evil_one(message: etree._Element) -> None:
    hidden = swap(message)
    add(message, "{urn:x}Wrapper").append(hidden)


def in_a_second_header(message: etree._Element) -> None:
    hidden = swap(message)
    second = etree.Element(f"{{{SOAP12}}}Header")
    second.append(hidden)
    message.insert(1, second)


def in_the_reply_address(message: etree._Element) -> None:
    """Inside a header that the signature does not cover."""
    hidden = swap(message)
    add(add(message[0], "{http://www.w3.org/2005/08/addressing}FaultTo"), "{urn:x}Data").append(hidden)


BODIES = [
    in_a_header,
    in_a_header_where_the_evil_one_has_no_id,
    in_a_header_before_the_evil_one_with_the_same_id,
    in_the_security_header,
    in_a_wrapper_in_the_security_header,
    in_an_object_of_the_signature,
    in_the_key_info,
    in_the_token_reference,
    inside_the_evil_one,
    after_the_evil_one,
    before_the_evil_one,
    before_the_header,
    in_a_wrapper_after_the_evil_one,
    in_a_second_header,
    in_the_reply_address,
]


@pytest.mark.parametrize("attack", BODIES, ids=lambda attack: attack.__name__)
def test_a_body_cannot_be_served_because_the_signed_one_is_somewhere_else(federation, attack):
    message = federation.message()
    assert federation.verify(message).node == BRNO
    signed = etree.tostring(body(message))
    attack(message)
    arrived = parse(etree.tostring(message).replace(b"<hidden/>", signed))
    assert "9.9.9" in etree.tostring(arrived).decode()
    assert naive(arrived, arrived.find(f".//{{*}}Security/{SIGNATURE}"), federation.brno.pem)
    with pytest.raises((Unauthenticated, MalformedMessage)):
        federation.verifier().verify(arrived, federation.brno.fingerprint, NOW)


@pytest.mark.parametrize("name", ["MessageID", "To", "Action", "ReplyTo", "Timestamp"])
def test_no_other_part_can_be_moved_aside_either(federation, name):
    message = federation.message()
    assert federation.verify(message).node == BRNO
    original = next(message[0].iter(f"{{*}}{name}"))
    twin = copy.deepcopy(original)
    twin.set(ID, "id-evil")
    twin.set("extra", "1")
    original.getparent().replace(original, twin)
    add(message[0], "{urn:x}Wrapper").append(original)
    arrived = parse(etree.tostring(message))
    assert naive(arrived, arrived.find(f".//{{*}}Security/{SIGNATURE}"), federation.brno.pem)
    with pytest.raises(Unauthenticated):
        federation.verifier().verify(arrived, federation.brno.fingerprint, NOW)


def evil_assertion(original: etree._Element) -> etree._Element:
    """The assertion that the attacker wants to be believed: another name, another ID, no signature."""
    evil = copy.deepcopy(original)
    evil.remove(evil.find(SIGNATURE))
    evil.set("ID", "_evil")
    next(evil.iter(f"{{{SAML}}}NameID")).text = "operator:director@brno"
    for value in evil.iter(f"{{{SAML}}}AttributeValue"):
        value.text = "director" if value.text == ARRIVED.name else value.text
    return evil


def apart(original: etree._Element) -> tuple[etree._Element, etree._Element]:
    """The signed assertion without its signature, and the signature."""
    bare = copy.deepcopy(original)
    found = bare.find(SIGNATURE)
    assert found is not None
    bare.remove(found)
    return bare, found


def xsw1(original: etree._Element) -> etree._Element:
    """The signature moves to the evil one, and holds the signed one in an object."""
    evil, (bare, found) = evil_assertion(original), apart(original)
    add(found, OBJECT).append(bare)
    evil.insert(1, found)
    return evil


def xsw2(original: etree._Element) -> etree._Element:
    """The signature moves to the evil one, with the signed one beside it."""
    evil, (bare, found) = evil_assertion(original), apart(original)
    evil.insert(1, found)
    evil.insert(2, bare)
    return evil


def xsw3(original: etree._Element) -> etree._Element:
    """The signed one, with its signature, becomes the first child of the evil one."""
    evil = evil_assertion(original)
    evil.insert(0, copy.deepcopy(original))
    return evil


def xsw4(original: etree._Element) -> etree._Element:
    """The signed one, with its signature, becomes the last child of the evil one."""
    evil = evil_assertion(original)
    evil.append(copy.deepcopy(original))
    return evil


def xsw5(original: etree._Element) -> etree._Element:
    """The signature moves to the evil one, and the signed one to its end."""
    evil, (bare, found) = evil_assertion(original), apart(original)
    evil.insert(1, found)
    evil.append(bare)
    return evil


def xsw6(original: etree._Element) -> etree._Element:
    """As the fifth, but the signed one is inside the signature, in its key info."""
    evil, (bare, found) = evil_assertion(original), apart(original)
    next(found.iterchildren(f"{{{DS}}}KeyInfo")).append(bare)
    evil.insert(1, found)
    return evil


def xsw7(original: etree._Element) -> etree._Element:
    """The signed one hides in an element that readers skip."""
    evil = evil_assertion(original)
    add(add(evil, f"{{{SAML}}}Advice"), "{urn:x}Extensions").append(copy.deepcopy(original))
    return evil


def xsw8(original: etree._Element) -> etree._Element:
    """The signature moves to the evil one, and the signed one into an object beside it."""
    evil, (bare, found) = evil_assertion(original), apart(original)
    evil.insert(1, found)
    add(evil, OBJECT).append(bare)
    return evil


def same_id(original: etree._Element) -> etree._Element:
    """As the fifth, but both have the same ID, and the signed one comes first."""
    evil, (bare, found) = evil_assertion(original), apart(original)
    evil.insert(0, bare)
    evil.insert(1, found)
    del evil.attrib["ID"]
    evil.set("Id", original.get("ID", ""))
    return evil


def in_the_attribute(original: etree._Element) -> etree._Element:
    """The signed one becomes the value of an attribute."""
    evil, (bare, found) = evil_assertion(original), apart(original)
    evil.insert(1, found)
    add(next(evil.iter(f"{{{SAML}}}AttributeStatement")), f"{{{SAML}}}Attribute").append(bare)
    return evil


def not_the_old_one(element: etree._Element) -> bool:
    """The attacker signs a message with everything in it but the assertion that is only hidden there."""
    return element.get("ID") in {None, "_evil"}


INSIDE = [xsw1, xsw6]
"""The enveloped-signature transform takes away what is inside the signature: these deceive no verifier."""
ASSERTIONS = [xsw1, xsw2, xsw3, xsw4, xsw5, xsw6, xsw7, xsw8, same_id, in_the_attribute]


@pytest.mark.parametrize("wrap", ASSERTIONS, ids=lambda wrap: wrap.__name__)
def test_an_assertion_cannot_borrow_the_signature_of_another(federation, wrap):
    original = federation.assertion()
    assert federation.assertions().verify(original, federation.brno.fingerprint, NOW) == ARRIVED
    evil = parse(etree.tostring(wrap(original)))
    assert naive(evil, next(evil.iter(SIGNATURE)), federation.brno.pem) == (wrap not in INSIDE)
    with pytest.raises(Unauthenticated):
        federation.assertions().verify(evil, federation.brno.fingerprint, NOW)


@pytest.mark.parametrize("wrap", ASSERTIONS, ids=lambda wrap: wrap.__name__)
def test_nor_can_it_in_a_message_that_is_signed_itself(federation, wrap):
    """The sender of the message is a member that was taken over; its assertion is of before that."""
    message = federation.message()
    assert federation.verify(message).node == BRNO

    def exchange(made: etree._Element) -> None:
        security(made).replace(carried(made), wrap(carried(made)))

    forged = resigned(message, federation.brno, exchange, covered=not_the_old_one)
    with pytest.raises(Unauthenticated):
        federation.verify(forged)


@pytest.mark.parametrize("place", ["before", "after", "in a wrapper"])
def test_the_signed_assertion_cannot_vouch_for_another_from_elsewhere_in_the_message(federation, place):
    def exchange(made: etree._Element) -> None:
        original = carried(made)
        evil, (bare, found) = evil_assertion(original), apart(original)
        evil.insert(1, found)
        security(made).replace(original, evil)
        at = security(made)
        if place == "in a wrapper":
            add(made[0], "{urn:x}Wrapper").append(bare)
        else:
            at.insert(at.index(evil) + (place == "after"), bare)

    message = federation.message()
    forged = resigned(message, federation.brno, exchange, covered=not_the_old_one)
    found = next(forged.iter(f"{{{SAML}}}Assertion"))
    assert naive(forged, next(found.getroottree().getroot().iter(SIGNATURE)), federation.brno.pem)
    with pytest.raises(Unauthenticated):
        federation.verify(forged)


def test_an_assertion_that_is_only_in_the_body_is_none(federation):
    message = resigned(
        federation.message(), federation.brno, lambda made: body(made)[0].append(carried(made))
    )
    with pytest.raises(Unauthenticated, match="no assertion"):
        federation.verify(message)


def test_an_assertion_that_was_signed_again_by_the_attacker_is_none_of_brno(federation):
    original = federation.assertion()
    forged = reissued(evil_assertion_signed(original), federation.rogue, lambda _: None)
    with pytest.raises(Unauthenticated, match="not known"):
        federation.assertions().verify(forged, federation.brno.fingerprint, NOW)


def evil_assertion_signed(original: etree._Element) -> etree._Element:
    evil = evil_assertion(original)
    evil.insert(1, apart(original)[1])
    return evil
