"""Securing a message that leaves: address, time, certificate, assertion, and a signature over all of them."""

from __future__ import annotations

import secrets
from typing import Final
from uuid import uuid4

from lxml import etree

from node.domain.errors import MalformedMessage
from node.domain.ids import SiteId
from node.domain.principal import Principal
from node.identity.assertion import LIFE, SECOND, issue
from node.identity.keys import NodeKey
from node.identity.xmlnames import WSU, add, entity_id, instant
from node.identity.xmlsig import Part, sign_parts
from node.identity.xspa import Purpose
from services.soap.security.names import (
    ACTION,
    ADDRESS,
    ANONYMOUS,
    BASE64,
    CREATED,
    DIRECT_REFERENCE,
    EXPIRES,
    ID,
    MESSAGE_ID,
    REPLY_TO,
    SECURITY,
    SOAP11,
    SOAP12,
    TIMESTAMP,
    TO,
    TOKEN,
    TOKEN_REFERENCE,
    WSA,
    WSSE,
    X509V3,
)

_PREFIXES: Final = {"wsse": WSSE, "wsu": WSU}


class Signer:
    """Secures the messages of a node."""

    def __init__(self, key: NodeKey, *, organization: str | None = None) -> None:
        """A signer with the key that the node also shows in TLS.

        Args:
            key: of this node.
            organization: its name as people say it, for the assertions.
        """
        self._key = key
        self._organization = organization

    def secure(
        self,
        envelope: etree._Element,
        *,
        audience: SiteId,
        principal: Principal | None,
        action: str,
        now: int,
        purpose: Purpose = Purpose.TREATMENT,
    ) -> etree._Element:
        """Add addressing and security to an envelope (SOAP 1.1 or 1.2), in place.

        Args:
            envelope: with its final body; whatever is changed afterwards breaks the signature.
            audience: the node that is called.
            principal: who causes the call, at this site; None says nothing of anybody, as a site that is no
                member yet has to.
            action: the WS-Addressing action of the operation.
            now: microseconds since 1970.
            purpose: why it is asked.

        Returns:
            The same envelope.

        Raises:
            Unauthenticated: the principal belongs to another site.
            MalformedMessage: it is no SOAP envelope with a body.
        """
        header, body = _header_and_body(envelope)
        addressing = _address(header, audience, action)
        security = etree.SubElement(header, SECURITY, nsmap=_PREFIXES)
        security.set(f"{{{etree.QName(envelope).namespace}}}mustUnderstand", "1")
        timestamp = add(security, TIMESTAMP)
        add(timestamp, CREATED, instant(now))
        add(timestamp, EXPIRES, instant(now + LIFE * SECOND))
        token = add(security, TOKEN, self._key.certificate.base64, ValueType=X509V3, EncodingType=BASE64)
        parts = [_identified(element) for element in (timestamp, token, body, *addressing)]
        if principal is not None:
            assertion = issue(
                self._key,
                audience=audience,
                principal=principal,
                now=now,
                purpose=purpose,
                organization=self._organization,
            )
            security.append(assertion)
            parts.append(Part(element=assertion))
        sign_parts(security, parts, self._key, [_reference_to(token)])
        return envelope


def _header_and_body(envelope: etree._Element) -> tuple[etree._Element, etree._Element]:
    """The header, made if there is none, and the body."""
    namespace = etree.QName(envelope).namespace
    body = envelope.find(f"{{{namespace}}}Body")
    if namespace not in {SOAP11, SOAP12} or body is None:
        raise MalformedMessage("it is no SOAP envelope with a body")
    header = envelope.find(f"{{{namespace}}}Header")
    if header is None:
        header = etree.Element(f"{{{namespace}}}Header")
        envelope.insert(0, header)
    return header, body


def _address(header: etree._Element, audience: SiteId, action: str) -> list[etree._Element]:
    """Replace the addressing headers, whoever wrote them, by those of a call whose answer comes back here."""
    for element in list(header):
        if etree.QName(element).namespace == WSA:
            header.remove(element)
    wsa = {"wsa": WSA}
    elements = [etree.SubElement(header, tag, nsmap=wsa) for tag in (MESSAGE_ID, TO, ACTION, REPLY_TO)]
    elements[0].text = uuid4().urn
    elements[1].text = entity_id(audience)
    elements[2].text = action
    add(elements[3], ADDRESS, ANONYMOUS)
    return elements


def _identified(element: etree._Element) -> Part:
    """The element as a part to sign, with an ID of its own."""
    element.set(ID, "id-" + secrets.token_hex(12))
    return Part(element=element, attribute=ID)


def _reference_to(token: etree._Element) -> etree._Element:
    """Says that the key is that of the token (X.509 Token Profile 3.2.2)."""
    reference = etree.Element(TOKEN_REFERENCE, nsmap=_PREFIXES)
    add(reference, DIRECT_REFERENCE, URI=f"#{token.get(ID)}", ValueType=X509V3)
    return reference
