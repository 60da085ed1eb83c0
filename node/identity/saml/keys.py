"""The keys of this site as a service provider: RSA, for its signatures and for what is encrypted for it.

```
make ──▶ saml.key ── prepare ──▶ and saml.next.key
            ▲                        │ the identity providers have read the new metadata
            └── promote: the next one is used; the old one stays as saml.previous.key
                retire: saml.previous.key goes; nothing that is encrypted for it can be read any more
```

Each file holds a private key and its certificate, so that a change is one step for both. Whatever is
encrypted for one of them can be read; what this site signs is signed with the one in use. Metadata list the
certificates of all of them for signatures, and for encryption the next one as soon as there is one: whoever
has read the announcement writes to that, so that nothing is encrypted for the old key when it goes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from node.domain.errors import Malformed, UnusableKey
from node.identity.certificates import Certificate, read
from node.identity.files import sync_folder, write_whole

KEY: Final = "saml.key"
NEXT: Final = "saml.next.key"
PREVIOUS: Final = "saml.previous.key"
BITS: Final = 3072
VALID: Final = timedelta(days=5 * 365)
_EARLY = timedelta(days=1)
"""How long before it is made a certificate begins, for identity providers whose clock is behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpKey:
    """A private key and its certificate."""

    certificate: Certificate
    private: rsa.RSAPrivateKey = field(repr=False, compare=False)


class SpKeys:
    """The keys in a folder; a change there holds from the next login on."""

    def __init__(self, folder: Path) -> None:
        """The keys of a site.

        Args:
            folder: with `saml.key`, which `make` makes.
        """
        self.folder = folder

    def current(self) -> SpKey:
        """The key that this site signs with.

        Raises:
            UnusableKey: it is missing or damaged.
        """
        return _load(self.folder / KEY)

    def all(self) -> tuple[SpKey, ...]:
        """What this site can read: the key in use, then the next and the previous one, if any.

        Raises:
            UnusableKey: one of them is missing or damaged.
        """
        found = [self.current(), *self._others(NEXT), *self._others(PREVIOUS)]
        return tuple(dict.fromkeys(found))

    def signing(self) -> tuple[str, ...]:
        """The certificates that metadata list for signatures (PEM).

        Raises:
            UnusableKey: one of them is missing or damaged.
        """
        return tuple(key.certificate.pem for key in self.all())

    def encryption(self) -> tuple[str, ...]:
        """The certificates that metadata list for encryption (PEM): the next one, or the one in use.

        Raises:
            UnusableKey: one of them is missing or damaged.
        """
        found = self._others(NEXT) or (self.current(),)
        return tuple(key.certificate.pem for key in found)

    def _others(self, name: str) -> tuple[SpKey, ...]:
        path = self.folder / name
        return (_load(path),) if path.exists() else ()


def make(folder: Path, *, name: str, now: int) -> SpKeys:
    """Make the key of a new service provider; one that is there already stays.

    Args:
        folder: the folder for keys; made if it is not there.
        name: the subject of the certificate: the host name of the portal or the site.
        now: microseconds since 1970.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    if not (folder / KEY).exists():
        write_whole(folder / KEY, _made(name, now))
    return SpKeys(folder)


def prepare(folder: Path, *, now: int) -> Certificate:
    """Make the next key beside the one in use; the next one if it is there already.

    Raises:
        UnusableKey: the key in use, or the next one, cannot be read, or the previous one was not retired.
    """
    name = SpKeys(folder).current().certificate.name
    if (folder / PREVIOUS).exists():
        raise UnusableKey(f"{folder / PREVIOUS} is still there from the last change; retire it first")
    if not (folder / NEXT).exists():
        write_whole(folder / NEXT, _made(name, now))
    return _load(folder / NEXT).certificate


def promote(folder: Path) -> Certificate:
    """Put the next key to use; the old one stays, to read what is still encrypted for it.

    Raises:
        UnusableKey: there is no next key, or one of them cannot be read.
    """
    following = _load(folder / NEXT).certificate
    write_whole(folder / PREVIOUS, _bytes_of(folder / KEY))
    (folder / NEXT).replace(folder / KEY)
    sync_folder(folder)
    return following


def retire(folder: Path) -> None:
    """End the overlap: the previous key is forgotten.

    Raises:
        UnusableKey: a change was cut short, and the previous key is the one in use.
    """
    if (folder / NEXT).exists():
        raise UnusableKey(f"{folder / NEXT} is not in use yet; promote it first")
    (folder / PREVIOUS).unlink(missing_ok=True)
    sync_folder(folder)


def _made(name: str, now: int) -> bytes:
    """A key and a certificate that it signed itself: identity providers take it from metadata."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=BITS)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    begin = datetime.fromtimestamp(now / 1_000_000, UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin - _EARLY)
        .not_valid_after(begin + VALID)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return private_pem(key) + certificate.public_bytes(serialization.Encoding.PEM)


def private_pem(key: rsa.RSAPrivateKey) -> bytes:
    """A private key as a file or a library has it (PKCS #8, PEM)."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _load(path: Path) -> SpKey:
    try:
        return _parsed(_bytes_of(path))
    except (ValueError, TypeError, Malformed):
        raise UnusableKey(f"{path} does not hold an RSA key and its certificate") from None


@lru_cache(maxsize=64)
def _parsed(pem: bytes) -> SpKey:
    private = serialization.load_pem_private_key(pem, password=None)
    certificate = read(x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.PEM).decode())
    if not isinstance(private, rsa.RSAPrivateKey) or private.public_key() != certificate.public:
        raise ValueError
    return SpKey(certificate=certificate, private=private)


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnusableKey(f"{path}: {error.strerror}") from None
