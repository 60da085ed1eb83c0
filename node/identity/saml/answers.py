"""From the answer of an identity provider to what it says: in which order an answer is looked at.

```
base64, size ─▶ the gate ─▶ who, where, in answer to what ─▶ the signature of the message, if it has one
   ─▶ decryption (AES-CBC only now) ─▶ the gate again ─▶ the signature of the assertion ─▶ status, claims
   ─▶ python3-saml's opinion
```

An assertion counts if its own signature holds or that of the message around it; a signature that is there and
does not hold is never passed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lxml import etree

from node.domain.errors import BadSignature, LoginRefused, SecondFactorNeeded
from node.identity.providers.descriptor import Provider
from node.identity.saml import claims, crypt, gate, second, signature
from node.identity.saml.claims import Claims, Expected
from node.identity.saml.names import (
    ASSERTION,
    ENCRYPTED_ASSERTION,
    ISSUER,
    NO_CONTEXT,
    RESPONSE,
    SIGNATURE,
    STATUS,
    STATUS_CODE,
    SUCCESS,
    samlp,
)
from node.identity.saml.sp import ServiceProvider
from node.identity.xmlnames import only

LONGEST_ALONE: Final = 12 * 3600 * claims.SECOND
"""For how long an assertion may be good that comes alone."""
_CHILDREN: Final = frozenset({ISSUER, SIGNATURE, samlp("Extensions"), STATUS, ASSERTION, ENCRYPTED_ASSERTION})
_STATUS: Final = "urn:oasis:names:tc:SAML:2.0:status:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What an answer has to answer."""

    provider: Provider
    request: str
    """The ID of the request."""
    begun_at: int
    """Microseconds since 1970."""


def read_answer(encoded: str, asked: Asked, sp: ServiceProvider, now: int) -> Claims:
    """What an identity provider answers to a request to log somebody in.

    Args:
        encoded: the answer in base64.
        asked: the request.
        sp: this site.
        now: microseconds since 1970.

    Raises:
        Unauthenticated: it is not good, for one of many reasons, or the identity provider refused.
    """
    response = gate.read(gate.decoded(encoded), {RESPONSE})
    _check_envelope(response, asked, sp, now)
    signed = signature.is_signed(response)
    if signed:
        response = signature.verify(response, asked.provider.certificates)
    _check_status(response)
    opened = _opened(response, sp, verified=signed)
    assertion = opened if opened is not None else only(response, ASSERTION, LoginRefused)
    assertion = _verified(assertion, asked.provider.certificates, covered=signed)
    expected = Expected(
        issuer=asked.provider.entity,
        audience=sp.entity_id,
        recipient=sp.acs,
        request=asked.request,
        since=asked.begun_at,
    )
    said = claims.read(assertion, expected, now)
    second.agree(encoded, opened, said, sp=sp, provider=asked.provider, request=asked.request)
    return said


def read_assertion(xml: bytes, provider: Provider, sp: ServiceProvider, now: int) -> Claims:
    """What an assertion says that comes alone and has to be signed itself.

    Args:
        xml: the assertion.
        provider: who issued it, as it says itself.
        sp: this site, the audience.
        now: microseconds since 1970.

    Raises:
        Unauthenticated: it is not good.
    """
    assertion = _verified(gate.read(xml, {ASSERTION}), provider.certificates, covered=False)
    expected = Expected(issuer=provider.entity, audience=sp.entity_id)
    said = claims.read(assertion, expected, now)
    if said.until > now + LONGEST_ALONE:
        raise LoginRefused("the assertion is good for longer than one may be that comes alone")
    return said


def issuer_of(xml: bytes) -> str:
    """Who an assertion that comes alone says it is from.

    Raises:
        LoginRefused: it does not say so, or is not of the plain form that is looked at.
    """
    return claims.issuer_of(gate.read(xml, {ASSERTION}))


def _check_envelope(response: etree._Element, asked: Asked, sp: ServiceProvider, now: int) -> None:
    """The message is for this address and answers this request (SAML Core §3.2.2, Bindings §3.5.5.2)."""
    if response.get("Version") != "2.0" or not response.get("ID"):
        raise LoginRefused("the message is not of SAML 2.0")
    if {child.tag for child in response} - _CHILDREN:
        raise LoginRefused("the message holds something that is not known here")
    if response.find(ISSUER) is not None:
        claims.demand_issuer(response, asked.provider.entity)
    if response.get("InResponseTo") != asked.request:
        raise LoginRefused("the message does not answer the login that was begun; begin again")
    if response.get("Destination") != sp.acs:
        raise LoginRefused("the message was sent to another address")
    claims.demand_recent(response, asked.begun_at, now)


def _check_status(response: etree._Element) -> None:
    """The identity provider has logged somebody in (SAML Core §3.2.2.2)."""
    code = only(only(response, STATUS, LoginRefused), STATUS_CODE, LoginRefused)
    if code.get("Value") == SUCCESS:
        return
    inner = code.find(STATUS_CODE)
    value = (inner if inner is not None else code).get("Value", "")
    if value == NO_CONTEXT:
        raise SecondFactorNeeded("the identity provider cannot ask for one, or did not get one")
    name = value.removeprefix(_STATUS) if value.startswith(_STATUS) else ""
    said = name if name.isalnum() and len(name) < 40 else "an error"
    raise LoginRefused(f"the identity provider answered {said}")


def _opened(response: etree._Element, sp: ServiceProvider, *, verified: bool) -> etree._Element | None:
    """The assertion, if it is encrypted; it has been through the gate again."""
    held = response.findall(ENCRYPTED_ASSERTION)
    if len(held) + len(response.findall(ASSERTION)) != 1:
        raise LoginRefused("the message does not hold one assertion")
    if held:
        keys = [key.private for key in sp.keys.all()]
        return gate.read_within(crypt.decrypt(held[0], keys, verified=verified), held[0], {ASSERTION})
    if sp.encrypted_only:
        raise LoginRefused("the assertion is not encrypted")
    return None


def _verified(assertion: etree._Element, certificates: Sequence[str], *, covered: bool) -> etree._Element:
    """The assertion whose signature holds, or which a signature around it covers."""
    if signature.is_signed(assertion):
        return signature.verify(assertion, certificates)
    if not covered:
        raise BadSignature("neither the message nor the assertion is signed")
    return assertion
