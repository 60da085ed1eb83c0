"""The names of SAML 2.0 messages, encryption and bindings, and which algorithms are allowed."""

from __future__ import annotations

from typing import Final

from node.identity.xmlnames import DS, SAML

SAMLP: Final = "urn:oasis:names:tc:SAML:2.0:protocol"
XENC: Final = "http://www.w3.org/2001/04/xmlenc#"
XENC11: Final = "http://www.w3.org/2009/xmlenc11#"
MORE: Final = "http://www.w3.org/2001/04/xmldsig-more#"
EXCLUSIVE: Final = "http://www.w3.org/2001/10/xml-exc-c14n#"
ENVELOPED: Final = DS + "enveloped-signature"

RESPONSE: Final = f"{{{SAMLP}}}Response"
ASSERTION: Final = f"{{{SAML}}}Assertion"
ENCRYPTED_ASSERTION: Final = f"{{{SAML}}}EncryptedAssertion"
ENCRYPTED_ID: Final = f"{{{SAML}}}EncryptedID"
LOGOUT_REQUEST: Final = f"{{{SAMLP}}}LogoutRequest"
LOGOUT_RESPONSE: Final = f"{{{SAMLP}}}LogoutResponse"
ISSUER: Final = f"{{{SAML}}}Issuer"
NAME_ID: Final = f"{{{SAML}}}NameID"
STATUS: Final = f"{{{SAMLP}}}Status"
STATUS_CODE: Final = f"{{{SAMLP}}}StatusCode"
ENCRYPTED_DATA: Final = f"{{{XENC}}}EncryptedData"
ENCRYPTED_KEY: Final = f"{{{XENC}}}EncryptedKey"
SIGNATURE: Final = f"{{{DS}}}Signature"

BEARER: Final = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
ENTITY: Final = "urn:oasis:names:tc:SAML:2.0:nameid-format:entity"
MFA: Final = "https://refeds.org/profile/mfa"
"""A second factor was used (REFEDS MFA Profile v2)."""
SUCCESS: Final = "urn:oasis:names:tc:SAML:2.0:status:Success"
NO_CONTEXT: Final = "urn:oasis:names:tc:SAML:2.0:status:NoAuthnContext"

RSA_SHA256: Final = MORE + "rsa-sha256"
SIGNATURE_METHODS: Final = frozenset(
    {
        RSA_SHA256,
        MORE + "rsa-sha384",
        MORE + "rsa-sha512",
        MORE + "ecdsa-sha256",
        MORE + "ecdsa-sha384",
        MORE + "ecdsa-sha512",
    }
)
DIGEST_METHODS: Final = frozenset({XENC + "sha256", MORE + "sha384", XENC + "sha512"})
AUTHENTICATED: Final = frozenset({XENC11 + "aes128-gcm", XENC11 + "aes192-gcm", XENC11 + "aes256-gcm"})
"""Ciphers that notice when what they encrypt was changed."""
UNAUTHENTICATED: Final = frozenset({XENC + "aes128-cbc", XENC + "aes192-cbc", XENC + "aes256-cbc"})
"""Ciphers that do not: only inside a message whose signature holds."""
OAEP: Final = XENC + "rsa-oaep-mgf1p"
OAEP11: Final = XENC11 + "rsa-oaep"
KEY_TRANSPORTS: Final = frozenset({OAEP, OAEP11})


def samlp(name: str) -> str:
    """A name of the protocol, in Clark notation."""
    return f"{{{SAMLP}}}{name}"


def saml(name: str) -> str:
    """A name of assertions, in Clark notation."""
    return f"{{{SAML}}}{name}"


def ds(name: str) -> str:
    """A name of XML Signature, in Clark notation."""
    return f"{{{DS}}}{name}"
