"""What is kept of a source of identity providers, and what is not believed whoever signed it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from node.audit.record import Event, deed_of
from node.catalog.providers import ProviderRow, Source
from node.catalog.unit import Unit
from node.domain.errors import MalformedMetadata, MetadataRefused, Rejected
from node.domain.principal import Principal
from node.identity.providers.aggregate import Head, Part, Tail
from node.identity.providers.discovery import KINDS, MDQ, SINGLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """What came of a refresh."""

    source: Source
    unchanged: bool = False
    read: int = 0
    changed: int = 0
    removed: int = 0
    skipped: int = 0
    notes: tuple[str, ...] = ()
    """Why some were left out."""
    gone: tuple[str, ...] = ()
    """Entity IDs that a query service knows no longer."""


def counted(source: Source, *, rows: int, changed: int, removed: int, tail: Tail) -> Refreshed:
    """What a refresh came to."""
    return Refreshed(
        source=source, read=rows, changed=changed, removed=removed, skipped=tail.skipped, notes=tail.notes
    )


def check(source: Source) -> None:
    """Insist on what goes together.

    Raises:
        Rejected: something is missing, or too much.
    """
    if source.kind not in KINDS:
        raise Rejected(f"a source is one of {', '.join(KINDS)}")
    if not source.pins:
        raise Rejected(
            "nothing says what its metadata must be signed with; give the certificate (--signed-by) or its "
            "fingerprint (--fingerprint), as its operator has told you by another way"
        )
    if source.kind == MDQ and not source.options.get("entities"):
        raise Rejected("name at least one identity provider (--entity), so that the service can be tried")
    if source.kind != SINGLE and source.options.get("scopes"):
        raise Rejected("scopes can be given for a single identity provider only; an aggregate tells its own")


def checked(source: Source, parts: Iterator[Part]) -> Iterator[Part]:
    """The parts, if they are a whole, describe somebody, and are not older than what is known."""
    head = next(parts, None)
    if not isinstance(head, Head):
        raise MalformedMetadata("it could not be read to its end")
    if head.published < source.options.get("published", 0):
        raise MalformedMetadata("it is older than the one that is known already")
    first = next(parts, None)
    if isinstance(first, Tail):
        raise MalformedMetadata("; ".join(first.notes) or "it describes no identity provider")
    if first is None:
        raise MalformedMetadata("it could not be read to its end")
    yield head
    yield first
    last: Part = first
    for last in parts:
        yield last
    if not isinstance(last, Tail):
        raise MalformedMetadata("it could not be read to its end")


def begin(unit: Unit, principal: Principal, source: Source, *, is_new: bool) -> None:
    """Write a source that was not known, or another in its place, and who said so."""
    if is_new is not (unit.providers.source(source.name) is None):
        raise Rejected(f"somebody else has just changed {source.name}; try again")
    unit.providers.remove_source(source.name)
    unit.providers.put_source(source)
    what = f"identity providers of {source.name} ({source.kind} {source.url or 'file'}) believed"
    unit.audit.append(deed_of(principal, Event.CONFIGURED, what=what))


def demand_same(unit: Unit, source: Source) -> None:
    """Insist that the source is still the one that was fetched."""
    now = unit.providers.source(source.name)
    if now is None or (now.kind, now.url, now.pins) != (source.kind, source.url, source.pins):
        raise MetadataRefused(source.name, "the source was changed meanwhile")


def put(unit: Unit, source: Source, rows: Sequence[ProviderRow]) -> None:
    """Write identity providers of a source."""
    demand_same(unit, source)
    for row in rows:
        unit.providers.put(replace(row, source=source.name))


def settle(unit: Unit, source: Source, done: Source, gone: Sequence[str]) -> None:
    """Write how a source stands after a refresh, forget who is gone, and end what they had begun."""
    demand_same(unit, source)
    for entity in gone:
        unit.providers.remove(entity, source.name)
    unit.providers.put_source(done)
    end_sessions(unit, gone)


def end_sessions(unit: Unit, entities: Iterable[str]) -> int:
    """End the sessions of those whom no source vouches for any more; how many they were."""
    return sum(unit.sessions.drop_of(entity) for entity in entities if not unit.providers.find(entity))
