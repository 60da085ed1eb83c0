"""Replicas as rows: which other sites hold, or owe, a copy of which bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, func, insert, or_, select, update

from node.catalog import schema
from node.catalog.statement import Statement
from node.domain.ids import Digest, InstanceUID, SiteId
from node.domain.replica import CopyState, Lag, Replica

if TYPE_CHECKING:
    from node.catalog.unit import Unit

_replica = schema.replica.c
_COLUMNS = (
    _replica.instance,
    _replica.digest,
    _replica.site,
    _replica.state,
    _replica.size,
    _replica.at,
)
_PUT = Statement(insert(schema.replica).prefix_with("OR REPLACE", dialect="sqlite"))
_STATE = Statement(
    select(_replica.state, _replica.at).where(
        _replica.digest == bindparam("digest"), _replica.site == bindparam("site")
    )
)
_FORGET = Statement(
    delete(schema.replica).where(_replica.digest == bindparam("of"), _replica.site == bindparam("at_site"))
)
_NAME = Statement(
    update(schema.replica)
    .where(_replica.digest == bindparam("of"), _replica.instance == "")
    .values(instance=bindparam("uid"), size=bindparam("bytes"))
)
_FIND = Statement(
    select(*_COLUMNS).where(_replica.digest == bindparam("digest"), _replica.site == bindparam("site"))
)
_FORGET_OWED = Statement(
    delete(schema.replica).where(_replica.digest == bindparam("of"), _replica.state == CopyState.OWED)
)
_OF_DIGEST = Statement(
    select(*_COLUMNS).where(_replica.digest == bindparam("digest")).order_by(_replica.site)
)
_OF_INSTANCE = Statement(
    select(*_COLUMNS)
    .where(_replica.instance == bindparam("instance"))
    .order_by(_replica.digest, _replica.site)
)
_LAG = Statement(
    select(func.count(), func.coalesce(func.sum(_replica.size), 0), func.min(_replica.at)).where(
        _replica.site == bindparam("site"), _replica.state == CopyState.OWED
    )
)
_OWED = Statement(
    select(*_COLUMNS)
    .where(_replica.site == bindparam("site"), _replica.state == CopyState.OWED)
    .order_by(_replica.at)
    .limit(bindparam("many"))
)
_CLAIMED = Statement(
    select(*_COLUMNS)
    .where(
        _replica.site == bindparam("site"),
        _replica.digest > bindparam("after"),
        or_(_replica.state == CopyState.VERIFIED, _replica.state == CopyState.HELD),
    )
    .order_by(_replica.digest)
    .limit(bindparam("many"))
)
_COUNT = Statement(
    select(_replica.state, func.count()).where(_replica.site == bindparam("site")).group_by(_replica.state)
)


class Replicas:
    """The replica catalog: logical name (an instance) to targets (copies at other sites)."""

    def __init__(self, unit: Unit) -> None:
        """The replicas within a unit of work."""
        self._unit = unit

    def put(self, replica: Replica) -> None:
        """Note what is known of a copy, in place of what was known before."""
        self._unit.run(
            _PUT,
            digest=replica.digest,
            site=replica.site,
            instance=replica.instance,
            size=replica.size,
            state=replica.state,
            at=replica.at,
        )

    def name(self, digest: Digest, uid: InstanceUID, size: int) -> None:
        """Copies of these bytes that were told of before the instance was."""
        self._unit.run(_NAME, of=digest, uid=uid, bytes=size)

    def find(self, digest: Digest, site: SiteId) -> Replica | None:
        """What is known of a site's copy."""
        row = self._unit.run(_FIND, digest=digest, site=site).fetchone()
        return _replica_of(*row) if row else None

    def state(self, digest: Digest, site: SiteId) -> tuple[CopyState, int] | None:
        """What is known of a site's copy, and since when."""
        row = self._unit.run(_STATE, digest=digest, site=site).fetchone()
        return (CopyState(row[0]), row[1]) if row else None

    def forget(self, digest: Digest, site: SiteId) -> None:
        """Nothing is known or owed any more of that copy."""
        self._unit.run(_FORGET, of=digest, at_site=site)

    def forget_owed(self, digest: Digest) -> None:
        """No copy of these bytes is owed any more."""
        self._unit.run(_FORGET_OWED, of=digest)

    def of_digest(self, digest: Digest) -> Sequence[Replica]:
        """All that is known of copies of these bytes at other sites."""
        return [_replica_of(*row) for row in self._unit.run(_OF_DIGEST, digest=digest).fetchall()]

    def of_instance(self, instance: InstanceUID) -> Sequence[Replica]:
        """All that is known of copies of any form of an instance at other sites."""
        return [_replica_of(*row) for row in self._unit.run(_OF_INSTANCE, instance=instance).fetchall()]

    def of_instances(self, instances: Sequence[InstanceUID]) -> Sequence[Replica]:
        """All that is known of copies of many instances at other sites."""
        query = (
            select(*_COLUMNS)
            .where(_replica.instance.in_(instances))
            .order_by(_replica.instance, _replica.digest, _replica.site)
        )
        return [_replica_of(*row) for row in self._unit.rows(query)]

    def lag(self, site: SiteId) -> Lag:
        """How much a site owes a copy of."""
        objects, size, oldest = self._unit.run(_LAG, site=site).fetchall()[0]
        return Lag(objects=objects, bytes=size, oldest_at=oldest)

    def owed(self, site: SiteId, many: int) -> Sequence[Replica]:
        """Copies that a site owes, the oldest first."""
        return [_replica_of(*row) for row in self._unit.run(_OWED, site=site, many=many).fetchall()]

    def short(self, before: int, many: int) -> Sequence[Replica]:
        """Copies that were owed before that moment and are not proved, or are gone; the oldest first."""
        late = (_replica.state == CopyState.OWED) & (_replica.at < before)
        query = (
            select(*_COLUMNS)
            .where(or_(late, _replica.state == CopyState.GONE))
            .order_by(_replica.at, _replica.digest)
            .limit(many)
        )
        return [_replica_of(*row) for row in self._unit.rows(query)]

    def claimed(self, site: SiteId, after: str, many: int) -> Sequence[Replica]:
        """Copies that a site says it has, in the order of their digests after one."""
        rows = self._unit.run(_CLAIMED, site=site, after=after, many=many).fetchall()
        return [_replica_of(*row) for row in rows]

    def counts(self, site: SiteId) -> dict[CopyState, int]:
        """How many copies of a site are in which state."""
        return {CopyState(state): count for state, count in self._unit.run(_COUNT, site=site).fetchall()}


def _replica_of(instance: str, digest: str, site: str, state: str, size: int, at: int) -> Replica:
    return Replica(
        instance=InstanceUID.trusted(instance),
        digest=Digest.trusted(digest),
        site=SiteId.trusted(site),
        state=CopyState(state),
        size=size,
        at=at,
    )
