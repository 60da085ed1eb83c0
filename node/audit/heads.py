"""Signed heads: what a site says of the end of its audit record, so that it cannot say otherwise later.

The signature is ECDSA with SHA-256 (FIPS 186-5) by the key of the node, over a text of its own kind: no other
signature of that key can stand for it.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from node.domain.chain import Head
from node.domain.ids import SiteId

_PURPOSE: Final = "konzilium audit head 1"
"""Begins the text that is signed."""
_ALGORITHM: Final = ec.ECDSA(SHA256())


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedHead:
    """The end of the audit record of a site at one moment, as the site has signed it."""

    site: SiteId
    seq: int
    hash: str
    at: int
    """When it was signed; microseconds since 1970."""
    signature: str
    """Base64."""
    certificate: str
    """The fingerprint of the certificate of the key that signed it."""

    @property
    def head(self) -> Head:
        """The end of the chain."""
        return Head(seq=self.seq, hash=self.hash)


def sign(site: SiteId, head: Head, at: int, key: ec.EllipticCurvePrivateKey, fingerprint: str) -> SignedHead:
    """Sign the end of the audit record of a site.

    Args:
        site: whose record.
        head: its end.
        at: now.
        key: of the node.
        fingerprint: of the certificate of that key.
    """
    signature = key.sign(_text(site, head.seq, head.hash, at), _ALGORITHM)
    return SignedHead(
        site=site,
        seq=head.seq,
        hash=head.hash,
        at=at,
        signature=base64.b64encode(signature).decode(),
        certificate=fingerprint,
    )


def is_signed(head: SignedHead, key: object) -> bool:
    """Whether a head was signed with the private half of this key."""
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return False
    try:
        signature = base64.b64decode(head.signature, validate=True)
        key.verify(signature, _text(head.site, head.seq, head.hash, head.at), _ALGORITHM)
    except (ValueError, InvalidSignature):
        return False
    return True


def _text(site: SiteId, seq: int, end: str, at: int) -> bytes:
    return "\n".join((_PURPOSE, site, str(seq), end, str(at))).encode()
