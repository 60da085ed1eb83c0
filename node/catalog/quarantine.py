"""The quarantine as rows: objects that could not be archived, kept with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, func, insert, select, update

from node.catalog import schema
from node.catalog.statement import Statement
from node.domain.ids import Digest
from node.domain.instance import Quarantined

if TYPE_CHECKING:
    from node.catalog.unit import Unit

HELD = "held"
RELEASED = "released"
DISCARDED = "discarded"

_quarantine = schema.quarantine.c
_ADD = Statement(insert(schema.quarantine))
_FIND = Statement(select(schema.quarantine).where(_quarantine.digest == bindparam("which")))
_LIST = Statement(select(schema.quarantine).where(_quarantine.state == HELD).order_by(_quarantine.arrived_at))
_SETTLE = Statement(
    update(schema.quarantine).where(_quarantine.digest == bindparam("which")).values(state=bindparam("to"))
)
_HELD_BYTES = Statement(select(func.coalesce(func.sum(_quarantine.size), 0)).where(_quarantine.state == HELD))


class Quarantine:
    """What waits for a person.

    ```
    held ── identity given ──▶ released
      └──── thrown away ──▶ discarded
    ```
    """

    def __init__(self, unit: Unit) -> None:
        """The quarantine within a unit of work."""
        self._unit = unit

    def add(self, object_: Quarantined) -> None:
        """Keep an object aside; one that was settled before is held again."""
        if self.find(object_.digest) is not None:
            self.settle(object_.digest, object_.state)
            return
        self._unit.run(
            _ADD,
            digest=object_.digest,
            reason=object_.reason,
            source=object_.source,
            size=object_.size,
            transfer_syntax=object_.transfer_syntax,
            arrived_at=object_.arrived_at,
            state=object_.state,
        )

    def find(self, digest: Digest) -> Quarantined | None:
        """The object of that name, in whatever state."""
        row = self._unit.run(_FIND, which=digest).fetchone()
        return _quarantined(*row) if row else None

    def held(self) -> Sequence[Quarantined]:
        """All objects that wait, oldest first."""
        return [_quarantined(*row) for row in self._unit.run(_LIST).fetchall()]

    def held_bytes(self) -> int:
        """Room that waiting objects take, in bytes."""
        row = self._unit.run(_HELD_BYTES).fetchone()
        return int(row[0]) if row else 0

    def settle(self, digest: Digest, state: str) -> None:
        """Set what a person decided."""
        self._unit.run(_SETTLE, which=digest, to=state)


def _quarantined(
    digest: str, reason: str, source: str, size: int, transfer_syntax: str, arrived_at: int, state: str
) -> Quarantined:
    return Quarantined(
        digest=Digest.trusted(digest),
        reason=reason,
        source=source,
        size=size,
        transfer_syntax=transfer_syntax,
        arrived_at=arrived_at,
        state=state,
    )
