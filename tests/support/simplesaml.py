"""SimpleSAMLphp as the identity provider of a hospital: Debian's package, run by PHP's own web server.

```
with IdentityProvider(folder, scope="hospital-brno.test", people=[Account(...)]) as idp:
    node.command("idp", "add", ..., idp.described())          # its metadata, as it publishes them
    idp.trust(portal_metadata)                                # ours, as the portal publishes them
    browser.open(...)
```

It is reached by HTTPS, as a real one is; names that end in `.test` are this machine for the browser of
`tests.support.chromium`. Nothing is installed for it beyond what `tests.support.peers` unpacks.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from lxml import etree

from tests.support.peers import environment, free_port, requires, requires_file, unpacked
from tests.support.tls_front import TlsFront

PASSWORD: Final = "correct horse"
MFA: Final = "https://refeds.org/profile/mfa"
_PATIENCE: Final = 30.0
_READ_JSON: Final = "<?php ${what} = json_decode(file_get_contents(__DIR__ . '/{name}.json'), true);\n"
_DS: Final = "http://www.w3.org/2000/09/xmldsig#"
_METADATA: Final = "/simplesaml/saml2/idp/metadata.php"
_ROUTER: Final = """<?php
// PATH_INFO as a web server in front of PHP would give it
$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
$root = __DIR__ . '/root';
if (!preg_match('#^(/simplesaml/.*?[.]php)(/.*)?$#', $path, $found) || !is_file($root . $found[1])) {
    return false;
}
$_SERVER['SCRIPT_NAME'] = $found[1];
$_SERVER['PHP_SELF'] = $found[1] . ($found[2] ?? '');
$_SERVER['SCRIPT_FILENAME'] = realpath($root . $found[1]);
if (isset($found[2])) { $_SERVER['PATH_INFO'] = $found[2]; } else { unset($_SERVER['PATH_INFO']); }
chdir(dirname($_SERVER['SCRIPT_FILENAME']));
require $_SERVER['SCRIPT_FILENAME'];
return true;
"""
_SECOND_FACTOR: Final = f"""
if (isset($attributes['secondFactor'])) {{ $state['saml:AuthnContextClassRef'] = '{MFA}'; }}
unset($attributes['secondFactor']);
"""
"""Who has a second factor proves it at every login; nobody else does, whatever the portal asks for."""


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody with an account at the hospital, whose password is `PASSWORD`."""

    name: str
    """The login name, which comes before the scope in eduPersonPrincipalName."""
    affiliation: str = "employee"
    entitlements: tuple[str, ...] = ()
    second_factor: bool = False
    without: frozenset[str] = frozenset()
    """Attributes that the hospital does not release for this person."""
    foreign: str = ""
    """The scope of another hospital that is asserted for this person, against all agreements."""

    def attributes(self, scope: str) -> dict[str, list[str]]:
        """What the directory of the hospital says."""
        scope = self.foreign or scope
        said = {
            "uid": [self.name],
            "eduPersonPrincipalName": [f"{self.name}@{scope}"],
            "eduPersonScopedAffiliation": [f"{self.affiliation}@{scope}", f"member@{scope}"],
            "eduPersonEntitlement": list(self.entitlements),
            "schacHomeOrganization": [scope],
            "eduPersonAssurance": ["https://refeds.org/assurance/IAP/high"],
            "displayName": [f"Test {self.name.title()}"],
            "givenName": ["Test"],
            "sn": [self.name.title()],
            "mail": [f"{self.name}@{scope}"],
        }
        said |= {"secondFactor": ["yes"]} if self.second_factor else {}
        return {name: values for name, values in said.items() if name not in self.without and values}


@dataclass(slots=True)
class IdentityProvider:
    """One hospital's SimpleSAMLphp: a folder, a PHP process on a port of this machine, HTTPS before it."""

    folder: Path
    scope: str
    people: Iterable[Account]
    names: dict[str, str] = field(default_factory=dict)
    contact: str = ""
    port: int = field(default_factory=free_port)
    _inside: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None
    _tls: TlsFront | None = None

    def __post_init__(self) -> None:
        requires("php")
        for pattern in ("usr/lib/php/*/dom.so", "usr/lib/php/*/mbstring.so", "usr/lib/php/*/pdo_sqlite.so"):
            requires_file(pattern)
        program = unpacked("simplesamlphp")
        for name in ("config", "metadata", "cert", "log", "data", "tmp", "root"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "root" / "simplesaml").symlink_to(program / "usr/share/simplesamlphp/www")
        (self.folder / "router.php").write_text(_ROUTER)
        _key_pair(self.folder / "cert", "idp")
        self._php("config", "config", _config(self.folder, self.url, program))
        self._php("config", "authsources", self._accounts(), "config")
        self._php("metadata", "saml20-idp-hosted", {self.entity: self._hosted()}, "metadata")
        self._php("metadata", "saml20-sp-remote", {}, "metadata")

    @property
    def host(self) -> str:
        """Its name, which is this machine for the browser of the tests."""
        return f"idp.{self.scope}"

    @property
    def url(self) -> str:
        """Where browsers find it."""
        return f"https://{self.host}:{self.port}"

    @property
    def entity(self) -> str:
        """Its entity ID."""
        return f"https://{self.host}/idp"

    def metadata(self) -> str:
        """Its metadata as it publishes them, with the address of a contact, as federations demand."""
        calls = requests.Session()
        calls.trust_env = False
        said = calls.get(f"http://127.0.0.1:{self._inside}{_METADATA}", timeout=_PATIENCE)
        said.raise_for_status()
        return said.text

    def described(self) -> Path:
        """A file with its metadata as they are now."""
        place = self.folder / "metadata.xml"
        place.write_text(self.metadata())
        return place

    def fingerprints(self) -> list[str]:
        """What its administrator reads over the telephone: the fingerprints of the certificates it shows."""
        shown = etree.fromstring(self.metadata().encode()).iter(f"{{{_DS}}}X509Certificate")
        return [hashlib.sha256(base64.b64decode(one.text or "")).hexdigest() for one in shown]

    def trust(self, *metadata: str) -> None:
        """Take the metadata of these service providers, and forget those of all others."""
        entities = self.folder / "metadata" / "trusted.xml"
        root = etree.Element("{urn:oasis:names:tc:SAML:2.0:metadata}EntitiesDescriptor")
        root.extend(etree.fromstring(text.encode()) for text in metadata)
        entities.write_bytes(etree.tostring(root))
        config = json.loads((self.folder / "config" / "config.json").read_text())
        config["metadata.sources"] = [{"type": "flatfile"}, {"type": "xml", "file": str(entities)}]
        self._php("config", "config", config)

    def begin_rollover(self) -> None:
        """Publish a second signing certificate beside the one in use."""
        _key_pair(self.folder / "cert", "next")
        self._host(new_privatekey="next.key", new_certificate="next.crt")

    def use_next_key(self) -> None:
        """Sign with the second key, and go on publishing the first certificate."""
        self._host(
            privatekey="next.key", certificate="next.crt", new_privatekey="idp.key", new_certificate="idp.crt"
        )

    def end_rollover(self) -> None:
        """Publish the second certificate alone."""
        self._host(privatekey="next.key", certificate="next.crt")

    def use_first_key(self) -> None:
        """Sign with the key of the beginning, as one who has found an old copy of it does."""
        self._host()

    def logout_url(self) -> str:
        """Where somebody logs out at the identity provider, and of all portals from there."""
        back = f"{self.url}/simplesaml/logout.php"
        return f"{self.url}/simplesaml/saml2/idp/SingleLogoutService.php?ReturnTo={back}"

    def log(self) -> str:
        """What it has written down."""
        return "\n".join(place.read_text(errors="replace") for place in (self.folder / "log").glob("*"))

    def start(self) -> Self:
        """Serve, and return when it answers."""
        with (self.folder / "log" / "server").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    requires("php"), "-d", "opcache.enable=0", "-d", f"error_log={self.folder}/log/php",
                    "-S", f"127.0.0.1:{self._inside}", "-t", self.folder / "root", self.folder / "router.php",
                ],
                env=environment() | {"SIMPLESAMLPHP_CONFIG_DIR": str(self.folder / "config")},
                cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        self._tls = TlsFront(self.folder / "cert", self.host, self.port, self._inside)
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                self.metadata()
                return self
            except requests.RequestException:
                assert self._process.poll() is None and time.monotonic() < until, self.log()
                time.sleep(0.05)

    def stop(self) -> None:
        """End it."""
        if self._tls is not None:
            self._tls.stop()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._tls = self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _host(self, **keys: str) -> None:
        self._php("metadata", "saml20-idp-hosted", {self.entity: self._hosted() | keys}, "metadata")

    def _php(self, folder: str, name: str, content: object, variable: str = "config") -> None:
        """A file of settings: JSON, and the PHP that reads it."""
        place = self.folder / folder
        (place / f"{name}.json").write_text(json.dumps(content))
        (place / f"{name}.php").write_text(_READ_JSON.replace("{what}", variable).replace("{name}", name))

    def _accounts(self) -> dict[str, Any]:
        people = {f"{one.name}:{PASSWORD}": one.attributes(self.scope) for one in self.people}
        return {"accounts": {"0": "exampleauth:UserPass"} | people}

    def _hosted(self) -> dict[str, Any]:
        return {
            "host": "__DEFAULT__",
            "auth": "accounts",
            "privatekey": "idp.key",
            "certificate": "idp.crt",
            "userid.attribute": "eduPersonPrincipalName",
            "signature.algorithm": "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
            "attributes.NameFormat": "urn:oasis:names:tc:SAML:2.0:attrname-format:uri",
            "NameIDFormat": ["urn:oasis:names:tc:SAML:2.0:nameid-format:transient"],
            "SingleSignOnServiceBinding": [_REDIRECT, _POST],
            "SingleLogoutServiceBinding": [_REDIRECT, _POST],
            "scope": [self.scope],
            "saml20.sign.response": True,
            "saml20.sign.assertion": True,
            "assertion.encryption": True,
            "validate.authnrequest": True,
            "sign.logout": True,
            "validate.logout": True,
            "redirect.sign": True,
            "redirect.validate": True,
            "UIInfo": {"DisplayName": self.names or {"en": f"Test hospital {self.scope}"}},
            "EntityAttributes": _ENTITY_ATTRIBUTES,
            "contacts": [{"contactType": "support", "emailAddress": self.contact or f"help@{self.scope}"}],
            "authproc": {
                "50": {"class": "core:PHP", "code": _SECOND_FACTOR},
                "100": {"class": "core:AttributeMap", "0": "name2oid"},
            },
        }


_REDIRECT: Final = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
_POST: Final = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
_ENTITY_ATTRIBUTES: Final = {
    "http://macedir.org/entity-category-support": ["http://refeds.org/category/research-and-scholarship"],
    "urn:oasis:names:tc:SAML:attribute:assurance-certification": ["https://refeds.org/sirtfi"],
}


def _config(folder: Path, url: str, program: Path) -> dict[str, Any]:
    """What `config.php` of SimpleSAMLphp says, as far as it differs from what is built in."""
    cookie = folder.name.upper()
    return {
        "baseurlpath": f"{url}/simplesaml/",
        "certdir": f"{folder}/cert/",
        "loggingdir": f"{folder}/log/",
        "datadir": f"{folder}/data/",
        "tempdir": f"{folder}/tmp/",
        "metadatadir": f"{folder}/metadata/",
        "attributenamemapdir": f"{program}/etc/simplesamlphp/attributemap/",
        "technicalcontact_name": "Test contact",
        "technicalcontact_email": "technical@hospital.test",
        "timezone": "UTC",
        "secretsalt": "nothing-is-secret-in-a-test",
        "auth.adminpassword": "not-used-in-tests",
        "admin.protectmetadata": False,
        "showerrors": True,
        "logging.level": 7,
        "logging.handler": "file",
        "logging.logfile": "simplesamlphp",
        "enable.saml20-idp": True,
        "module.enable": {"exampleauth": True, "core": True, "saml": True},
        "session.cookie.name": f"{cookie}SID",
        "session.phpsession.cookiename": f"{cookie}PHP",
        "session.authtoken.cookiename": f"{cookie}TOKEN",
        "session.cookie.secure": True,
        "language.available": ["en"],
        "language.default": "en",
        "theme.use": "default",
        "metadata.sources": [{"type": "flatfile"}],
        "store.type": "sql",
        "store.sql.dsn": f"sqlite:{folder}/data/store.sqlite3",
        "store.sql.prefix": "idp",
    }


def _key_pair(folder: Path, name: str) -> None:
    """An RSA key and its certificate, with which the provider signs."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=3072)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{folder.parent.name} {name}")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=1))
    certificate = builder.not_valid_after(now + datetime.timedelta(days=365)).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    (folder / f"{name}.crt").write_bytes(certificate.public_bytes(pem))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    )
