"""Conflicts as rows: other bytes that came under a UID which was archived before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, insert, select, update

from node.catalog import schema
from node.catalog.statement import Statement
from node.domain.ids import Digest, InstanceUID, TransferSyntaxUID
from node.domain.instance import Conflict

if TYPE_CHECKING:
    from node.catalog.unit import Unit

OPEN = "open"
FOLDED = "folded"
DIFFERENT = "different"

_conflict, _instance = schema.conflict.c, schema.instance.c
_ADD = Statement(insert(schema.conflict))
_STATE = Statement(
    select(_conflict.state).where(
        _conflict.instance == bindparam("instance"), _conflict.digest == bindparam("digest")
    )
)
_SETTLE = Statement(
    update(schema.conflict)
    .where(_conflict.instance == bindparam("of"), _conflict.digest == bindparam("which"))
    .values(state=bindparam("to"))
)
_SET_HELD = Statement(
    update(schema.conflict)
    .where(_conflict.instance == bindparam("of"), _conflict.digest == bindparam("which"))
    .values(held=bindparam("whether"))
)
_FORGET = Statement(
    delete(schema.conflict).where(
        _conflict.instance == bindparam("of"), _conflict.digest == bindparam("which")
    )
)
_FORGET_ALL = Statement(delete(schema.conflict).where(_conflict.instance == bindparam("of")))
_LIST = Statement(
    select(
        _conflict.instance,
        _instance.digest,
        _conflict.digest,
        _conflict.transfer_syntax,
        _conflict.size,
        _conflict.source,
        _conflict.arrived_at,
        _conflict.state,
    )
    .join(schema.instance, _instance.uid == _conflict.instance)
    .where(_conflict.state != FOLDED)
    .order_by(_conflict.arrived_at)
)


class Conflicts:
    """What arrived under a known UID with other bytes; both are kept until they are proved equal.

    ```
    open ── proved equal ──▶ folded       one form stays
      └──── proved different ──▶ different    both stay and are shown
    ```
    """

    def __init__(self, unit: Unit) -> None:
        """The conflicts within a unit of work."""
        self._unit = unit

    def add(
        self,
        instance: InstanceUID,
        digest: Digest,
        *,
        transfer_syntax: TransferSyntaxUID,
        size: int,
        source: str,
        at: int,
        stamp: str = "",
    ) -> None:
        """Note other bytes under a known UID."""
        self._unit.run(
            _ADD,
            instance=instance,
            digest=digest,
            transfer_syntax=transfer_syntax,
            size=size,
            source=source,
            arrived_at=at,
            state=OPEN,
            stamp=stamp,
            held=1,
        )

    def state(self, instance: InstanceUID, digest: Digest) -> str | None:
        """Where the conflict stands, or None where these bytes never conflicted."""
        row = self._unit.run(_STATE, instance=instance, digest=digest).fetchone()
        return row[0] if row else None

    def settle(self, instance: InstanceUID, digest: Digest, state: str) -> None:
        """Set what a comparison or a person found."""
        self._unit.run(_SETTLE, of=instance, which=digest, to=state)

    def set_held(self, instance: InstanceUID, digest: Digest, *, held: bool) -> None:
        """Note whether the bytes of the other form are here."""
        self._unit.run(_SET_HELD, of=instance, which=digest, whether=int(held))

    def forget(self, instance: InstanceUID, digest: Digest) -> None:
        """These bytes are not beside the archived ones any more."""
        self._unit.run(_FORGET, of=instance, which=digest)

    def forget_all(self, instance: InstanceUID) -> None:
        """Nothing is beside the archived form any more."""
        self._unit.run(_FORGET_ALL, of=instance)

    def unsettled(self) -> Sequence[Conflict]:
        """All conflicts that are not folded, oldest first."""
        return [
            Conflict(
                instance=InstanceUID.trusted(row[0]),
                kept=Digest.trusted(row[1]),
                other=Digest.trusted(row[2]),
                transfer_syntax=TransferSyntaxUID.trusted(row[3]),
                size=row[4],
                source=row[5],
                arrived_at=row[6],
                state=row[7],
            )
            for row in self._unit.run(_LIST).fetchall()
        ]
