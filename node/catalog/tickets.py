"""Tickets as rows: which member may carry which bytes, until when."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, insert, select

from node.catalog import schema
from node.catalog.statement import Statement
from node.domain.ids import Digest, SiteId

if TYPE_CHECKING:
    from node.catalog.unit import Unit

_ticket = schema.ticket.c
_ADD = Statement(insert(schema.ticket))
_FIND = Statement(
    select(_ticket.site, _ticket.verb, _ticket.digests, _ticket.expires_at, _ticket.who).where(
        _ticket.id == bindparam("id")
    )
)
_EXPIRED = Statement(
    select(_ticket.id, _ticket.site, _ticket.verb, _ticket.digests, _ticket.expires_at, _ticket.who).where(
        _ticket.expires_at < bindparam("now")
    )
)
_DROP = Statement(delete(schema.ticket).where(_ticket.id == bindparam("which")))
_HEX = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """The right of one member to carry some bytes in one direction."""

    id: str
    site: SiteId
    verb: str
    """`get` or `put`."""
    digests: frozenset[Digest]
    expires_at: int
    who: str
    """The principal that it was made out for, for the audit record."""


class Tickets:
    """The tickets that are out."""

    def __init__(self, unit: Unit) -> None:
        """The tickets within a unit of work."""
        self._unit = unit

    def add(self, ticket: Ticket) -> None:
        """Make out a ticket."""
        self._unit.run(
            _ADD,
            id=ticket.id,
            site=ticket.site,
            verb=ticket.verb,
            digests=_joined(ticket.digests),
            expires_at=ticket.expires_at,
            who=ticket.who,
        )

    def find(self, ticket_id: str) -> Ticket | None:
        """The ticket of that name, unless it has expired."""
        row = self._unit.run(_FIND, id=ticket_id).fetchone()
        if row is None or row[3] < self._unit.now:
            return None
        return _ticket_of(ticket_id, *row)

    def expired(self) -> Sequence[Ticket]:
        """Tickets that are worth nothing any more, and can go."""
        return [_ticket_of(*row) for row in self._unit.run(_EXPIRED, now=self._unit.now).fetchall()]

    def drop(self, ticket_id: str) -> None:
        """Forget a ticket."""
        self._unit.run(_DROP, which=ticket_id)


def _ticket_of(ticket_id: str, site: str, verb: str, digests: str, expires_at: int, who: str) -> Ticket:
    return Ticket(
        id=ticket_id,
        site=SiteId.trusted(site),
        verb=verb,
        digests=frozenset(_split(digests)),
        expires_at=expires_at,
        who=who,
    )


def _joined(digests: Iterable[Digest]) -> str:
    return "".join(sorted(digests))


def _split(text: str) -> Iterable[Digest]:
    return (Digest.trusted(text[place : place + _HEX]) for place in range(0, len(text), _HEX))
