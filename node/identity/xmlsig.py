"""Signatures in XML (XML Signature 1.1), of the one shape that nodes use.

The general XML signature can sign anything, transformed in any way, by any key that it names itself, and most
attacks live in that freedom. Here nothing is taken from the message but the values: the caller names the
elements that have to be signed and the certificates that may have signed them. A signature of any other shape
is refused before anything is computed, and the digests are those of the very elements that the caller reads:
no ID is looked up, no transform is interpreted, no key is fetched.

* exactly one reference for each element, by an ID that occurs once in the whole document;
* exclusive canonicalization, preceded by the enveloped-signature transform where the signature is inside;
* ECDSA or RSA with SHA-256 to SHA-512, digests alike; no `ds:Object`, no other transform, no parameters;
* the key comes from the certificate that the caller gives; `ds:KeyInfo` is not read.
"""

from __future__ import annotations

import base64
import copy
import hashlib
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from lxml import etree

from node.domain.errors import BadSignature
from node.identity.certificates import Certificate, known
from node.identity.keys import NodeKey
from node.identity.xmlnames import DS, WSU, add, local, only
from node.identity.xmlread import demand_plain

MAX_PARTS: Final = 16

_EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"
_ENVELOPED = DS + "enveloped-signature"
_MORE = "http://www.w3.org/2001/04/xmldsig-more#"
_ENC = "http://www.w3.org/2001/04/xmlenc#"
_OURS = _MORE + "ecdsa-sha256"
_ECDSA: Mapping[str, hashes.HashAlgorithm] = MappingProxyType(
    {
        _OURS: hashes.SHA256(),
        _MORE + "ecdsa-sha384": hashes.SHA384(),
        _MORE + "ecdsa-sha512": hashes.SHA512(),
    }
)
_RSA: Mapping[str, hashes.HashAlgorithm] = MappingProxyType(
    {
        _MORE + "rsa-sha256": hashes.SHA256(),
        _MORE + "rsa-sha384": hashes.SHA384(),
        _MORE + "rsa-sha512": hashes.SHA512(),
    }
)
_METHODS = frozenset({*_ECDSA, *_RSA})
_DIGESTS: Mapping[str, Callable[[bytes], Any]] = MappingProxyType(
    {_ENC + "sha256": hashlib.sha256, _MORE + "sha384": hashlib.sha384, _ENC + "sha512": hashlib.sha512}
)

SIGNATURE: Final = f"{{{DS}}}Signature"
_SIGNED_INFO = f"{{{DS}}}SignedInfo"
_VALUE = f"{{{DS}}}SignatureValue"
_KEY_INFO = f"{{{DS}}}KeyInfo"
_METHOD = f"{{{DS}}}SignatureMethod"
_C14N_METHOD = f"{{{DS}}}CanonicalizationMethod"
_REFERENCE = f"{{{DS}}}Reference"
_TRANSFORMS = f"{{{DS}}}Transforms"
_TRANSFORM = f"{{{DS}}}Transform"
_DIGEST_METHOD = f"{{{DS}}}DigestMethod"
_DIGEST = f"{{{DS}}}DigestValue"

_IDS = etree.XPath(
    "//@ID | //@Id | //@id | //@xml:id | //@wsu:Id", namespaces={"wsu": WSU}, smart_strings=False
)
"""Everything that some reader takes for an ID."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """An element that is signed, and the attribute that holds its ID."""

    element: etree._Element
    attribute: str = "ID"
    """In Clark notation: `ID` in SAML, `{...utility-1.0.xsd}Id` in WS-Security."""

    @property
    def uri(self) -> str:
        """How a signature refers to it; `#` alone if it has no ID."""
        return "#" + (self.element.get(self.attribute) or "")


def sign(element: etree._Element, key: NodeKey, position: int = 0) -> None:
    """Sign an element that has an `ID`; the signature becomes its child at `position`.

    The certificate goes along for other readers; `verify` does not look at it.
    """
    signature = _signature([Part(element=element)], (_ENVELOPED, _EXCLUSIVE), key)
    data = add(add(signature, _KEY_INFO), f"{{{DS}}}X509Data")
    add(data, f"{{{DS}}}X509Certificate", key.certificate.base64)
    element.insert(position, signature)


def sign_parts(
    parent: etree._Element, parts: Sequence[Part], key: NodeKey, key_info: Iterable[etree._Element]
) -> None:
    """Sign several elements; the signature becomes the last child of `parent`, which is none of them."""
    signature = _signature(parts, (_EXCLUSIVE,), key)
    add(signature, _KEY_INFO).extend(key_info)
    parent.append(signature)


def verify(element: etree._Element, certificates: Iterable[str]) -> Certificate:
    """Insist that an element is signed, by the one signature among its children.

    What was verified is the whole `element` but for that signature, and nothing else.

    Args:
        element: one with an `ID`.
        certificates: those that may have signed it (PEM).

    Returns:
        The certificate of the key that signed.

    Raises:
        BadSignature: it is not signed by one of them, or in a way that is not allowed.
        MalformedMessage: the document holds comments, which are not signed, or is built to cost much.
    """
    signature = only(element, SIGNATURE, BadSignature)
    info, value = _check(signature, [Part(element=element)], (_ENVELOPED, _EXCLUSIVE))
    bare = copy.deepcopy(element)
    bare.remove(only(bare, SIGNATURE, BadSignature))
    _check_digests(info, [Part(element=bare)])
    for pem in certificates:
        certificate = known(pem)
        if _is_signed(info, value, certificate):
            return certificate
    raise BadSignature(f"{local(element.tag)} is signed by a key that is not known here, or was changed")


def verify_parts(signature: etree._Element, parts: Sequence[Part], certificate: Certificate) -> None:
    """Insist that a signature covers these elements, and nothing else, with the key of the certificate.

    Raises:
        BadSignature: it does not, or it does so in a way that is not allowed.
        MalformedMessage: the document holds comments, which are not signed, or is built to cost much.
    """
    info, value = _check(signature, parts, (_EXCLUSIVE,))
    _check_digests(info, parts)
    if not _is_signed(info, value, certificate):
        raise BadSignature("the message is signed by another key, or was changed")


def canonical(element: etree._Element) -> bytes:
    """The bytes of an element that are signed (Exclusive XML Canonicalization 1.0, without comments).

    Raises:
        BadSignature: it has none.
    """
    try:
        text: bytes = etree.tostring(element, method="c14n", exclusive=True, with_comments=False)
    except etree.LxmlError:
        text = b""
    if not text:
        raise BadSignature(f"{local(element.tag)} has no canonical form")
    return text


def _signature(parts: Sequence[Part], transforms: tuple[str, ...], key: NodeKey) -> etree._Element:
    """A signature over the parts as they are now."""
    signature = etree.Element(SIGNATURE, nsmap={"ds": DS})
    info = add(signature, _SIGNED_INFO)
    add(info, _C14N_METHOD, Algorithm=_EXCLUSIVE)
    add(info, _METHOD, Algorithm=_OURS)
    for part in parts:
        reference = add(info, _REFERENCE, URI=part.uri)
        steps = add(reference, _TRANSFORMS)
        for transform in transforms:
            add(steps, _TRANSFORM, Algorithm=transform)
        add(reference, _DIGEST_METHOD, Algorithm=_ENC + "sha256")
        digest = hashlib.sha256(canonical(part.element)).digest()
        add(reference, _DIGEST, base64.b64encode(digest).decode())
    r, s = decode_dss_signature(key.signing.sign(canonical(info), ec.ECDSA(_ECDSA[_OURS])))
    add(signature, _VALUE, base64.b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big")).decode())
    return signature


def _is_signed(info: etree._Element, value: bytes, certificate: Certificate) -> bool:
    """Whether the key of the certificate made this value for the signed info."""
    method, key = info[1].get("Algorithm", ""), certificate.public
    try:
        if isinstance(key, rsa.RSAPublicKey) and method in _RSA:
            key.verify(value, canonical(info), padding.PKCS1v15(), _RSA[method])
        elif isinstance(key, ec.EllipticCurvePublicKey) and method in _ECDSA:
            key.verify(dss_signature(value, key), canonical(info), ec.ECDSA(_ECDSA[method]))
        else:
            return False
    except InvalidSignature:
        return False
    return True


def dss_signature(value: bytes, key: ec.EllipticCurvePublicKey) -> bytes:
    """An ECDSA signature as the library takes it: XML has r and s, side by side (RFC 6931 2.3.6)."""
    size = (key.key_size + 7) // 8
    if len(value) != 2 * size:
        raise InvalidSignature
    return encode_dss_signature(int.from_bytes(value[:size], "big"), int.from_bytes(value[size:], "big"))


def _check_digests(info: etree._Element, parts: Sequence[Part]) -> None:
    """The digests are those of the parts; the shape has been checked."""
    of = {part.uri: part for part in parts}
    for reference in list(info)[2:]:
        part = of[reference.get("URI", "")]
        digest = _DIGESTS[reference[1].get("Algorithm", "")](canonical(part.element)).digest()
        if _decoded(reference[2]) != digest:
            raise BadSignature(f"{local(part.element.tag)} was changed after it was signed")


def _check(
    signature: etree._Element, parts: Sequence[Part], transforms: tuple[str, ...]
) -> tuple[etree._Element, bytes]:
    """Refuse every shape but the one that `_signature` makes; returns the signed info and the value."""
    demand_plain(signature)
    _demand_children(signature, (_SIGNED_INFO, _VALUE), optional=_KEY_INFO)
    info = signature[0]
    if not 0 < len(parts) <= MAX_PARTS:
        raise BadSignature(f"{len(parts)} elements would have to be signed")
    references = list(info)[2:]
    _demand_children(info, (_C14N_METHOD, _METHOD, *[_REFERENCE for _ in references]))
    _demand_algorithm(info[0], {_EXCLUSIVE})
    _demand_algorithm(info[1], _METHODS)
    _check_targets([reference.get("URI", "") for reference in references], parts)
    for reference in references:
        _check_reference(reference, transforms)
    return info, _decoded(signature[1])


def _check_targets(uris: Sequence[str], parts: Sequence[Part]) -> None:
    """Each part is referred to once, nothing else is, and no other element bears the ID of any."""
    wanted = [part.uri for part in parts]
    if "#" in wanted:
        raise BadSignature("an element that has to be signed has no ID")
    if sorted(uris) != sorted(wanted):
        missing = [local(part.element.tag) for part in parts if part.uri not in uris]
        raise BadSignature(
            f"it does not cover exactly what is read; not covered: {', '.join(missing) or '-'}"
        )
    found: Any = _IDS(parts[0].element)
    if len(set(found)) != len(found):
        raise BadSignature("two elements of the document have the same ID")


def _check_reference(reference: etree._Element, transforms: tuple[str, ...]) -> None:
    if list(reference.attrib) != ["URI"]:
        raise BadSignature("Reference has attributes that are not allowed")
    _demand_children(reference, (_TRANSFORMS, _DIGEST_METHOD, _DIGEST))
    _demand_children(reference[0], tuple([_TRANSFORM for _ in transforms]))
    for step, wanted in zip(reference[0], transforms, strict=True):
        _demand_algorithm(step, {wanted})
    _demand_algorithm(reference[1], _DIGESTS)


def _demand_children(element: etree._Element, tags: tuple[str, ...], optional: str | None = None) -> None:
    """The element has these children in this order, and after them possibly the optional one."""
    found = tuple([child.tag for child in element])
    if found not in {tags, (*tags, optional)}:
        raise BadSignature(f"{local(element.tag)} does not have the form that is allowed")


def _demand_algorithm(element: etree._Element, allowed: Container[str]) -> None:
    """The element names an allowed algorithm, and gives it no parameters."""
    if element.get("Algorithm", "") not in allowed or len(element) or len(element.attrib) != 1:
        raise BadSignature(f"{local(element.tag)} names an algorithm or parameter that is not allowed")


def _decoded(element: etree._Element) -> bytes:
    """The bytes that an element holds in base64."""
    try:
        return base64.b64decode("".join((element.text or "").split()), validate=True)
    except ValueError:
        raise BadSignature(f"{local(element.tag)} is not base64") from None
