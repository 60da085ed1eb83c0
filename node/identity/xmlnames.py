"""The XML that nodes exchange about themselves: its names, its time stamps, and how one element is picked."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import NAMESPACE_URL, uuid5

from lxml import etree

from node.domain.errors import MalformedIdentifier, NodeError, Unauthenticated
from node.domain.ids import SiteId

DS: Final = "http://www.w3.org/2000/09/xmldsig#"
SAML: Final = "urn:oasis:names:tc:SAML:2.0:assertion"
MD: Final = "urn:oasis:names:tc:SAML:2.0:metadata"
WSU: Final = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
XSI: Final = "http://www.w3.org/2001/XMLSchema-instance"
XML: Final = "http://www.w3.org/XML/1998/namespace"
SHIBMD: Final = "urn:mace:shibboleth:metadata:1.0"
HL7: Final = "urn:hl7-org:v3"
NODE: Final = "urn:konzilium:metadata:1"
"""What SAML metadata has no words for: AE title, endpoint, version."""

_ENTITY = "urn:konzilium:node:"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z")
_MICROSECOND = timedelta(microseconds=1)


def entity_id(site: SiteId) -> str:
    """The name of a node in SAML: `urn:konzilium:node:brno` (SAML Core 8.3.6)."""
    return _ENTITY + site


def site_of(entity: str | None) -> SiteId | None:
    """The site that an entity id names; None if it names none."""
    if entity is None or not entity.startswith(_ENTITY):
        return None
    try:
        return SiteId(entity[len(_ENTITY) :])
    except MalformedIdentifier:
        return None


def oid(name: str) -> str:
    """The object identifier that belongs to a URI: 2.25 and its name-based UUID (ITU-T X.667, PS3.5 B.2)."""
    return f"2.25.{uuid5(NAMESPACE_URL, name).int}"


def instant(microseconds: int) -> str:
    """A time as SAML and WS-Security write it: UTC, to the microsecond (SAML Core 1.3.3)."""
    moment = _EPOCH + timedelta(microseconds=microseconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def microseconds(text: str | None) -> int | None:
    """The reverse of `instant`; None if the text is no such time."""
    if text is None or _INSTANT.fullmatch(text) is None:
        return None
    try:
        return (datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND
    except ValueError:
        return None


def add(parent: etree._Element, tag: str, text: str | None = None, **attributes: str) -> etree._Element:
    """Append an element, with text and unqualified attributes."""
    element = etree.SubElement(parent, tag, attributes)
    element.text = text
    return element


def local(tag: str) -> str:
    """A tag without its namespace, as a person would name it."""
    return tag.rpartition("}")[2]


def only(parent: etree._Element, tag: str, error: type[NodeError] = Unauthenticated) -> etree._Element:
    """The one child of that tag.

    Raises:
        error: there is none, or there are several.
    """
    found = parent.findall(tag)
    if len(found) != 1:
        raise error(f"{local(parent.tag)} has {len(found)} elements {local(tag)}, one is wanted")
    return found[0]


def one_text(parent: etree._Element, tag: str, error: type[NodeError] = Unauthenticated) -> str:
    """The text of the one child of that tag, which holds nothing else.

    Raises:
        error: there is no such child, or several, or it holds elements, or no text.
    """
    element = only(parent, tag, error)
    if len(element) or not element.text:
        raise error(f"{local(tag)} holds no plain text")
    return element.text
