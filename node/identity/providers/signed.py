"""Whether metadata are signed with a key that was pinned (SAML Metadata §3, XML Signature 1.1).

The signature has to be that of the whole document, of the shape that messages have, too
(`node.identity.saml.signature`). The key comes from the pin: an authority has no say, nor has the end of the
certificate, which federations leave as it is for as long as they use the key.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import xmlsec
from lxml import etree

from node.domain.errors import BadSignature, Malformed
from node.identity import certificates
from node.identity.certificates import Certificate
from node.identity.saml.names import SIGNATURE
from node.identity.saml.signature import context, demand_shape
from node.identity.xmlnames import DS

_MOST_SHOWN: Final = 8
"""Certificates in a signature that are looked at."""
_SHOWN: Final = "/".join(f"{{{DS}}}{name}" for name in ("KeyInfo", "X509Data", "X509Certificate"))
_SAME_ID = etree.XPath("count(//@ID[. = $id] | //@Id[. = $id] | //@id[. = $id] | //@xml:id[. = $id])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Which keys count: certificates (PEM), and fingerprints of certificates (SHA-256, hexadecimal)."""

    certificates: tuple[str, ...] = ()
    fingerprints: tuple[str, ...] = ()

    @classmethod
    def of(cls, pins: tuple[str, ...]) -> Trust:
        """The trust that pins stand for, as they are kept."""
        return cls(
            certificates=tuple(pin for pin in pins if pin.startswith("-")),
            fingerprints=tuple(pin for pin in pins if not pin.startswith("-")),
        )


def demand_signed(root: etree._Element, trust: Trust) -> None:
    """Insist that the whole document is signed with a key that counts.

    Raises:
        BadSignature: it is not, or in a way that is not allowed.
    """
    signatures = root.findall(SIGNATURE)
    if len(signatures) != 1:
        raise BadSignature("it is not signed" if not signatures else "it is signed more than once")
    demand_shape(signatures[0])
    if _SAME_ID(root, id=root.get("ID", "")) != 1:
        raise BadSignature("another element has its ID as well")
    keys = [certificates.known(pem) for pem in trust.certificates]
    keys += [one for one in shown(signatures[0]) if one.fingerprint in trust.fingerprints]
    if not keys:
        raise BadSignature("it is not signed with a key that was pinned")
    if not any(_holds(root, signatures[0], key) for key in keys):
        raise BadSignature("it is signed with another key, or was changed after it was signed")


def shown(signature: etree._Element) -> Iterator[Certificate]:
    """The certificates that a signature names itself: they count only if they were pinned."""
    for element in signature.findall(_SHOWN)[:_MOST_SHOWN]:
        try:
            yield certificates.from_base64(element.text or "")
        except Malformed:
            continue


def _holds(root: etree._Element, signature: etree._Element, key: Certificate) -> bool:
    verifier = context(key.pem)
    verifier.register_id(root, "ID")
    try:
        verifier.verify(signature)
    except xmlsec.Error:
        return False
    return True
