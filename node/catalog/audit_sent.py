"""How far the audit record has gone to repositories outside, as rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, insert, select, update

from node.catalog import schema
from node.catalog.statement import Statement

if TYPE_CHECKING:
    from node.catalog.unit import Unit

_sent = schema.audit_sent.c
_FIND = Statement(select(schema.audit_sent).where(_sent.destination == bindparam("which")))
_ADD = Statement(insert(schema.audit_sent))
_SENT = Statement(
    update(schema.audit_sent)
    .where(_sent.destination == bindparam("which"))
    .values(seq=bindparam("number"), at=bindparam("now"), failed_at=0, error="")
)
_FAILED = Statement(
    update(schema.audit_sent)
    .where(_sent.destination == bindparam("which"))
    .values(failed_at=bindparam("since"), error=bindparam("why"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """How far the record has gone to one repository."""

    destination: str
    seq: int = 0
    """The number of the last record that it has."""
    at: int = 0
    """When it got that; microseconds since 1970."""
    failed_at: int = 0
    """Since when nothing gets through; 0 when it does."""
    error: str = ""


class AuditSent:
    """Repositories by their name."""

    def __init__(self, unit: Unit) -> None:
        """The places within a unit of work."""
        self._unit = unit

    def of(self, destination: str) -> Sent:
        """How far the record has gone to a repository; one that is new has nothing."""
        row = self._unit.run(_FIND, which=destination).fetchone()
        if row is None:
            return Sent(destination=destination)
        return Sent(destination=row[0], seq=row[1], at=row[2], failed_at=row[3], error=row[4])

    def sent(self, destination: str, seq: int) -> None:
        """It has everything up to this record."""
        self._know(destination)
        self._unit.run(_SENT, which=destination, number=seq, now=self._unit.now)

    def failed(self, destination: str, error: str) -> None:
        """It could not be given anything just now."""
        self._know(destination)
        since = self.of(destination).failed_at or self._unit.now
        self._unit.run(_FAILED, which=destination, since=since, why=error)

    def _know(self, destination: str) -> None:
        if self._unit.run(_FIND, which=destination).fetchone() is None:
            self._unit.run(_ADD, destination=destination, seq=0, at=0, failed_at=0, error="")
