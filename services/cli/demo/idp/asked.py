"""What a portal asks an identity provider of the demonstration, by way of somebody's browser."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_plus

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from lxml import etree

from node.domain.errors import Rejected
from services.cli.demo.idp.houses import House, Portal
from services.cli.demo.idp.names import MFA, RSA_SHA256, SAML, SAMLP

LARGEST: Final = 64 << 10
"""Bytes of a request once it is unpacked."""
AUTHN_REQUEST: Final = f"{{{SAMLP}}}AuthnRequest"
LOGOUT_REQUEST: Final = f"{{{SAMLP}}}LogoutRequest"
_PARSER: Final = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request whose signature was verified."""

    id: str
    portal: Portal
    relay_state: str
    wants_mfa: bool


def read(house: House, query: str, kind: str) -> Request:
    """Read a request that came in a redirect (SAML Bindings §3.4), and verify who sent it.

    Args:
        house: who is asked.
        query: what the address has after the question mark, as it was sent.
        kind: what it has to be.

    Raises:
        Rejected: it is none, or not signed by a portal that is known here.
    """
    fields = dict(part.partition("=")[::2] for part in query.split("&"))
    root = _parsed(unquote_plus(fields.get("SAMLRequest", "")))
    if root.tag != kind:
        raise Rejected(f"the request is a {etree.QName(root).localname}")
    portal = house.portal((root.findtext(f"{{{SAML}}}Issuer") or "").strip())
    _verify(fields, portal)
    return Request(
        id=root.get("ID", ""),
        portal=portal,
        relay_state=unquote_plus(fields.get("RelayState", "")),
        wants_mfa=MFA in [one.text for one in root.iter(f"{{{SAML}}}AuthnContextClassRef")],
    )


def _parsed(text: str) -> etree._Element:
    try:
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
        content = unpacker.decompress(base64.b64decode(text, validate=True), LARGEST)
        if unpacker.unconsumed_tail:
            raise Rejected("the request is too large")
        root = etree.fromstring(content, _PARSER)
    except (binascii.Error, zlib.error, etree.XMLSyntaxError) as error:
        raise Rejected("the request is no SAML message, or was cut short on its way") from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise Rejected("the request defines a document type")
    return root


def _verify(fields: Mapping[str, str], portal: Portal) -> None:
    """The signature is over the query as it was sent (SAML Bindings §3.4.4.1)."""
    if unquote_plus(fields.get("SigAlg", "")) != RSA_SHA256:
        raise Rejected("the request is not signed, or not with RSA and SHA-256")
    names = [name for name in ("SAMLRequest", "RelayState", "SigAlg") if name in fields]
    signed = "&".join(f"{name}={fields[name]}" for name in names).encode()
    try:
        signature = base64.b64decode(unquote_plus(fields.get("Signature", "")), validate=True)
    except binascii.Error as error:
        raise Rejected("its signature is not base64") from error
    if not any(_is_signed(signature, signed, one.public_key()) for one in portal.signing):
        raise Rejected(f"the request is not signed by {portal.entity}")


def _is_signed(signature: bytes, signed: bytes, key: object) -> bool:
    if not isinstance(key, rsa.RSAPublicKey):
        return False
    try:
        key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True
