"""Signatures of reports: anybody who has the file can tell that nothing in it was changed, and who made it.

```
{"certificate": PEM, "report": {...}, "signature": base64 of ECDSA P-256 with SHA-256 over canonical(report)}
```

Canonical JSON (`node.journal.entry.canonical`) has sorted keys and no spaces, so what was signed can be made
again from what was read.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from node.domain.errors import BadSignature, Malformed
from node.identity import certificates
from node.identity.keys import NodeKey
from node.journal.entry import canonical


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A report with its signature."""

    report: Mapping[str, Any]
    signature: str
    certificate: str
    """PEM."""

    @property
    def text(self) -> str:
        """The file: canonical JSON and a line end."""
        values = {"certificate": self.certificate, "report": self.report, "signature": self.signature}
        return f"{canonical(values)}\n"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate (DER, hexadecimal)."""
        return certificates.read(self.certificate).fingerprint


def sign(report: Mapping[str, Any], key: NodeKey) -> Signed:
    """Sign a report with the key of the node."""
    made = key.signing.sign(_content(report), ec.ECDSA(SHA256()))
    # What is kept is what a reader finds: plain values.
    plain: dict[str, Any] = json.loads(canonical(report))
    return Signed(report=plain, signature=base64.b64encode(made).decode(), certificate=key.pem)


def read(text: str) -> Signed:
    """Read the file of a report; `verify` says whether it may be believed.

    Raises:
        Malformed: it is none.
    """
    try:
        values = json.loads(text)
        report, signature, certificate = values["report"], values["signature"], values["certificate"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise Malformed("the file is no signed report") from None
    if not (isinstance(report, dict) and isinstance(signature, str) and isinstance(certificate, str)):
        raise Malformed("the file is no signed report")
    return Signed(report=report, signature=signature, certificate=certificate)


def verify(signed: Signed, pinned: Collection[str] | None = None) -> str:
    """See that a report is what the site that it names has signed; the name of that site.

    Args:
        signed: the report.
        pinned: fingerprints of certificates of which one has to be that of the report; any will do if None:
            then the report is whole, and was made by whoever has the key of that certificate.

    Raises:
        Malformed: the certificate is none.
        BadSignature: something was changed, or the certificate is that of another site.
    """
    certificate = certificates.read(signed.certificate)
    public = certificate.public
    if not isinstance(public, ec.EllipticCurvePublicKey):
        raise BadSignature("the certificate is not that of a node")
    try:
        made = base64.b64decode(signed.signature, validate=True)
        public.verify(made, _content(signed.report), ec.ECDSA(SHA256()))
    except (InvalidSignature, binascii.Error, ValueError):
        raise BadSignature("the report was changed after it was signed") from None
    if certificate.name != signed.report.get("site"):
        raise BadSignature(f"the report names {signed.report.get('site')}, {certificate.name} has signed it")
    if pinned is not None and certificate.fingerprint not in pinned:
        raise BadSignature(f"{certificate.name} is not known here by that certificate")
    return certificate.name


def _content(report: Mapping[str, Any]) -> bytes:
    return canonical(report).encode()
