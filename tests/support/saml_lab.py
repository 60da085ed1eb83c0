"""Identity providers in a test: answers that are good, and ones with exactly one defect, freshly signed.

What is signed and encrypted here is signed and encrypted by libxmlsec, so that the node, which decrypts by
other means, is not its own judge.
"""

from __future__ import annotations

import base64
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote_plus, urlsplit

import xmlsec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from lxml import etree

from node.catalog.catalog import Catalog
from node.domain.errors import UnknownProvider
from node.domain.ids import SiteId
from node.identity.providers.descriptor import POST, REDIRECT, Provider
from node.identity.saml import keys
from node.identity.saml.login import Begun, LoggedIn, Logins
from node.identity.saml.sp import ServiceProvider

SAML = "urn:oasis:names:tc:SAML:2.0:assertion"
SAMLP = "urn:oasis:names:tc:SAML:2.0:protocol"
DS = "http://www.w3.org/2000/09/xmldsig#"
XENC = "http://www.w3.org/2001/04/xmlenc#"
NS = {"saml": SAML, "samlp": SAMLP, "ds": DS, "xenc": XENC}
BASE = "https://images.prague.test"
ENTITY = BASE + "/saml/metadata"
ACS = BASE + "/saml/acs"
BROWSER = "the secret of one browser"
SITE = SiteId("prague")
PASSWORD = "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport"
MFA = "https://refeds.org/profile/mfa"
EPPN = "urn:oid:1.3.6.1.4.1.5923.1.1.1.6"
RADIOLOGIST = {
    EPPN: ("radiologist@hospital-brno.test",),
    "urn:oid:1.3.6.1.4.1.5923.1.1.1.9": ("employee@hospital-brno.test", "member@hospital-brno.test"),
    "urn:oid:1.3.6.1.4.1.5923.1.1.1.7": ("urn:mace:example.test:role:radiologist",),
    "urn:oid:1.3.6.1.4.1.25178.1.2.9": ("hospital-brno.test",),
    "urn:oid:2.16.840.1.113730.3.1.241": ("Test Radiologist",),
}

Change = Callable[[etree._Element], object]
T = xmlsec.Transform


@dataclass(frozen=True)
class Pair:
    """A private key and its certificate (PEM)."""

    private: Any
    certificate: str

    @property
    def pem(self) -> bytes:
        """The private key."""
        return self.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


@cache
def pair(name: str, kind: str = "rsa") -> Pair:
    """A key of that name, made once in a run: RSA, a weak one, or EC P-256."""
    private: Any = {
        "rsa": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
        "weak": lambda: rsa.generate_private_key(public_exponent=65537, key_size=1024),
        "ec": lambda: ec.generate_private_key(ec.SECP256R1()),
    }[kind]()
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .sign(private, hashes.SHA256())
    )
    return Pair(private, certificate.public_bytes(serialization.Encoding.PEM).decode())


@cache
def site_keys_pem() -> bytes:
    """The key file of a service provider, made once in a run."""
    made = pair("prague")
    return made.pem + made.certificate.encode()


@dataclass(frozen=True)
class Idp:
    """An identity provider of a test."""

    entity: str = "https://idp.hospital-brno.test/idp"
    scopes: tuple[tuple[str, bool], ...] = (("hospital-brno.test", False),)
    key: Pair = field(default_factory=lambda: pair("brno"))
    published: tuple[Pair, ...] = ()
    """The keys in its metadata; its own, if none are given."""
    sso: tuple[tuple[str, str], ...] = ((REDIRECT, "https://idp.hospital-brno.test/sso?realm=staff&x=1"),)
    slo: tuple[tuple[str, str, str], ...] = ((REDIRECT, "https://idp.hospital-brno.test/slo", ""),)
    contact: str = "identity@hospital-brno.test"

    @property
    def provider(self) -> Provider:
        """As its metadata describe it."""
        return Provider(
            entity=self.entity,
            names=(("en", "Hospital Brno"), ("cs", "Nemocnice Brno")),
            sso=self.sso,
            slo=self.slo,
            certificates=tuple(one.certificate for one in self.published or (self.key,)),
            scopes=self.scopes,
            contact=self.contact,
        )


PRAGUE_IDP = Idp(
    entity="https://idp.hospital-prague.test/idp",
    scopes=(("hospital-prague.test", False),),
    key=pair("prague-idp"),
    sso=((REDIRECT, "https://idp.hospital-prague.test/sso"),),
    slo=((POST, "https://idp.hospital-prague.test/slo", "https://idp.hospital-prague.test/slo/answer"),),
    contact="",
)


class Believed:
    """The identity providers that a site of a test believes."""

    def __init__(self, *idps: Idp) -> None:
        self.known = {idp.entity: idp.provider for idp in idps}

    def find(self, entity: str) -> Provider:
        if entity not in self.known:
            raise UnknownProvider(entity)
        return self.known[entity]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer to a login, good in every way but for what is changed."""

    request: str
    idp: Idp = field(default_factory=Idp)
    attributes: dict[str, tuple[str, ...]] = field(default_factory=lambda: dict(RADIOLOGIST))
    context: str = PASSWORD
    acs: str = ACS
    audience: str = ENTITY
    now: float = field(default_factory=time.time)
    assertion_signed: bool = True
    message_signed: bool = True
    cipher: str = ""
    """`AES128_GCM` and the like; empty is not encrypted."""
    transport: str = "RSA_OAEP"
    recipient: Pair = field(default_factory=lambda: pair("prague"))
    method: Any = T.RSA_SHA256
    digest: Any = T.SHA256
    c14n: Any = T.EXCL_C14N
    """Canonicalization of the signature itself."""
    step: Any = T.EXCL_C14N
    """Canonicalization of what is signed."""
    in_assertion: Change | None = None
    """A change that the identity provider signs with the assertion."""
    sealed: Change | None = None
    """A change of the assertion after it was signed, before it is encrypted."""
    in_message: Change | None = None
    """A change that it signs with the message."""
    after: Change | None = None
    """A change on the way."""

    def made(self) -> etree._Element:
        """The answer as XML."""
        assertion = self._assertion()
        if self.in_assertion:
            self.in_assertion(assertion)
        if self.assertion_signed:
            self._sign(assertion)
        if self.sealed:
            self.sealed(assertion)
        response = self._response()
        response.append(assertion)
        if self.cipher:
            encrypt(response, self.recipient.certificate, cipher=self.cipher, transport=self.transport)
        if self.in_message:
            self.in_message(response)
        if self.message_signed:
            self._sign(response)
        if self.after:
            self.after(response)
        return response

    def encoded(self) -> str:
        """The answer as a form has it."""
        return encoded(self.made())

    def _sign(self, element: etree._Element) -> None:
        sign(element, self.idp.key, method=self.method, digest=self.digest, c14n=self.c14n, step=self.step)

    def _response(self) -> etree._Element:
        response = etree.Element(f"{{{SAMLP}}}Response", nsmap={"samlp": SAMLP, "saml": SAML})
        for name, value in (
            ("ID", unique()),
            ("Version", "2.0"),
            ("IssueInstant", instant(self.now)),
            ("Destination", self.acs),
            ("InResponseTo", self.request),
        ):
            response.set(name, value)
        add(response, "saml:Issuer", self.idp.entity)
        status = add(response, "samlp:Status")
        add(status, "samlp:StatusCode", Value="urn:oasis:names:tc:SAML:2.0:status:Success")
        return response

    def _assertion(self) -> etree._Element:
        assertion = etree.Element(f"{{{SAML}}}Assertion", nsmap={"saml": SAML})
        for name, value in (("ID", unique()), ("Version", "2.0"), ("IssueInstant", instant(self.now))):
            assertion.set(name, value)
        add(assertion, "saml:Issuer", self.idp.entity)
        subject = add(assertion, "saml:Subject")
        add(
            subject,
            "saml:NameID",
            "_transient-4711",
            Format="urn:oasis:names:tc:SAML:2.0:nameid-format:transient",
            SPNameQualifier=ENTITY,
        )
        confirmation = add(
            subject, "saml:SubjectConfirmation", Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"
        )
        data = add(confirmation, "saml:SubjectConfirmationData", NotOnOrAfter=instant(self.now + 300))
        if self.request:
            data.set("Recipient", self.acs)
            data.set("InResponseTo", self.request)
        conditions = add(
            assertion,
            "saml:Conditions",
            NotBefore=instant(self.now - 5),
            NotOnOrAfter=instant(self.now + 300),
        )
        add(add(conditions, "saml:AudienceRestriction"), "saml:Audience", self.audience)
        statement = add(
            assertion,
            "saml:AuthnStatement",
            AuthnInstant=instant(self.now - 2),
            SessionNotOnOrAfter=instant(self.now + 28_800),
            SessionIndex="_session-1",
        )
        add(add(statement, "saml:AuthnContext"), "saml:AuthnContextClassRef", self.context)
        if self.attributes:
            self._tell(add(assertion, "saml:AttributeStatement"))
        return assertion

    def _tell(self, told: etree._Element) -> None:
        for name, values in self.attributes.items():
            attribute = add(
                told,
                "saml:Attribute",
                Name=name,
                NameFormat="urn:oasis:names:tc:SAML:2.0:attrname-format:uri",
            )
            for value in values:
                add(attribute, "saml:AttributeValue", value)


class Lab:
    """A site with its logins, an identity provider, and a browser."""

    def __init__(self, folder: Path, *idps: Idp, **options: Any) -> None:
        self.idp = idps[0] if idps else Idp()
        (folder / "keys").mkdir(mode=0o700, exist_ok=True)
        (folder / "keys" / keys.KEY).write_bytes(site_keys_pem())
        self.catalog = Catalog(folder / "catalog.sqlite", origin=SITE)
        self.sp = ServiceProvider(
            entity_id=ENTITY,
            base_url=BASE,
            keys=keys.SpKeys(folder / "keys"),
            encrypted_only=bool(options.pop("encrypted_only", False)),
        )
        self.believed = Believed(*(idps or (self.idp,)))
        self.logins = Logins(self.catalog, self.believed, self.sp, site=SITE, **options)

    def begin(self, **options: Any) -> tuple[Begun, str]:
        """Begin a login; also the ID of the request."""
        given = {"browser": BROWSER, "onward": "/studies?x=1", **options}
        begun = self.logins.begin(given.pop("entity", self.idp.entity), **given)
        return begun, request_in(begun).get("ID", "")

    def answer(self, request: str, **different: Any) -> Answer:
        """The good answer to a request, but for what is different."""
        return Answer(request=request, idp=different.pop("idp", self.idp), **different)

    def login(self, *, bytes_of: Callable[[str], str] | None = None, **different: Any) -> LoggedIn:
        """Begin and answer a login; `bytes_of` changes the answer as the form has it."""
        begun, request = self.begin()
        encoded = self.answer(request, **different).encoded()
        return self.finish(begun, bytes_of(encoded) if bytes_of else encoded)

    def finish(self, begun: Begun, answer: str, *, browser: str = BROWSER) -> LoggedIn:
        """Bring an answer."""
        return self.logins.finish(answer, begun.token, browser=browser, address="192.0.2.7")

    def close(self) -> None:
        self.catalog.close()


def request_in(begun: Begun) -> etree._Element:
    """The request with which a browser is sent away."""
    if begun.form:
        return etree.fromstring(base64.b64decode(dict(begun.form.fields)["SAMLRequest"]))
    return message_in(begun.url)


def message_in(url: str) -> etree._Element:
    """The message that a redirect carries."""
    fields = parse_qs(urlsplit(url).query)
    packed = (fields.get("SAMLRequest") or fields["SAMLResponse"])[0]
    return etree.fromstring(zlib.decompress(base64.b64decode(packed), -15))


def is_signed_query(url: str, certificate: str) -> bool:
    """Whether the query of a redirect is signed with the key of a certificate (SAML Bindings §3.4.4.1)."""
    query = urlsplit(url).query
    query = query[query.index("SAMLRe") :]
    text, _, value = query.partition("&Signature=")
    public = x509.load_pem_x509_certificate(certificate.encode()).public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    public.verify(
        base64.b64decode(parse_qs("v=" + value)["v"][0]), text.encode(), padding.PKCS1v15(), hashes.SHA256()
    )
    return True


def redirected(
    message: etree._Element,
    key: Pair,
    *,
    relay: str = "",
    method: str = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
    signing: hashes.HashAlgorithm | None = None,
) -> str:
    """The query by which an identity provider sends a message, signed."""
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = engine.compress(etree.tostring(message)) + engine.flush()
    field_name = "SAMLResponse" if message.tag.endswith("Response") else "SAMLRequest"
    query = f"{field_name}={quote_plus(base64.b64encode(packed).decode())}"
    query += f"&RelayState={quote_plus(relay)}" if relay else ""
    query += f"&SigAlg={quote_plus(method)}"
    value = key.private.sign(query.encode(), padding.PKCS1v15(), signing or hashes.SHA256())
    return f"{query}&Signature={quote_plus(base64.b64encode(value).decode())}"


def sign(
    element: etree._Element,
    key: Pair,
    *,
    method: Any = T.RSA_SHA256,
    digest: Any = T.SHA256,
    c14n: Any = T.EXCL_C14N,
    step: Any = T.EXCL_C14N,
) -> etree._Element:
    """Sign an element as identity providers do; the signature, which follows its issuer."""
    signature = xmlsec.template.create(element, c14n, method, ns="ds")
    issuer = element.find("saml:Issuer", NS)
    if issuer is None:
        element.insert(0, signature)
    else:
        issuer.addnext(signature)
    reference = xmlsec.template.add_reference(signature, digest, uri="#" + element.get("ID", ""))
    xmlsec.template.add_transform(reference, T.ENVELOPED)
    xmlsec.template.add_transform(reference, step)
    xmlsec.template.add_x509_data(xmlsec.template.ensure_key_info(signature))
    return sealed(element, signature, key)


def sealed(element: etree._Element, signature: etree._Element, key: Pair) -> etree._Element:
    """Fill in the digests and the value of a signature, whatever it asks for."""
    signer = xmlsec.SignatureContext()
    signer.register_id(element, "ID")
    signer.key = xmlsec.Key.from_memory(key.pem, xmlsec.KeyFormat.PEM, None)
    signer.key.load_cert_from_memory(key.certificate, xmlsec.KeyFormat.PEM)
    signer.sign(signature)
    return signature


def encrypt(
    response: etree._Element, certificate: str, *, cipher: str = "AES256_GCM", transport: str = "RSA_OAEP"
) -> None:
    """Encrypt the assertion of an answer for a certificate."""
    assertion = response.find("saml:Assertion", NS)
    assert assertion is not None
    held = add(response, "saml:EncryptedAssertion")
    data = xmlsec.template.encrypted_data_create(
        response, getattr(T, cipher), type=xmlsec.EncryptionType.ELEMENT, ns="xenc"
    )
    xmlsec.template.encrypted_data_ensure_cipher_value(data)
    info = xmlsec.template.encrypted_data_ensure_key_info(data, ns="ds")
    wrapped = xmlsec.template.add_encrypted_key(info, getattr(T, transport))
    xmlsec.template.encrypted_data_ensure_cipher_value(wrapped)
    manager = xmlsec.KeysManager()
    manager.add_key(xmlsec.Key.from_memory(certificate, xmlsec.KeyFormat.CERT_PEM, None))
    engine = xmlsec.EncryptionContext(manager)
    kind = cipher.partition("_")[0]
    size = int(kind.removeprefix("AES")) if kind.startswith("AES") else 192
    engine.key = xmlsec.Key.generate(
        xmlsec.KeyData.AES if kind.startswith("AES") else xmlsec.KeyData.DES,
        size,
        xmlsec.KeyDataType.SESSION,
    )
    held.append(engine.encrypt_xml(data, assertion))


def encoded(root: etree._Element | bytes) -> str:
    """A message as a form has it."""
    return base64.b64encode(root if isinstance(root, bytes) else etree.tostring(root)).decode()


def add(parent: etree._Element, name: str, text: str | None = None, **attributes: str) -> etree._Element:
    """Append an element by its usual prefix."""
    prefix, _, local = name.partition(":")
    element = etree.SubElement(parent, f"{{{NS[prefix]}}}{local}", attributes)
    element.text = text
    return element


def at(root: etree._Element, path: str) -> etree._Element:
    """The one element at a path with the usual prefixes."""
    found = root.xpath(path, namespaces=NS)
    assert isinstance(found, list) and len(found) == 1, (path, found)
    return found[0]


def instant(seconds: float) -> str:
    """A time as identity providers write it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def unique() -> str:
    """An ID."""
    return "_" + x509.random_serial_number().to_bytes(20, "big").hex()
