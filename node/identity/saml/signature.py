"""Signatures of identity providers: which are looked at and by whose key; and those of this site.

python3-saml lets libxmlsec carry out whatever a signature asks for, style sheets included. Here the shape
is checked before (one reference, to the element that the signature is in; exclusive canonicalization;
SHA-256 and better), libxmlsec is told to know nothing else, the element is taken out of its document so
that no other one could be meant, and the key comes from the metadata. `node.identity.saml.second` gives
python3-saml this same verifier.
"""

from __future__ import annotations

import base64
import copy
from collections.abc import Container, Iterable
from typing import Any, Final

import xmlsec as typed_xmlsec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from lxml import etree

from node.domain.errors import BadSignature, Malformed
from node.identity.certificates import known
from node.identity.saml.keys import private_pem
from node.identity.saml.names import (
    DIGEST_METHODS,
    ENVELOPED,
    EXCLUSIVE,
    ISSUER,
    MORE,
    SIGNATURE,
    SIGNATURE_METHODS,
    ds,
)
from node.identity.xmlnames import local, only
from node.identity.xmlsig import dss_signature

xmlsec: Any = typed_xmlsec
"""Its names are made when it is loaded, so that no checker of types knows them."""

_TRANSFORM = xmlsec.Transform
_DIGESTING = (_TRANSFORM.SHA256, _TRANSFORM.SHA384, _TRANSFORM.SHA512)
_SIGNING = (
    _TRANSFORM.RSA_SHA256,
    _TRANSFORM.RSA_SHA384,
    _TRANSFORM.RSA_SHA512,
    _TRANSFORM.ECDSA_SHA256,
    _TRANSFORM.ECDSA_SHA384,
    _TRANSFORM.ECDSA_SHA512,
)
_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
_PREFIXES = f"{{{EXCLUSIVE}}}InclusiveNamespaces"
_MAX_PREFIXES = 200
"""Characters of a list of prefixes; Shibboleth has `xsd` there."""


def demand_shape(signature: etree._Element) -> None:
    """Refuse every signature but a plain one over the element that it is in.

    Raises:
        BadSignature: it has another shape, or names an algorithm that is not allowed.
    """
    _demand_children(signature, (ds("SignedInfo"), ds("SignatureValue")), optional=ds("KeyInfo"))
    info = signature[0]
    _demand_children(info, (ds("CanonicalizationMethod"), ds("SignatureMethod"), ds("Reference")))
    _demand_algorithm(info[0], {EXCLUSIVE})
    _demand_algorithm(info[1], SIGNATURE_METHODS)
    _demand_reference(info[2], _id_of(signature.getparent()))
    if not "".join((signature[1].text or "").split()) or len(signature[1]):
        raise BadSignature("the signature is empty")


def verify(element: etree._Element, certificates: Iterable[str]) -> etree._Element:
    """Insist that an element is signed, by the one signature among its children.

    Args:
        element: one with an `ID`.
        certificates: those that may have signed it (PEM), from metadata and never from the message.

    Returns:
        What was verified, as a document of its own: to be read instead of `element`.

    Raises:
        BadSignature: it is not signed by one of them, or was changed.
    """
    demand_shape(only(element, SIGNATURE, BadSignature))
    for pem in certificates:
        alone = _alone(element)
        if _holds(alone, pem):
            return alone
    raise BadSignature(f"{local(element.tag)} is signed by a key that is not known here, or was changed")


def is_signed(element: etree._Element) -> bool:
    """Whether there is a signature of the element itself; not whether it holds."""
    return element.find(SIGNATURE) is not None


def context(pem: str) -> Any:
    """A verifier that knows the key of a certificate, and the few things that a signature may ask for.

    Raises:
        BadSignature: the certificate cannot be used.
    """
    try:
        known(pem)
        verifier = xmlsec.SignatureContext()
        verifier.key = xmlsec.Key.from_memory(pem, xmlsec.KeyFormat.CERT_PEM, None)
    except (Malformed, xmlsec.Error):
        raise BadSignature("a certificate of the identity provider cannot be used") from None
    verifier.set_enabled_key_data([xmlsec.KeyData.X509])
    for transform in (_TRANSFORM.ENVELOPED, _TRANSFORM.EXCL_C14N, *_DIGESTING):
        verifier.enable_reference_transform(transform)
    for transform in (_TRANSFORM.EXCL_C14N, *_SIGNING):
        verifier.enable_signature_transform(transform)
    return verifier


def verify_query(text: bytes, value: bytes, method: str, certificates: Iterable[str]) -> None:
    """Insist that a query is signed as the HTTP-Redirect binding has it (SAML Bindings §3.4.4.1).

    Args:
        text: the part that is signed, as it was sent.
        value: the signature.
        method: the algorithm that the query names.
        certificates: those that may have signed it (PEM).

    Raises:
        BadSignature: it is not signed by one of them, or in a way that is not allowed.
    """
    if method not in SIGNATURE_METHODS:
        raise BadSignature("the query names an algorithm that is not allowed")
    if not any(_is_signed_by(text, value, method, pem) for pem in certificates):
        raise BadSignature("the query is signed by a key that is not known here, or was changed")


def sign(element: etree._Element, key: rsa.RSAPrivateKey, certificate: str) -> None:
    """Sign a message of this site with RSA and SHA-256, after its issuer (SAML Core §3.2.1)."""
    signature = xmlsec.template.create(element, _TRANSFORM.EXCL_C14N, _TRANSFORM.RSA_SHA256, ns="ds")
    only(element, ISSUER).addnext(signature)
    reference = xmlsec.template.add_reference(signature, _TRANSFORM.SHA256, uri="#" + _id_of(element))
    xmlsec.template.add_transform(reference, _TRANSFORM.ENVELOPED)
    xmlsec.template.add_transform(reference, _TRANSFORM.EXCL_C14N)
    xmlsec.template.add_x509_data(xmlsec.template.ensure_key_info(signature))
    signer = xmlsec.SignatureContext()
    signer.register_id(element, "ID")
    signer.key = xmlsec.Key.from_memory(private_pem(key), xmlsec.KeyFormat.PEM, None)
    signer.key.load_cert_from_memory(certificate, xmlsec.KeyFormat.PEM)
    signer.sign(signature)


def signed_query(text: bytes, key: rsa.RSAPrivateKey) -> str:
    """The signature of a query, in base64; its algorithm is RSA with SHA-256."""
    return base64.b64encode(key.sign(text, padding.PKCS1v15(), hashes.SHA256())).decode()


def _alone(element: etree._Element) -> etree._Element:
    """The element as a document of its own, with the prefixes that are declared around it.

    A signature may list them (Exclusive XML Canonicalization §2.1), and copying would drop those not used.
    """
    if element.getparent() is None:
        return copy.deepcopy(element)
    return etree.fromstring(etree.tostring(element, with_tail=False), etree.XMLParser(resolve_entities=False))


def _holds(alone: etree._Element, pem: str) -> bool:
    """Whether the signature holds in a document that has no other element with an ID that could be meant."""
    verifier = context(pem)
    verifier.register_id(alone, "ID")
    try:
        verifier.verify(only(alone, SIGNATURE, BadSignature))
    except xmlsec.Error:
        return False
    return True


def _is_signed_by(text: bytes, value: bytes, method: str, pem: str) -> bool:
    kind, _, digest = method.removeprefix(MORE).partition("-")
    try:
        key = known(pem).public
        if kind == "rsa" and isinstance(key, rsa.RSAPublicKey):
            key.verify(value, text, padding.PKCS1v15(), _HASHES[digest])
        elif kind == "ecdsa" and isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(dss_signature(value, key), text, ec.ECDSA(_HASHES[digest]))
        else:
            return False
    except (InvalidSignature, Malformed):
        return False
    return True


def _demand_reference(reference: etree._Element, identity: str) -> None:
    if list(reference.attrib) != ["URI"] or not identity or reference.get("URI") != "#" + identity:
        raise BadSignature("a signature is not over the element that it is in")
    _demand_children(reference, (ds("Transforms"), ds("DigestMethod"), ds("DigestValue")))
    _demand_children(reference[0], (ds("Transform"), ds("Transform")))
    _demand_algorithm(reference[0][0], {ENVELOPED})
    _demand_algorithm(reference[0][1], {EXCLUSIVE}, prefixes=True)
    _demand_algorithm(reference[1], DIGEST_METHODS)


def _demand_children(element: etree._Element, tags: tuple[str, ...], optional: str | None = None) -> None:
    """The element has these children in this order, and after them possibly the optional one."""
    found = tuple([child.tag for child in element])
    if found not in {tags, (*tags, optional)}:
        raise BadSignature(f"{local(element.tag)} does not have the form that is allowed")


def _demand_algorithm(element: etree._Element, allowed: Container[str], *, prefixes: bool = False) -> None:
    """The element names an allowed algorithm, without parameters but a list of prefixes where that may be."""
    children = [child.tag for child in element]
    if element.get("Algorithm", "") not in allowed or len(element.attrib) != 1:
        raise BadSignature(f"{local(element.tag)} names an algorithm that is not allowed")
    if children and not (prefixes and children == [_PREFIXES]):
        raise BadSignature(f"{local(element.tag)} has parameters that are not allowed")
    for child in element:
        if (
            list(child.attrib) != ["PrefixList"]
            or len(child)
            or len(child.get("PrefixList", "")) > _MAX_PREFIXES
        ):
            raise BadSignature("InclusiveNamespaces does not have the form that is allowed")


def _id_of(element: etree._Element | None) -> str:
    return (element.get("ID") or "") if element is not None else ""
