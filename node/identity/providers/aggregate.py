"""Reading metadata: from the bytes of a document to identity providers that may be believed, and until when.

An aggregate of a large federation has tens of megabytes, and its tree ten times as much, so that a process of
its own reads it: `python -m node.identity.providers.aggregate`. It takes a line of JSON (what to trust, the
time, the form) and the document on standard input, and writes a line of JSON for each part it was told.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, BinaryIO, Final, TypeAlias

from lxml import etree

from node.catalog.providers import FOREVER, ProviderRow
from node.domain import errors
from node.domain.alert import DAY
from node.domain.errors import BadSignature, Malformed, MalformedMetadata, NodeError
from node.identity.certificates import known
from node.identity.providers.descriptor import Provider, written
from node.identity.providers.discovery import SINGLE, found_by
from node.identity.providers.entity import provider_of
from node.identity.providers.signed import Trust, demand_signed
from node.identity.saml.names import SIGNATURE
from node.identity.xmlnames import MD, microseconds

LONGEST: Final = 30 * DAY
"""How long metadata may say that they hold: whoever is cut off believes a withdrawn entity no longer."""
MOST_BYTES: Final = 128 * 1024 * 1024
MOST_MEMORY: Final = 4 * 1024 * 1024 * 1024
MOST_SECONDS: Final = 240
MOST_BYTES_OF_ONE: Final = 1024 * 1024
_ENTITY, _ENTITIES = f"{{{MD}}}EntityDescriptor", f"{{{MD}}}EntitiesDescriptor"
_PUBLISHED = "{urn:oasis:names:tc:SAML:metadata:rpi}PublicationInfo"
_NOTES = 5
_FOREIGN = etree.XPath("boolean(//processing-instruction())")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be read, and what of it is believed."""

    kind: str
    """`single`, `aggregate` or `mdq`, as in `node.identity.providers.discovery`."""
    pins: tuple[str, ...]
    now: int
    entity: str = ""
    """The one that was asked for; empty for any."""
    scopes: tuple[str, ...] = ()
    """For whom a single one speaks, in place of what it says itself."""
    demonstration: bool = False
    """Whether demonstration identity providers are believed."""

    @property
    def trust(self) -> Trust:
        """What the pins stand for."""
        return Trust.of(self.pins)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Said first: the signature holds."""

    valid_until: int
    published: int
    """When it was made; 0 where it does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """Said last, so that an answer that was cut short is noticed."""

    read: int
    skipped: int
    notes: tuple[str, ...]
    """Why some were left out."""


Part: TypeAlias = Head | ProviderRow | Tail


def read(document: bytes, wanted: Wanted) -> Iterator[Part]:
    """Read metadata: a head, each identity provider, a tail.

    Raises:
        BadSignature: it is not signed with a key that was pinned.
        MalformedMetadata: it cannot be read, has ended, or says that it holds for too long.
    """
    root = _parsed(document, wanted)
    if wanted.kind != SINGLE or wanted.trust.certificates:
        demand_signed(root, wanted.trust)
    yield Head(valid_until=_valid_until(root, wanted), published=_published(root))
    read_, skipped, notes = 0, 0, []
    for entity, until in _entities(root):
        try:
            row = _row(entity, until, wanted)
        except MalformedMetadata as error:
            skipped += 1
            notes.append(f"{entity.get('entityID', '')[:200]}: {error.args[0]}")
            continue
        if row is not None:
            read_ += 1
            yield row
    yield Tail(read=read_, skipped=skipped, notes=tuple(notes[:_NOTES]))


def _parsed(document: bytes, wanted: Wanted) -> etree._Element:
    most = MOST_BYTES_OF_ONE if wanted.kind != "aggregate" else MOST_BYTES
    if len(document) > most:
        raise MalformedMetadata(f"it is longer than {most} bytes")
    if b"\0" in document or b"<!DOCTYPE" in document or b"<!ENTITY" in document:
        raise MalformedMetadata("it is not UTF-8, or declares a document type or an entity")
    parser = etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        remove_comments=True,
        huge_tree=wanted.kind == "aggregate",
    )
    try:
        root = etree.fromstring(document, parser)
    except (etree.XMLSyntaxError, ValueError):
        raise MalformedMetadata("it is not well-formed XML in UTF-8") from None
    if root.tag not in (_ENTITY, _ENTITIES) or _FOREIGN(root):
        raise MalformedMetadata("it is no SAML metadata, or holds processing instructions")
    return root


def _valid_until(root: etree._Element, wanted: Wanted) -> int:
    """Until when all of it holds; what somebody vouches for by a fingerprint may leave that open."""
    said = root.get("validUntil")
    if said is None and wanted.kind == SINGLE:
        return FOREVER
    until = microseconds(said)
    if until is None:
        raise MalformedMetadata("it does not say until when it holds (validUntil)")
    if until <= wanted.now:
        raise MalformedMetadata(f"it has ended on {said}")
    if until > wanted.now + LONGEST and wanted.kind != SINGLE:
        raise MalformedMetadata("it says that it holds for more than 30 days (validUntil)")
    return until


def _published(root: etree._Element) -> int:
    info = root.find(f"{{{MD}}}Extensions/{_PUBLISHED}")
    return (microseconds(info.get("creationInstant")) or 0) if info is not None else 0


def _entities(root: etree._Element) -> Iterator[tuple[etree._Element, int]]:
    """All entities, and until when each holds by itself and by the groups inside of the document."""
    waiting = [(root, FOREVER)]
    while waiting:
        element, until = waiting.pop()
        if element.tag == _ENTITY:
            yield element, until
            continue
        for child in reversed(element):
            if child.tag in (_ENTITY, _ENTITIES):
                waiting.append((child, min(until, _end(child))))


def _end(element: etree._Element) -> int:
    said = element.get("validUntil")
    return FOREVER if said is None else microseconds(said) or 0


def _row(entity: etree._Element, until: int, wanted: Wanted) -> ProviderRow | None:
    """What is kept of an entity; None for one that is no identity provider, or not the one asked for."""
    if wanted.entity and entity.get("entityID") != wanted.entity:
        return None
    provider = provider_of(entity)
    if provider is None:
        return None
    if until <= wanted.now:
        raise MalformedMetadata("it has ended")
    if provider.demonstration and not wanted.demonstration:
        raise MalformedMetadata("it is a demonstration, and this site is none (login.demonstration)")
    if wanted.kind == SINGLE:
        provider = _vouched(provider, wanted)
    return ProviderRow(
        entity=provider.entity,
        source="",
        described=written(provider),
        folded=found_by(provider),
        ends=until,
    )


def _vouched(provider: Provider, wanted: Wanted) -> Provider:
    """A single provider, with the certificates and scopes that the administrator has compared."""
    shown = {known(pem).fingerprint: pem for pem in provider.certificates}
    if wanted.trust.fingerprints:
        believed = tuple(pem for name, pem in shown.items() if name in wanted.trust.fingerprints)
        if not believed:
            raise MalformedMetadata(f"it shows other certificates than were pinned: {', '.join(shown)}")
        provider = replace(provider, certificates=believed)
    if wanted.scopes:
        provider = replace(provider, scopes=tuple((scope, False) for scope in wanted.scopes))
    return provider


def is_signed(document: bytes) -> bool:
    """Whether a document shows a signature at all; nothing is verified."""
    try:
        root = _parsed(document, Wanted(kind=SINGLE, pins=(), now=0))
    except Malformed:
        return False
    return root.find(SIGNATURE) is not None


def as_line(part: Part) -> str:
    """A part as a line of JSON."""
    return json.dumps({type(part).__name__: asdict(part)}, ensure_ascii=False)


def from_line(line: str | bytes) -> Part:
    """The part that a line holds.

    Raises:
        NodeError: the reader failed, and so.
    """
    ((name, kept),) = json.loads(line).items()
    if name == "Tail":
        return Tail(**{**kept, "notes": tuple(kept["notes"])})
    if name == "Head":
        return Head(**kept)
    if name == "ProviderRow":
        return ProviderRow(**kept)
    kind = getattr(errors, name, None)
    failed = kind if isinstance(kind, type) and issubclass(kind, NodeError) else Malformed
    raise failed(*kept)


def bound() -> None:
    """Take no more memory and time than the largest federation needs: the document may be of anybody yet."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS))


def main(incoming: BinaryIO, outgoing: Any) -> int:
    """Read a document for the process that started this one."""
    order = json.loads(incoming.readline())
    wanted = Wanted(**{**order, "pins": tuple(order["pins"]), "scopes": tuple(order["scopes"])})
    try:
        for part in read(incoming.read(MOST_BYTES + 1), wanted):
            print(as_line(part), file=outgoing)
    except (BadSignature, Malformed) as error:
        print(json.dumps({type(error).__name__: list(error.args)}), file=outgoing)
    return 0


if __name__ == "__main__":
    bound()
    sys.exit(main(sys.stdin.buffer, sys.stdout))
