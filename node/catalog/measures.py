"""What an eye on the site asks the catalog for every minute: each answer from an index, or a short table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, func, select

from node.catalog import conflicts, quarantine, schema, traits
from node.catalog.statement import Statement
from node.domain.ids import InstanceUID, SiteId
from node.domain.job import State
from node.domain.replica import CopyState

if TYPE_CHECKING:
    from node.catalog.unit import Unit

_replica, _job, _proof, _brake, _instance, _want = (
    table.c
    for table in (
        schema.replica,
        schema.job,
        schema.proof,
        schema.brake,
        schema.instance,
        schema.want,
    )
)
_OF_SITE = (_replica.site == bindparam("site"), _replica.state == bindparam("state"))
_FIRST = Statement(select(func.min(_replica.at)).where(*_OF_SITE))
_COUNT = Statement(select(func.count()).select_from(schema.replica).where(*_OF_SITE))
_GONE = Statement(
    select(_instance.uid, _instance.stamp)
    .join(schema.replica, _replica.instance == _instance.uid)
    .where(*_OF_SITE)
    .limit(bindparam("many"))
)
_STALLED = Statement(select(func.count()).select_from(schema.job).where(_job.state == State.STALLED))
_OLDEST_JOB = Statement(select(func.min(_job.created_at)).where(_job.state == State.DUE))
_OLDEST_PROOF = Statement(select(func.min(_proof.proved_at)))
_TRIPPED = Statement(select(_brake.name, _brake.reason).where(_brake.tripped_at > 0).order_by(_brake.name))
_WAITING = tuple(
    Statement(select(func.count()).select_from(table).where(*where))
    for table, where in (
        (schema.quarantine, (schema.quarantine.c.state == quarantine.HELD,)),
        (schema.conflict, (schema.conflict.c.state != conflicts.FOLDED,)),
        (schema.knock, ()),
    )
)
_ARRIVALS = Statement(
    select(_instance.id, _instance.source, _instance.arrived_at)
    .where(_instance.id > bindparam("after"))
    .order_by(_instance.id)
    .limit(bindparam("many"))
)
_LAST = Statement(select(func.max(_instance.id)))


def owed_since(unit: Unit, site: SiteId) -> int | None:
    """Since when the oldest copy is owed that a site has not proved."""
    return _one(unit.run(_FIRST, site=site, state=CopyState.OWED).fetchone())


def owed(unit: Unit, site: SiteId) -> int:
    """How many copies a site owes."""
    return _one(unit.run(_COUNT, site=site, state=CopyState.OWED).fetchone()) or 0


def lost(unit: Unit, site: SiteId, many: int) -> int:
    """Copies that a site had and has no more, although the rules of this one want them there.

    Only of what this site received, and of the first `many` that are gone: enough to know.
    """
    rows = unit.run(_GONE, site=site, state=CopyState.GONE, many=many).fetchall()
    own = [InstanceUID.trusted(uid) for uid, stamp in rows if _origin(stamp) in ("", unit.origin)]
    return sum(1 for known in traits.of(unit, own).values() if site in unit.rules.desired(known))


def stalled(unit: Unit) -> int:
    """How many jobs wait for a person."""
    return _one(unit.run(_STALLED).fetchone()) or 0


def oldest_job(unit: Unit) -> int | None:
    """Since when the oldest job is owed that is still tried."""
    return _one(unit.run(_OLDEST_JOB).fetchone())


def oldest_proof(unit: Unit) -> int | None:
    """When the bytes were read back that were not read back for the longest time."""
    return _one(unit.run(_OLDEST_PROOF).fetchone())


def tripped(unit: Unit) -> Sequence[tuple[str, str]]:
    """Name and reason of each brake that has tripped."""
    return [(name, reason) for name, reason in unit.run(_TRIPPED).fetchall()]


def waiting(unit: Unit) -> tuple[int, int, int]:
    """How much waits for a person: objects in quarantine, conflicts, strangers that knocked."""
    held, unsettled, knocked = (_one(unit.run(statement).fetchone()) or 0 for statement in _WAITING)
    return held, unsettled, knocked


def arrivals(unit: Unit, after: int, many: int) -> Sequence[tuple[int, str, int]]:
    """Number, source and moment of instances that arrived after the one of that number."""
    rows = unit.run(_ARRIVALS, after=after, many=many).fetchall()
    return [(number, source, at) for number, source, at in rows]


def last_arrival(unit: Unit) -> int:
    """The highest number of an instance."""
    return _one(unit.run(_LAST).fetchone()) or 0


def _one(row: tuple[int | None] | None) -> int | None:
    return row[0] if row else None


def _origin(stamp: str) -> str:
    """The site whose fact a row comes from; empty where it has no stamp."""
    return stamp.split(" ")[1] if stamp else ""
