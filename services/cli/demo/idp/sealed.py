"""XML that is signed and encrypted, by libxmlsec: what the portal verifies is made by another program."""

from __future__ import annotations

import re

import xmlsec
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from lxml import etree

from services.cli.demo.idp.houses import House
from services.cli.demo.idp.names import SAML


def child(parent: etree._Element, namespace: str, name: str, **attributes: str) -> etree._Element:
    """Add an element."""
    return etree.SubElement(parent, f"{{{namespace}}}{name}", attributes)


def bare(certificate: bytes) -> str:
    """A certificate (PEM) as XML holds it."""
    return "".join(re.sub(r"-----.*?-----", "", certificate.decode("ascii")).split())


def sign(element: etree._Element, house: House) -> None:
    """Sign an element that has an `ID`; the signature follows its issuer (SAML Core §5)."""
    signature = xmlsec.template.create(
        element, xmlsec.constants.TransformExclC14N, xmlsec.constants.TransformRsaSha256, ns="ds"
    )
    element.insert(1, signature)
    reference = xmlsec.template.add_reference(
        signature, xmlsec.constants.TransformSha256, uri=f"#{element.get('ID')}"
    )
    xmlsec.template.add_transform(reference, xmlsec.constants.TransformEnveloped)
    xmlsec.template.add_transform(reference, xmlsec.constants.TransformExclC14N)
    xmlsec.template.add_x509_data(xmlsec.template.ensure_key_info(signature))
    xmlsec.tree.add_ids(element, ["ID"])
    context = xmlsec.SignatureContext()
    context.key = xmlsec.Key.from_memory(house.key, xmlsec.constants.KeyDataFormatPem)
    context.key.load_cert_from_memory(house.certificate, xmlsec.constants.KeyDataFormatPem)
    context.sign(signature)


def encrypt(assertion: etree._Element, certificate: x509.Certificate) -> None:
    """Encrypt an assertion where it stands, for the owner of a certificate: AES-256-GCM, RSA-OAEP."""
    parent = assertion.getparent()
    assert parent is not None
    place = child(parent, SAML, "EncryptedAssertion")
    place.append(assertion)
    data = xmlsec.template.encrypted_data_create(
        place, xmlsec.constants.TransformAes256Gcm, type=xmlsec.constants.TypeEncElement, ns="xenc"
    )
    xmlsec.template.encrypted_data_ensure_cipher_value(data)
    info = xmlsec.template.encrypted_data_ensure_key_info(data, ns="ds")
    wrapped = xmlsec.template.add_encrypted_key(info, xmlsec.constants.TransformRsaOaep)
    xmlsec.template.encrypted_data_ensure_cipher_value(wrapped)
    keys = xmlsec.KeysManager()
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    keys.add_key(xmlsec.Key.from_memory(pem, xmlsec.constants.KeyDataFormatCertPem))
    context = xmlsec.EncryptionContext(keys)
    context.key = xmlsec.Key.generate(xmlsec.constants.KeyDataAes, 256, xmlsec.constants.KeyDataTypeSession)
    context.encrypt_xml(data, assertion)
