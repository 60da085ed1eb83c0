"""What a communication site holds and may have passed on already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, select

from node.catalog import schema
from node.catalog.statement import Statement
from node.domain.ids import Digest, InstanceUID, SiteId

if TYPE_CHECKING:
    from node.catalog.unit import Unit

_instance = schema.instance.c
_PAGE = Statement(
    select(_instance.id, _instance.uid, _instance.digest, _instance.stamp)
    .where(
        _instance.id > bindparam("behind"), _instance.held == 1, _instance.arrived_at <= bindparam("until")
    )
    .order_by(_instance.id)
    .limit(bindparam("many"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An instance whose bytes are here."""

    row: int
    uid: InstanceUID
    digest: Digest
    origin: SiteId
    """The site that received it, whose rules decide about its copies."""


def page(unit: Unit, *, behind: int, until: int, many: int) -> Sequence[Kept]:
    """Instances that are here since some time, in the order of their rows.

    Args:
        unit: reads the catalog.
        behind: the row after which to go on; 0 for the beginning.
        until: when they arrived at the latest, in microseconds since 1970.
        many: at the most so many.
    """
    return [
        Kept(
            row=row,
            uid=InstanceUID.trusted(uid),
            digest=Digest.trusted(digest),
            origin=SiteId.trusted(stamp.split(" ")[1]) if stamp else unit.origin,
        )
        for row, uid, digest, stamp in unit.run(_PAGE, behind=behind, until=until, many=many).fetchall()
    ]
