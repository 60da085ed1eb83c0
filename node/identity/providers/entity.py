"""From an entity of SAML metadata to an identity provider (SAML Metadata §2.4.3, MDUI 1.0, shibmd 1.0)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

from lxml import etree

from node.domain.errors import Malformed, MalformedMetadata
from node.identity import certificates
from node.identity.providers.descriptor import DEMONSTRATION, LONGEST_SCOPE, POST, REDIRECT, Provider
from node.identity.xmlnames import DS, MD, SAML, SHIBMD, XML
from node.settings.kinds import is_hook_address

T = TypeVar("T")

MDUI: Final = "urn:oasis:names:tc:SAML:metadata:ui"
MDATTR: Final = "urn:oasis:names:tc:SAML:metadata:attribute"
PROTOCOL: Final = "urn:oasis:names:tc:SAML:2.0:protocol"
CATEGORY: Final = "http://macedir.org/entity-category"
SUPPORT: Final = "http://macedir.org/entity-category-support"
ASSURANCE: Final = "urn:oasis:names:tc:SAML:attribute:assurance-certification"
HIDE: Final = "http://refeds.org/category/hide-from-discovery"

LONGEST_ENTITY: Final = 1024
LONGEST_NAME: Final = 200
LONGEST_URL: Final = 2048
MOST: Final = 64
"""Values of a kind that are read of one entity."""
_NAMES = {"md": MD, "mdui": MDUI, "mdattr": MDATTR, "saml": SAML, "shibmd": SHIBMD, "ds": DS}
_KINDS_OF_CONTACT = ("support", "technical", "administrative")


def provider_of(entity: etree._Element) -> Provider | None:
    """The identity provider that an entity is; None for one that is none.

    Raises:
        MalformedMetadata: it is one that cannot be used, and why.
    """
    role = _role(entity)
    if role is None:
        return None
    sso = [(one.get("Binding", ""), one.get("Location", "")) for one in _all(role, "md:SingleSignOnService")]
    attributes = _attributes(entity)
    return Provider(
        entity=_entity_id(entity),
        names=tuple(_names(entity, role)),
        sso=tuple(_demand(_usable(sso), "it tells no address for a login")),
        slo=tuple(_logouts(role)),
        certificates=tuple(_demand(_signers(role), "it has no certificate with a key that is strong enough")),
        scopes=tuple(dict.fromkeys([*_scopes(entity), *_scopes(role)])),
        contact=_contact(entity),
        categories=attributes.get(CATEGORY, ()) + attributes.get(SUPPORT, ()),
        assurance=attributes.get(ASSURANCE, ()),
        hidden=HIDE in attributes.get(CATEGORY, ()),
        demonstration=_is_demonstration(attributes),
        error_url=_url(role.get("errorURL", "")),
        logo=next(filter(None, (_url(_text(one)) for one in _all(role, f"{_UI}/mdui:Logo"))), ""),
    )


_UI = "md:Extensions/mdui:UIInfo"


def _role(entity: etree._Element) -> etree._Element | None:
    """Its role as an identity provider that speaks SAML 2.0."""
    for role in _all(entity, "md:IDPSSODescriptor"):
        if PROTOCOL in role.get("protocolSupportEnumeration", "").split():
            return role
    return None


def _entity_id(entity: etree._Element) -> str:
    name = entity.get("entityID", "")
    if not 0 < len(name) <= LONGEST_ENTITY or not name.isprintable() or " " in name:
        raise MalformedMetadata("an entity ID is not one line of up to 1024 characters")
    return name


def _usable(places: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for binding, place in places:
        if binding in (REDIRECT, POST) and _url(place):
            yield binding, place


def _logouts(role: etree._Element) -> Iterator[tuple[str, str, str]]:
    for one in _all(role, "md:SingleLogoutService"):
        place, answers = one.get("Location", ""), one.get("ResponseLocation", "")
        if one.get("Binding") in (REDIRECT, POST) and _url(place):
            yield one.get("Binding", ""), place, _url(answers)


def _signers(role: etree._Element) -> Iterator[str]:
    """The certificates whose signatures count; a weak or unreadable one does not."""
    seen: set[str] = set()
    for descriptor in _all(role, "md:KeyDescriptor"):
        if descriptor.get("use") not in (None, "signing"):
            continue
        for element in _all(descriptor, "ds:KeyInfo/ds:X509Data/ds:X509Certificate"):
            try:
                pem = certificates.from_base64(_text(element)).pem
            except Malformed:
                continue
            if pem not in seen:
                seen.add(pem)
                yield pem


def _scopes(parent: etree._Element) -> Iterator[tuple[str, bool]]:
    for element in _all(parent, "md:Extensions/shibmd:Scope"):
        text = _text(element)
        if 0 < len(text) <= LONGEST_SCOPE and text.isprintable() and " " not in text:
            yield text, element.get("regexp", "false") in ("true", "1")


def _names(entity: etree._Element, role: etree._Element) -> Iterator[tuple[str, str]]:
    """What people call it: as it wants to be shown, or else as its organization is."""
    shown = _all(role, f"{_UI}/mdui:DisplayName") or _all(
        entity, "md:Organization/md:OrganizationDisplayName"
    )
    for element in shown:
        text = " ".join(_text(element).split())
        if text and text.isprintable():
            yield element.get(f"{{{XML}}}lang", "en")[:16].lower(), text[:LONGEST_NAME]


def _attributes(entity: etree._Element) -> dict[str, tuple[str, ...]]:
    """Its entity attributes (SAML Metadata Extension for Entity Attributes 1.0)."""
    found: dict[str, tuple[str, ...]] = {}
    for attribute in _all(entity, "md:Extensions/mdattr:EntityAttributes/saml:Attribute"):
        values = [_text(one)[:LONGEST_URL] for one in _all(attribute, "saml:AttributeValue")]
        name = attribute.get("Name", "")
        found[name] = found.get(name, ()) + tuple(value for value in values if value.isprintable())
    return found


def _is_demonstration(attributes: dict[str, tuple[str, ...]]) -> bool:
    """Whether it says so in any way that could be meant."""
    said = attributes.get(DEMONSTRATION)
    return said is not None and not {value.lower() for value in said} <= {"false", "0"}


def _contact(entity: etree._Element) -> str:
    """Whom people are to ask there."""
    persons = _all(entity, "md:ContactPerson")
    for kind in _KINDS_OF_CONTACT:
        for person in persons:
            if person.get("contactType") == kind:
                for element in _all(person, "md:EmailAddress"):
                    address = _text(element).removeprefix("mailto:")
                    if "@" in address and len(address) <= LONGEST_NAME and address.isprintable():
                        return address
    return ""


def _url(text: str) -> str:
    """The address, if it is by HTTPS (or on this machine itself), else nothing."""
    text = text.strip()
    return text if len(text) <= LONGEST_URL and is_hook_address(text) else ""


def _demand(found: Iterator[T], otherwise: str) -> list[T]:
    values = list(found)
    if not values:
        raise MalformedMetadata(otherwise)
    return values


def _all(parent: etree._Element, path: str) -> list[etree._Element]:
    return parent.findall(path, _NAMES)[:MOST]


def _text(element: etree._Element) -> str:
    return (element.text or "").strip()
