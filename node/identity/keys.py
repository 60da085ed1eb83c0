"""The key of the node: one EC P-256 key for TLS (both ends) and for signatures, and its change.

```
make ──▶ node.key, node.crt ── prepare ──▶ and next.key, next.crt
                ▲                                   │ the others have read the new metadata
                └── promote: next.* become node.*; the old certificate stays as previous.crt
                    retire: previous.crt goes; nobody may show it any more
```

Nobody signs these certificates but the node itself: the other sites pin them by their fingerprint. Each step
is durable, may be repeated, and may be cut short at any point: `load` finishes what a crash interrupted.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from node.domain.errors import Malformed, MalformedIdentifier, UnusableKey
from node.domain.ids import SiteId
from node.identity.certificates import Certificate, read
from node.identity.files import sync_folder, write_whole
from node.identity.xmlnames import entity_id

VALID: Final = timedelta(days=5 * 365)
_EARLY = timedelta(days=1)
"""How long before it is made a certificate begins, for peers whose clock is behind."""
_ATTEMPTS = 5

KEY, CERTIFICATE = "node.key", "node.crt"
NEXT_KEY, NEXT_CERTIFICATE = "next.key", "next.crt"
PREVIOUS_CERTIFICATE = "previous.crt"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeKey:
    """The key that a node signs with and shows in TLS."""

    site: SiteId
    key_file: Path
    """PEM, for `ssl.SSLContext.load_cert_chain`."""
    certificate_file: Path
    certificate: Certificate
    signing: ec.EllipticCurvePrivateKey = field(repr=False, compare=False)

    @property
    def pem(self) -> str:
        """The certificate (PEM)."""
        return self.certificate.pem

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate (DER, hexadecimal)."""
        return self.certificate.fingerprint


def make(folder: Path, *, site: SiteId, now: int) -> NodeKey:
    """Make the key of a new node and its certificate; what is there already stays.

    Args:
        folder: the folder for keys; made if it is not there.
        site: whose key it is.
        now: microseconds since 1970.

    Raises:
        UnusableKey: there is a certificate without its key.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    _make_pair(folder, KEY, CERTIFICATE, site, now)
    return load(folder)


def load(folder: Path) -> NodeKey:
    """The key that is in use; an interrupted change is finished first.

    Raises:
        UnusableKey: a file is missing or damaged, or key and certificate do not belong together.
    """
    for _ in range(_ATTEMPTS):
        key, pem = _read(folder / KEY), _read(folder / CERTIFICATE)
        if _belong_together(key, pem):
            return _node_key(folder, key, pem)
        _finish(folder)
    raise UnusableKey(f"{folder / KEY} and {folder / CERTIFICATE} do not belong together")


def prepare(folder: Path, *, now: int) -> Certificate:
    """Make the next key beside the one in use; the next one if it is there already.

    Raises:
        UnusableKey: the key in use, or the next one, cannot be read.
    """
    site = load(folder).site
    _make_pair(folder, NEXT_KEY, NEXT_CERTIFICATE, site, now)
    key, pem = _read(folder / NEXT_KEY), _read(folder / NEXT_CERTIFICATE)
    if not _belong_together(key, pem):
        raise UnusableKey(f"{folder / NEXT_KEY} and {folder / NEXT_CERTIFICATE} do not belong together")
    return read(pem.decode())


def promote(folder: Path) -> NodeKey:
    """Put the next key to use; the certificate of the old one stays as `previous.crt` for the overlap.

    Raises:
        UnusableKey: there is no next key, or it cannot be used.
    """
    load(folder)
    key, pem = _read(folder / NEXT_KEY), _read(folder / NEXT_CERTIFICATE)
    if not _belong_together(key, pem):
        raise UnusableKey(f"{folder / NEXT_KEY} and {folder / NEXT_CERTIFICATE} do not belong together")
    write_whole(folder / PREVIOUS_CERTIFICATE, _read(folder / CERTIFICATE), 0o644)
    (folder / NEXT_KEY).replace(folder / KEY)
    sync_folder(folder)
    _finish(folder)
    return load(folder)


def retire(folder: Path) -> None:
    """End the overlap: the previous certificate is forgotten."""
    (folder / PREVIOUS_CERTIFICATE).unlink(missing_ok=True)
    sync_folder(folder)


def published(folder: Path) -> tuple[Certificate, ...]:
    """What the node's metadata lists: the certificate in use, then the next and the previous one, if any.

    Raises:
        UnusableKey: one of them cannot be read.
    """
    found = [load(folder).certificate]
    for name in (NEXT_CERTIFICATE, PREVIOUS_CERTIFICATE):
        if (folder / name).exists():
            found.append(_certificate(folder / name, _read(folder / name)))
    return tuple(dict.fromkeys(found))


def _node_key(folder: Path, key: bytes, pem: bytes) -> NodeKey:
    certificate = _certificate(folder / CERTIFICATE, pem)
    try:
        site = SiteId(certificate.name)
    except MalformedIdentifier:
        raise UnusableKey(f"{folder / CERTIFICATE} does not name a site") from None
    private = _private(key)
    if private is None or not isinstance(private.curve, ec.SECP256R1):
        raise UnusableKey(f"{folder / KEY} is no EC P-256 key")
    return NodeKey(
        site=site,
        key_file=folder / KEY,
        certificate_file=folder / CERTIFICATE,
        certificate=certificate,
        signing=private,
    )


def _make_pair(folder: Path, key_name: str, certificate_name: str, site: SiteId, now: int) -> None:
    """Write a key and its certificate, each unless it is there; the key comes first."""
    if not (folder / key_name).exists():
        if (folder / certificate_name).exists():
            raise UnusableKey(f"{folder / certificate_name} is there without {key_name}")
        pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_whole(folder / key_name, pem, 0o600)
    if not (folder / certificate_name).exists():
        key = _private(_read(folder / key_name))
        if key is None:
            raise UnusableKey(f"{folder / key_name} is no EC key")
        made = _self_signed(key, site, datetime.fromtimestamp(now / 1_000_000, UTC))
        write_whole(folder / certificate_name, made.public_bytes(serialization.Encoding.PEM), 0o644)


def _self_signed(key: ec.EllipticCurvePrivateKey, site: SiteId, now: datetime) -> x509.Certificate:
    """A certificate that is good for both ends of TLS and for signatures, and vouches for nobody else."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, site)])
    names = [x509.DNSName(site), x509.UniformResourceIdentifier(entity_id(site))]
    usage = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    public = key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLY)
        .not_valid_after(now + VALID)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        .add_extension(_SIGNING_ONLY, critical=True)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )


_SIGNING_ONLY = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


def _finish(folder: Path) -> None:
    """The second half of `promote`: the key has changed, so its certificate follows.

    Another process may be doing the same; whoever comes second finds it done.
    """
    with suppress(FileNotFoundError):
        waiting = (folder / NEXT_CERTIFICATE).read_bytes()
        if _belong_together(_read(folder / KEY), waiting):
            (folder / NEXT_CERTIFICATE).replace(folder / CERTIFICATE)
            sync_folder(folder)


def _belong_together(key: bytes, pem: bytes) -> bool:
    private = _private(key)
    try:
        public = x509.load_pem_x509_certificate(pem).public_key()
    except ValueError:
        return False
    return private is not None and private.public_key() == public


def _private(pem: bytes) -> ec.EllipticCurvePrivateKey | None:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        return None
    return key if isinstance(key, ec.EllipticCurvePrivateKey) else None


def _certificate(path: Path, pem: bytes) -> Certificate:
    try:
        return read(pem.decode())
    except (Malformed, UnicodeDecodeError):
        raise UnusableKey(f"{path} is no PEM certificate") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnusableKey(f"{path}: {error.strerror}") from None
