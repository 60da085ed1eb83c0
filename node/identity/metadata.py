"""What a node says of itself, signed by itself: SAML metadata with a role for nodes (SAML Metadata 2.4).

The signature proves that the holder of a key wrote it. Whether that key is the one of the site is decided
elsewhere: by the certificates that were pinned before, or by people who compare a short code.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from lxml import etree

from node.domain.errors import BadSignature, Malformed, MalformedIdentifier, MalformedMetadata
from node.domain.ids import AETitle, SiteId
from node.identity import xmlsig
from node.identity.certificates import from_base64 as certificate_from
from node.identity.certificates import known
from node.identity.keys import NodeKey
from node.identity.xmlnames import (
    DS,
    MD,
    NODE,
    SHIBMD,
    XML,
    XSI,
    add,
    entity_id,
    instant,
    microseconds,
    one_text,
    only,
    site_of,
)
from node.identity.xmlread import parse

MAX_METADATA: Final = 64 * 1024
MAX_CERTIFICATES: Final = 8
MAX_SCOPES: Final = 32
MAX_TEXT: Final = 256
MAX_VERSION: Final = 2**53

_ENTITY = f"{{{MD}}}EntityDescriptor"
_EXTENSIONS = f"{{{MD}}}Extensions"
_ROLE = f"{{{MD}}}RoleDescriptor"
_KEY = f"{{{MD}}}KeyDescriptor"
_ORGANIZATION = f"{{{MD}}}Organization"
_SCOPE = f"{{{SHIBMD}}}Scope"
_RELEASE = f"{{{NODE}}}Release"
_ENDPOINT = f"{{{NODE}}}Endpoint"
_AE_TITLE = f"{{{NODE}}}AETitle"
_TYPE = f"{{{XSI}}}type"
_ROLE_TYPE = "NodeDescriptorType"
_PROTOCOLS = " ".join(f"urn:konzilium:{name}:1" for name in ("storage", "catalog", "federation", "recovery"))
_URL = re.compile(r"https://(?:[a-zA-Z0-9.-]+|\[[0-9a-fA-F:.]+\])(?::(?P<port>[0-9]{1,5}))?")
_HTTPS = "urn:konzilium:binding:https:1"
_NAMESPACES = {"md": MD, "ds": DS, "shibmd": SHIBMD, "konzilium": NODE, "xsi": XSI}


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """A node in its own words."""

    site: SiteId
    url: str | None
    """Where it can be called, `https://host:port`; None for a node that only calls."""
    certificates: tuple[str, ...]
    """Those that it may show, in TLS and as a signer (PEM); several during a change of keys."""
    ae_title: AETitle
    organization: str
    """The name of the organization, as people say it."""
    scopes: tuple[str, ...]
    """The names of sites and domains for whose people it speaks."""
    version: int
    """Grows with every change; the higher one holds."""
    valid_until: int | None = None
    """Microseconds since 1970; None for as long as no newer one comes."""
    software: str = ""


def written(descriptor: Descriptor, key: NodeKey, now: int) -> str:
    """The metadata of a node as XML, signed with its key.

    Args:
        descriptor: what it says.
        key: of the same site; its certificate is one of those listed.
        now: microseconds since 1970, for the time that the metadata was issued.

    Raises:
        MalformedMetadata: the descriptor says what nobody would read.
    """
    entity = etree.Element(_ENTITY, nsmap=_NAMESPACES)
    entity.set("ID", "_" + secrets.token_hex(16))
    entity.set("entityID", entity_id(descriptor.site))
    if descriptor.valid_until is not None:
        entity.set("validUntil", instant(descriptor.valid_until))
    extensions = add(entity, _EXTENSIONS)
    add(
        extensions,
        _RELEASE,
        version=str(descriptor.version),
        software=descriptor.software,
        issued=instant(now),
    )
    for scope in descriptor.scopes:
        add(extensions, _SCOPE, scope, regexp="false")
    _add_role(entity, descriptor)
    _add_organization(entity, descriptor)
    xmlsig.sign(entity, key)
    text = etree.tostring(entity, encoding="unicode")
    if read(text, [key.pem]) != descriptor:
        raise MalformedMetadata("it would not be read as it was meant")
    return text


def read(xml: str, certificates: Iterable[str] | None = None) -> Descriptor:
    """Read the metadata of a node, and verify its signature.

    Args:
        xml: as it came.
        certificates: those that are trusted to have signed it (PEM); without them, the signature is to be by
            one that the metadata lists itself, which proves only that the writer has that key.

    Raises:
        BadSignature: it is not signed by one of those certificates, or was changed.
        MalformedMetadata: it is no metadata of a node, or says what cannot be.
    """
    try:
        entity = parse(xml.encode("utf-8", "surrogatepass"), MAX_METADATA)
        descriptor = _read(entity)
        xmlsig.verify(entity, descriptor.certificates if certificates is None else certificates)
    except (BadSignature, MalformedMetadata):
        raise
    except Malformed as error:
        raise MalformedMetadata(error.args[0]) from None
    return descriptor


def _add_role(entity: etree._Element, descriptor: Descriptor) -> None:
    """The role of a node; SAML leaves it to everybody to define roles (SAML Metadata 2.4.1)."""
    role = add(entity, _ROLE, protocolSupportEnumeration=_PROTOCOLS)
    role.set(_TYPE, f"konzilium:{_ROLE_TYPE}")
    for pem in descriptor.certificates:
        info = add(add(role, _KEY, use="signing"), f"{{{DS}}}KeyInfo")
        add(add(info, f"{{{DS}}}X509Data"), f"{{{DS}}}X509Certificate", known(pem).base64)
    if descriptor.url is not None:
        add(role, _ENDPOINT, Binding=_HTTPS, Location=descriptor.url)
    add(role, _AE_TITLE, descriptor.ae_title)


def _add_organization(entity: etree._Element, descriptor: Descriptor) -> None:
    organization = add(entity, _ORGANIZATION)
    for name, text in (
        ("OrganizationName", descriptor.organization),
        ("OrganizationDisplayName", descriptor.organization),
        ("OrganizationURL", descriptor.url or entity_id(descriptor.site)),
    ):
        add(organization, f"{{{MD}}}{name}", text).set(f"{{{XML}}}lang", "en")


def _read(entity: etree._Element) -> Descriptor:
    """What the metadata says; nothing is verified yet."""
    site = site_of(entity.get("entityID"))
    if entity.tag != _ENTITY or site is None:
        raise MalformedMetadata("it does not describe a node")
    extensions, role = only(entity, _EXTENSIONS, MalformedMetadata), only(entity, _ROLE, MalformedMetadata)
    prefix, _, kind = role.get(_TYPE, "").rpartition(":")
    if role.nsmap.get(prefix) != NODE or kind != _ROLE_TYPE:
        raise MalformedMetadata("its role is not that of a node")
    release = only(extensions, _RELEASE, MalformedMetadata)
    scopes = tuple([_text(scope.text) for scope in extensions.findall(_SCOPE)])
    if len(scopes) > MAX_SCOPES:
        raise MalformedMetadata("it lists too many scopes")
    organization = only(entity, _ORGANIZATION, MalformedMetadata)
    try:
        ae_title = AETitle(one_text(role, _AE_TITLE, MalformedMetadata))
    except MalformedIdentifier as error:
        raise MalformedMetadata(str(error)) from None
    return Descriptor(
        site=site,
        url=_url(role),
        certificates=_certificates(role),
        ae_title=ae_title,
        organization=_text(one_text(organization, f"{{{MD}}}OrganizationDisplayName", MalformedMetadata)),
        scopes=scopes,
        version=_version(release.get("version", "")),
        valid_until=_valid_until(entity.get("validUntil")),
        software=_text(release.get("software", ""), least=0),
    )


def _certificates(role: etree._Element) -> tuple[str, ...]:
    """The certificates of the role (PEM); at least one."""
    found: list[str] = []
    for descriptor in role.findall(_KEY):
        info = only(descriptor, f"{{{DS}}}KeyInfo", MalformedMetadata)
        data = only(info, f"{{{DS}}}X509Data", MalformedMetadata)
        text = one_text(data, f"{{{DS}}}X509Certificate", MalformedMetadata)
        found.append(certificate_from(text).pem)
    if not 0 < len(found) <= MAX_CERTIFICATES or len(set(found)) != len(found):
        raise MalformedMetadata(f"it has to list between 1 and {MAX_CERTIFICATES} different certificates")
    return tuple(found)


def _url(role: etree._Element) -> str | None:
    """Where the node can be called, if it says so: scheme, host and port, and nothing else."""
    if role.find(_ENDPOINT) is None:
        return None
    endpoint = only(role, _ENDPOINT, MalformedMetadata)
    url = _URL.fullmatch(endpoint.get("Location", ""))
    if endpoint.get("Binding") != _HTTPS or url is None or not 0 < int(url["port"] or 443) < 65536:
        raise MalformedMetadata("its address is not of the form https://host:port")
    return _text(url[0])


def _text(text: str | None, least: int = 1) -> str:
    """Text that a person can read on one line."""
    text = text or ""
    if not least <= len(text) <= MAX_TEXT or not text.isprintable():
        raise MalformedMetadata(f"it holds a text that is not one line of up to {MAX_TEXT} characters")
    return text


def _version(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 16) or int(text) > MAX_VERSION:
        raise MalformedMetadata("its version is no whole number")
    return int(text)


def _valid_until(text: str | None) -> int | None:
    until = microseconds(text)
    if until is None and text is not None:
        raise MalformedMetadata("its end of validity is no time in UTC")
    return until
