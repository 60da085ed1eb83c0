"""This site as identity providers know it: its addresses, and the messages that it sends them.

Messages go out as a redirect (SAML Bindings §3.4) or as a form that the browser posts (§3.5), signed either
way. They are made as XML, element by element: nothing of an identity provider's metadata is pasted into
text.
"""

from __future__ import annotations

import base64
import secrets
import zlib
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote_plus, urlsplit

from lxml import etree

from node.identity.providers.descriptor import POST, REDIRECT, Provider
from node.identity.saml import signature
from node.identity.saml.keys import SpKeys
from node.identity.saml.names import (
    ISSUER,
    LOGOUT_REQUEST,
    LOGOUT_RESPONSE,
    MFA,
    NAME_ID,
    RSA_SHA256,
    SAMLP,
    STATUS,
    STATUS_CODE,
    SUCCESS,
    saml,
    samlp,
)
from node.identity.xmlnames import SAML, add, instant

LOGOUT_LIFE: Final = 300
"""Seconds for which a request to log out is good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What the browser has to post to an identity provider."""

    action: str
    fields: tuple[tuple[str, str], ...]
    """Names and values, to be sent as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NameId:
    """What an identity provider calls a person for this site (SAML Core §2.2.3)."""

    value: str
    format: str = ""
    qualifier: str = ""
    sp_qualifier: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceProvider:
    """This site as a service provider."""

    entity_id: str
    """By which identity providers know it; it never changes."""
    base_url: str
    """Where browsers find the portal, without a slash at the end."""
    keys: SpKeys
    encrypted_only: bool = False
    """Whether assertions that are not encrypted are refused, although they come by HTTPS."""

    @property
    def acs(self) -> str:
        """Where answers to logins go (SAML Metadata §2.4.4), by POST."""
        return self.base_url + "/saml/acs"

    @property
    def slo(self) -> str:
        """Where messages about logouts go, by redirect or POST."""
        return self.base_url + "/saml/slo"

    @property
    def discovery(self) -> str:
        """Where a discovery service sends people back to."""
        return self.base_url + "/login/discovery"

    def login(self, provider: Provider, *, mfa: bool, now: int) -> etree._Element:
        """A request to log a person in (SAML Core §3.4.1).

        Args:
            provider: who is asked.
            mfa: whether a second factor is asked for (REFEDS MFA).
            now: microseconds since 1970.
        """
        place = provider.location(REDIRECT) or provider.location(POST)
        request = self._message(samlp("AuthnRequest"), place, now)
        request.set("AssertionConsumerServiceURL", self.acs)
        request.set("ProtocolBinding", POST)
        add(request, samlp("NameIDPolicy"), AllowCreate="true")
        if mfa:
            wanted = add(request, samlp("RequestedAuthnContext"), Comparison="exact")
            add(wanted, saml("AuthnContextClassRef"), MFA)
        return request

    def logout(self, place: str, name: NameId, session_index: str, *, now: int) -> etree._Element:
        """A request to end a session there (SAML Core §3.7.1)."""
        request = self._message(LOGOUT_REQUEST, place, now)
        request.set("NotOnOrAfter", instant(now + LOGOUT_LIFE * 1_000_000))
        subject = add(request, NAME_ID, name.value)
        for attribute, value in (
            ("Format", name.format),
            ("NameQualifier", name.qualifier),
            ("SPNameQualifier", name.sp_qualifier),
        ):
            if value:
                subject.set(attribute, value)
        if session_index:
            add(request, samlp("SessionIndex"), session_index)
        return request

    def logout_answer(self, place: str, request: str, *, now: int) -> etree._Element:
        """The answer to a request of an identity provider to end a session (SAML Core §3.7.2)."""
        answer = self._message(LOGOUT_RESPONSE, place, now)
        answer.set("InResponseTo", request)
        add(add(answer, STATUS), STATUS_CODE, Value=SUCCESS)
        return answer

    def redirect(self, message: etree._Element, relay: str = "") -> str:
        """The address to which the browser has to go with a message, which the query signs."""
        engine = zlib.compressobj(9, zlib.DEFLATED, -15)
        packed = engine.compress(etree.tostring(message)) + engine.flush()
        query = f"{_field_of(message)}={quote_plus(base64.b64encode(packed).decode())}"
        if relay:
            query += f"&RelayState={quote_plus(relay)}"
        query += f"&SigAlg={quote_plus(RSA_SHA256)}"
        value = signature.signed_query(query.encode(), self.keys.current().private)
        place = message.get("Destination", "")
        joint = "&" if urlsplit(place).query else "?"
        return f"{place}{joint}{query}&Signature={quote_plus(value)}"

    def form(self, message: etree._Element, relay: str = "") -> Form:
        """What the browser has to post with a message, which is signed in itself."""
        key = self.keys.current()
        signature.sign(message, key.private, key.certificate.pem)
        fields = ((_field_of(message), base64.b64encode(etree.tostring(message)).decode()),)
        return Form(
            action=message.get("Destination", ""),
            fields=(*fields, ("RelayState", relay)) if relay else fields,
        )

    def _message(self, tag: str, destination: str, now: int) -> etree._Element:
        message = etree.Element(tag, nsmap={"samlp": SAMLP, "saml": SAML})
        for name, value in (
            ("ID", "_" + secrets.token_hex(20)),
            ("Version", "2.0"),
            ("IssueInstant", instant(now)),
            ("Destination", destination),
        ):
            message.set(name, value)
        add(message, ISSUER, self.entity_id)
        return message


def _field_of(message: etree._Element) -> str:
    """The parameter in which a message travels."""
    return "SAMLResponse" if message.tag == LOGOUT_RESPONSE else "SAMLRequest"
