"""What an identity provider of the demonstration is on disk: its key, its metadata, the portals it serves.

```
FOLDER/brno/idp.key        with which it signs
FOLDER/brno/idp.crt        what portals know of that key
FOLDER/brno/metadata.xml   what is given to sites
FOLDER/brno/port           where it listens on this machine
FOLDER/brno/portals/*.xml  the metadata of portals that may ask
```
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from lxml import etree

from node.domain.errors import Rejected
from services.cli.demo.idp.names import DS, MD, REDIRECT
from services.cli.demo.idp.people import HOSPITALS, Hospital
from services.cli.demo.running import HOST

DAYS: Final = 365
"""How long a demonstration may last."""
_PEM: Final = serialization.Encoding.PEM
_PARSER: Final = etree.XMLParser(resolve_entities=False, no_network=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Portal:
    """A service provider, as far as an identity provider needs to know it."""

    entity: str
    acs: str
    logout: str
    signing: tuple[x509.Certificate, ...]
    encryption: x509.Certificate


@dataclass(frozen=True)
class House:
    """One identity provider's folder."""

    folder: Path

    @cached_property
    def hospital(self) -> Hospital:
        """Whose it is."""
        return HOSPITALS[self.folder.name]

    @cached_property
    def port(self) -> int:
        """Where it listens."""
        return int((self.folder / "port").read_text("ascii"))

    @property
    def url(self) -> str:
        """Where browsers of this machine find it."""
        return f"http://{HOST}:{self.port}"

    @property
    def metadata(self) -> Path:
        """The file with its metadata."""
        return self.folder / "metadata.xml"

    @cached_property
    def key(self) -> bytes:
        """The private key with which it signs (PEM)."""
        return (self.folder / "idp.key").read_bytes()

    @cached_property
    def certificate(self) -> bytes:
        """The certificate of that key (PEM)."""
        return (self.folder / "idp.crt").read_bytes()

    @property
    def fingerprint(self) -> str:
        """What its administrator would read over the telephone."""
        return x509.load_pem_x509_certificate(self.certificate).fingerprint(hashes.SHA256()).hex()

    def place_of_portal(self, name: str) -> Path:
        """Where the metadata of a portal have to be, for it to ask for logins."""
        (self.folder / "portals").mkdir(exist_ok=True)
        return self.folder / "portals" / f"{name}.xml"

    def portal(self, entity: str) -> Portal:
        """The portal with that entity ID.

        Raises:
            Rejected: there is none.
        """
        for file in sorted(self.folder.glob("portals/*.xml")):
            root = etree.parse(file, _PARSER).getroot()
            if root.get("entityID") == entity:
                return _portal(root)
        raise Rejected(f"this demonstration does not know {entity or 'a portal without a name'}")


def made(folder: Path, site: str, port: int) -> House:
    """Make the identity provider of a site's hospital in a folder; its metadata come later, by `describe`."""
    place = folder / site
    place.mkdir(parents=True)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (place / "idp.key").touch(0o600)
    (place / "idp.key").write_bytes(private)
    (place / "idp.crt").write_bytes(_certificate(key, site).public_bytes(_PEM))
    (place / "port").write_text(str(port), "ascii")
    return House(place)


def found(folder: Path) -> list[House]:
    """Those that were made in a folder."""
    return [House(place.parent) for place in sorted(folder.glob("*/port"))]


def _certificate(key: rsa.RSAPrivateKey, site: str) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"demonstration of {site}, proves nothing")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(hours=1))
    return builder.not_valid_after(now + datetime.timedelta(days=DAYS)).sign(key, hashes.SHA256())


def _portal(root: etree._Element) -> Portal:
    """What the metadata of a service provider say (SAML Metadata §2.4.4)."""
    keys = [(one.get("use"), one) for one in root.iter(f"{{{MD}}}KeyDescriptor")]
    encryption = _certificates(one for use, one in keys if use in (None, "encryption"))
    return Portal(
        entity=root.get("entityID", ""),
        acs=_location(root, "AssertionConsumerService"),
        logout=_location(root, "SingleLogoutService", REDIRECT),
        signing=_certificates(one for use, one in keys if use in (None, "signing")),
        encryption=encryption[0],
    )


def _certificates(keys: Iterable[etree._Element]) -> tuple[x509.Certificate, ...]:
    texts = [text for key in keys for text in (one.text for one in key.iter(f"{{{DS}}}X509Certificate"))]
    wrapped = [
        f"-----BEGIN CERTIFICATE-----\n{(text or '').strip()}\n-----END CERTIFICATE-----" for text in texts
    ]
    return tuple(x509.load_pem_x509_certificate(text.encode()) for text in wrapped)


def _location(root: etree._Element, service: str, binding: str = "") -> str:
    for one in root.iter(f"{{{MD}}}{service}"):
        if not binding or one.get("Binding") == binding:
            return one.get("ResponseLocation") or one.get("Location") or ""
    return ""
