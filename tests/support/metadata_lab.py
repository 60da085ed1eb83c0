"""Makes metadata of identity providers and federations, signed afresh, for tests that change one thing."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import xmlsec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from lxml import etree

from node.domain.alert import DAY, SECOND
from node.identity.certificates import Certificate, read
from node.identity.xmlnames import instant

NOW = 1_800_000_000 * SECOND
"""When the tests take place."""
BRNO_IDP = "https://idp.hospital-brno.test/saml"
PRAGUE_IDP = "https://idp.hospital-prague.test/saml"

_ROOT = """<?xml version="1.0" encoding="UTF-8"?>
<!-- published by a federation -->
<md:{tag} xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" xmlns:ds="http://www.w3.org/2000/09/xmldsig#"
  xmlns:mdui="urn:oasis:names:tc:SAML:metadata:ui" xmlns:shibmd="urn:mace:shibboleth:metadata:1.0"
  xmlns:mdattr="urn:oasis:names:tc:SAML:metadata:attribute" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion"
  xmlns:mdrpi="urn:oasis:names:tc:SAML:metadata:rpi" ID="{name}"{more}>{inside}</md:{tag}>"""


@dataclass(frozen=True)
class Key:
    """A key with its certificate."""

    private: rsa.RSAPrivateKey
    certificate: Certificate

    @property
    def pem(self) -> str:
        """The private key."""
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@cache
def key_of(name: str, bits: int = 2048, days: int = 365) -> Key:
    """A key by name: the same for all tests of a process."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    return Key(private, read_any(private, name, days))


def read_any(private: rsa.RSAPrivateKey, name: str, days: int) -> Certificate:
    """The certificate of a key; a weak one, which the node does not read, is made by hand."""
    begin = datetime.fromtimestamp(NOW / SECOND, UTC) - timedelta(days=1)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=days + 1))
        .sign(private, SHA256())
    )
    pem = made.public_bytes(Encoding.PEM).decode()
    if private.key_size >= 2048:
        return read(pem)
    der = base64.b64encode(made.public_bytes(Encoding.DER)).decode()
    return Certificate(
        pem=pem,
        base64=der,
        fingerprint=made.fingerprint(SHA256()).hex(),
        name=name,
        not_before=0,
        not_after=0,
        public=private.public_key(),
    )


def idp(entity: str = BRNO_IDP, **changes: Any) -> str:
    """The inside of an identity provider's entity, with what is to be otherwise.

    Changes: `names` {language: text}, `keys` names of keys, `scopes` [(text, is pattern)], `sso`, `slo`,
    `attributes` {name: [values]}, `contact`, `protocol`, `role`, `bits`.
    """
    names = changes.get("names", {"cs": "Nemocnice Brno", "en": "Brno Hospital"})
    scopes = changes.get("scopes", [("hospital-brno.test", False)])
    strength = (changes["bits"],) if "bits" in changes else ()
    keys = [key_of(name, *strength) for name in changes.get("keys", ["idp-brno"])]
    sso = changes.get("sso", entity + "/sso")
    slo = changes.get("slo", entity + "/slo")
    attributes = "".join(
        f'<saml:Attribute Name="{name}" NameFormat="urn:oasis:names:tc:SAML:2.0:attrname-format:uri">'
        + "".join(f"<saml:AttributeValue>{value}</saml:AttributeValue>" for value in values)
        + "</saml:Attribute>"
        for name, values in changes.get("attributes", {}).items()
    )
    extensions = f"<mdattr:EntityAttributes>{attributes}</mdattr:EntityAttributes>" if attributes else ""
    role = changes.get("role", "IDPSSODescriptor")
    protocol = changes.get("protocol", "urn:oasis:names:tc:SAML:2.0:protocol")
    shown = "".join(
        f'<mdui:DisplayName xml:lang="{lang}">{text}</mdui:DisplayName>' for lang, text in names.items()
    )
    spoken = "".join(
        f'<shibmd:Scope regexp="{str(pattern).lower()}">{text}</shibmd:Scope>' for text, pattern in scopes
    )
    certificates = "".join(
        '<md:KeyDescriptor use="signing"><ds:KeyInfo><ds:X509Data><ds:X509Certificate>'
        f"{key.certificate.base64}</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>"
        for key in keys
    )
    binding = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
    return (
        (f"<md:Extensions>{extensions}</md:Extensions>" if extensions else "")
        + f'<md:{role} protocolSupportEnumeration="{protocol}">'
        + f"<md:Extensions>{spoken}<mdui:UIInfo>{shown}</mdui:UIInfo></md:Extensions>{certificates}"
        + f'<md:SingleLogoutService Binding="{binding}" Location="{slo}"/>'
        + f'<md:SingleSignOnService Binding="{binding}" Location="{sso}"/></md:{role}>'
        + '<md:ContactPerson contactType="support"><md:EmailAddress>'
        + f"{changes.get('contact', 'mailto:help@hospital-brno.test')}</md:EmailAddress></md:ContactPerson>"
    )


def one(entity: str = BRNO_IDP, *, until: int | None = NOW + 10 * DAY, **changes: Any) -> str:
    """An entity as a document of its own."""
    ends = f' validUntil="{instant(until)}"' if until is not None else ""
    return _ROOT.format(
        tag="EntityDescriptor",
        name="_" + secrets.token_hex(8),
        more=f'{ends} entityID="{entity}"',
        inside=idp(entity, **changes),
    )


def inner(entity: str = BRNO_IDP, *, until: int | None = None, **changes: Any) -> str:
    """An entity inside of an aggregate."""
    ends = f' validUntil="{instant(until)}"' if until is not None else ""
    return f'<md:EntityDescriptor entityID="{entity}"{ends}>{idp(entity, **changes)}</md:EntityDescriptor>'


def aggregate(
    entities: Sequence[str],
    *,
    until: int | None = NOW + 10 * DAY,
    published: int | None = None,
    name: str = "",
) -> str:
    """A list of entities."""
    ends = f' validUntil="{instant(until)}"' if until is not None else ""
    info = (
        f'<md:Extensions><mdrpi:PublicationInfo publisher="urn:test" creationInstant="{instant(published)}"/>'
        "</md:Extensions>"
        if published
        else ""
    )
    return _ROOT.format(
        tag="EntitiesDescriptor",
        name=name or "_" + secrets.token_hex(8),
        more=ends,
        inside=info + "".join(entities),
    )


def signed(
    text: str, key: Key, *, method: str = "RSA_SHA256", digest: str = "SHA256", uri: str | None = None
) -> bytes:
    """The document, signed as federations do it."""
    root = etree.fromstring(text.encode())
    kinds: Any = xmlsec.Transform
    signature = xmlsec.template.create(root, kinds.EXCL_C14N, getattr(kinds, method), ns="ds")
    root.insert(0, signature)
    target = uri if uri is not None else "#" + root.get("ID", "")
    reference = xmlsec.template.add_reference(signature, getattr(kinds, digest), uri=target)
    xmlsec.template.add_transform(reference, kinds.ENVELOPED)
    xmlsec.template.add_transform(reference, kinds.EXCL_C14N)
    xmlsec.template.add_x509_data(xmlsec.template.ensure_key_info(signature))
    signer = xmlsec.SignatureContext()
    xmlsec.tree.add_ids(root, ["ID"])
    signer.key = xmlsec.Key.from_memory(key.pem, xmlsec.KeyFormat.PEM, None)
    signer.key.load_cert_from_memory(key.certificate.pem, xmlsec.KeyFormat.PEM)
    signer.sign(signature)
    return etree.tostring(root, encoding="utf-8", xml_declaration=True)
