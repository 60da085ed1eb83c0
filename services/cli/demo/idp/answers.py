"""What an identity provider of the demonstration says of somebody: signed, and encrypted for one portal."""

from __future__ import annotations

import base64
import secrets
import zlib
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import quote_plus

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from lxml import etree

from services.cli.demo.idp.asked import Request
from services.cli.demo.idp.houses import House
from services.cli.demo.idp.names import (
    ATTRIBUTES,
    BEARER,
    DS,
    MFA,
    PASSWORD,
    RSA_SHA256,
    SAML,
    SAMLP,
    SUCCESS,
    TRANSIENT,
    URI,
)
from services.cli.demo.idp.people import Person
from services.cli.demo.idp.sealed import child, encrypt, sign

LIFE: Final = timedelta(minutes=5)
"""How long an answer may be on its way."""
SESSION: Final = timedelta(hours=8)
_NAMES: Final = {"samlp": SAMLP, "saml": SAML, "ds": DS}


def login(house: House, request: Request, person: Person, *, mfa: bool) -> str:
    """Say who has logged in: a response (SAML Core §3.3.3) in base64, as a form carries it."""
    now = datetime.now(UTC)
    root = _answer(house, request, "Response", request.portal.acs, now)
    assertion = _assertion(house, request, person, MFA if mfa else PASSWORD, now)
    sign(assertion, house)
    root.append(assertion)
    encrypt(assertion, request.portal.encryption)
    sign(root, house)
    return base64.b64encode(etree.tostring(root)).decode("ascii")


def logout(house: House, request: Request) -> str:
    """Say that somebody is logged out: where the browser goes next, with the answer (SAML Core §3.7.2)."""
    root = _answer(house, request, "LogoutResponse", request.portal.logout, datetime.now(UTC))
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = packer.compress(etree.tostring(root)) + packer.flush()
    fields = {"SAMLResponse": base64.b64encode(packed).decode("ascii")}
    fields |= {"RelayState": request.relay_state} if request.relay_state else {}
    query = "&".join(
        f"{name}={quote_plus(value)}" for name, value in (fields | {"SigAlg": RSA_SHA256}).items()
    )
    signature = quote_plus(base64.b64encode(_signed(house, query.encode())))
    separator = "&" if "?" in request.portal.logout else "?"
    return f"{request.portal.logout}{separator}{query}&Signature={signature}"


def _signed(house: House, content: bytes) -> bytes:
    key = serialization.load_pem_private_key(house.key, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key.sign(content, padding.PKCS1v15(), hashes.SHA256())


def _answer(house: House, request: Request, name: str, destination: str, now: datetime) -> etree._Element:
    root = etree.Element(
        f"{{{SAMLP}}}{name}",
        {
            "ID": _name(),
            "Version": "2.0",
            "IssueInstant": _moment(now),
            "Destination": destination,
            "InResponseTo": request.id,
        },
        nsmap=_NAMES,
    )
    child(root, SAML, "Issuer").text = house.hospital.entity
    child(child(root, SAMLP, "Status"), SAMLP, "StatusCode", Value=SUCCESS)
    return root


def _assertion(house: House, request: Request, person: Person, context: str, now: datetime) -> etree._Element:
    """An assertion for the bearer, about one login (SAML Profiles §4.1.4.2)."""
    assertion = etree.Element(
        f"{{{SAML}}}Assertion",
        {"ID": _name(), "Version": "2.0", "IssueInstant": _moment(now)},
        nsmap={"saml": SAML, "ds": DS},
    )
    child(assertion, SAML, "Issuer").text = house.hospital.entity
    _confirm(child(assertion, SAML, "Subject"), request, now)
    conditions = child(
        assertion, SAML, "Conditions", NotBefore=_moment(now - LIFE), NotOnOrAfter=_moment(now + LIFE)
    )
    child(child(conditions, SAML, "AudienceRestriction"), SAML, "Audience").text = request.portal.entity
    statement = child(
        assertion,
        SAML,
        "AuthnStatement",
        AuthnInstant=_moment(now),
        SessionIndex=_name(),
        SessionNotOnOrAfter=_moment(now + SESSION),
    )
    child(child(statement, SAML, "AuthnContext"), SAML, "AuthnContextClassRef").text = context
    _tell(child(assertion, SAML, "AttributeStatement"), house, person)
    return assertion


def _confirm(subject: etree._Element, request: Request, now: datetime) -> None:
    child(subject, SAML, "NameID", Format=TRANSIENT).text = _name()
    confirmation = child(subject, SAML, "SubjectConfirmation", Method=BEARER)
    data = child(confirmation, SAML, "SubjectConfirmationData", InResponseTo=request.id)
    data.set("Recipient", request.portal.acs)
    data.set("NotOnOrAfter", _moment(now + LIFE))


def _tell(statement: etree._Element, house: House, person: Person) -> None:
    scope = house.hospital.scope
    values = {
        "eduPersonPrincipalName": house.hospital.principal(person),
        "eduPersonScopedAffiliation": f"{person.affiliation}@{scope}",
        "schacHomeOrganization": scope,
        "displayName": person.display,
        "mail": house.hospital.principal(person),
    }
    for friendly, value in values.items():
        attribute = child(
            statement, SAML, "Attribute", Name=ATTRIBUTES[friendly], NameFormat=URI, FriendlyName=friendly
        )
        child(attribute, SAML, "AttributeValue").text = value


def _name() -> str:
    return f"_{secrets.token_hex(20)}"


def _moment(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")
