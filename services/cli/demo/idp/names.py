"""Names that SAML gives to things, as far as the demonstration says them."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

SAML: Final = "urn:oasis:names:tc:SAML:2.0:assertion"
SAMLP: Final = "urn:oasis:names:tc:SAML:2.0:protocol"
MD: Final = "urn:oasis:names:tc:SAML:2.0:metadata"
MDUI: Final = "urn:oasis:names:tc:SAML:metadata:ui"
MDATTR: Final = "urn:oasis:names:tc:SAML:metadata:attribute"
SHIBMD: Final = "urn:mace:shibboleth:metadata:1.0"
DS: Final = "http://www.w3.org/2000/09/xmldsig#"

REDIRECT: Final = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
URI: Final = "urn:oasis:names:tc:SAML:2.0:attrname-format:uri"
SUCCESS: Final = "urn:oasis:names:tc:SAML:2.0:status:Success"
TRANSIENT: Final = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"
BEARER: Final = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
RSA_SHA256: Final = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"

PASSWORD: Final = "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport"  # noqa: S105
"""How somebody logs in who shows one factor (SAML Authentication Context §3.4)."""
MFA: Final = "https://refeds.org/profile/mfa"
"""How somebody logs in who shows a second one (REFEDS MFA)."""

ATTRIBUTES: Final = MappingProxyType(
    {
        "eduPersonPrincipalName": "urn:oid:1.3.6.1.4.1.5923.1.1.1.6",
        "eduPersonScopedAffiliation": "urn:oid:1.3.6.1.4.1.5923.1.1.1.9",
        "schacHomeOrganization": "urn:oid:1.3.6.1.4.1.25178.1.2.9",
        "displayName": "urn:oid:2.16.840.1.113730.3.1.241",
        "mail": "urn:oid:0.9.2342.19200300.100.1.3",
    }
)
"""Friendly names, and what they are called in messages (eduPerson, SCHAC, RFC 2798, RFC 4524)."""
