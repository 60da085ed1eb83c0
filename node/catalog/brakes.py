"""Brakes as rows: whether one has tripped, why, and how much a person has allowed since."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import insert, select

from node.catalog import schema
from node.catalog.statement import Statement

if TYPE_CHECKING:
    from node.catalog.unit import Unit

_brake = schema.brake.c
_PUT = Statement(insert(schema.brake).prefix_with("OR REPLACE", dialect="sqlite"))


@dataclass(frozen=True, slots=True, kw_only=True)
class BrakeState:
    """One brake as it stands."""

    name: str
    tripped_at: int = 0
    """Microseconds since 1970; 0 while it has not tripped."""
    reason: str = ""
    counted: int = 0
    """What was counted in the present window, for a brake that counts by itself."""
    since: int = 0
    """When that window began."""
    allowed: int = 0
    """How many a person has allowed; up to there it does not trip again."""


class Brakes:
    """The brakes of this site."""

    def __init__(self, unit: Unit) -> None:
        """The brakes within a unit of work."""
        self._unit = unit

    def find(self, name: str) -> BrakeState:
        """The brake of that name, at rest where nobody has touched it."""
        query = select(*_brake).where(_brake.name == name)
        row = next(iter(self._unit.rows(query)), None)
        return BrakeState(**dict(zip(_brake.keys(), row, strict=True))) if row else BrakeState(name=name)

    def save(self, state: BrakeState) -> None:
        """Note how a brake stands."""
        self._unit.run(
            _PUT,
            name=state.name,
            tripped_at=state.tripped_at,
            reason=state.reason,
            counted=state.counted,
            since=state.since,
            allowed=state.allowed,
        )
