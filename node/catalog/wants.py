"""Wants as rows: bytes that are to be fetched from other sites, then read back and proved.

```
wanted ── the bytes are in the store ──▶ arrived ── read back, digest right ──▶ proved (the row goes)
   ▲ └── the fetch failed: due later ──┐      └── digest wrong ──▶ wanted
   └────────────────────────────────────┘
```
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import and_, bindparam, delete, desc, exists, func, insert, or_, select, update

from node.catalog import schema
from node.catalog.statement import Statement
from node.domain.ids import Digest, InstanceUID, SiteId
from node.domain.replica import Lag, Want

if TYPE_CHECKING:
    from node.catalog.unit import Unit

WANTED = "wanted"
ARRIVED = "arrived"
_want = schema.want.c
_COLUMNS = (
    _want.digest,
    _want.instance,
    _want.size,
    _want.holder,
    _want.urgency,
    _want.wanted_at,
    _want.attempts,
)
_ADD = Statement(insert(schema.want).prefix_with("OR IGNORE", dialect="sqlite"))
_FIND = Statement(select(*_COLUMNS, _want.state).where(_want.digest == bindparam("digest")))
_NEXT = Statement(
    select(*_COLUMNS)
    .where(_want.state == WANTED, _want.holder == bindparam("holder"), _want.due_at <= bindparam("now"))
    .order_by(desc(_want.urgency), desc(_want.wanted_at), _want.digest)
    .limit(bindparam("many"))
)
_ARRIVED_LIST = Statement(
    select(*_COLUMNS).where(_want.state == ARRIVED).order_by(_want.wanted_at).limit(bindparam("many"))
)
_SET_STATE = Statement(
    update(schema.want).where(_want.digest == bindparam("of")).values(state=bindparam("to"))
)
_FAIL = Statement(
    update(schema.want)
    .where(_want.digest == bindparam("of"))
    .values(
        state=WANTED,
        attempts=_want.attempts + 1,
        due_at=bindparam("later"),
        error=bindparam("why"),
    )
)
_URGE = Statement(
    update(schema.want)
    .where(_want.digest == bindparam("of"), _want.urgency < bindparam("more"))
    .values(urgency=bindparam("more"), due_at=0)
)
_MOVE = Statement(
    update(schema.want).where(_want.digest == bindparam("of")).values(holder=bindparam("to"), due_at=0)
)
_DROP = Statement(delete(schema.want).where(_want.digest == bindparam("of")))
_LAG = Statement(
    select(func.count(), func.coalesce(func.sum(_want.size), 0), func.min(_want.wanted_at)).where(
        _want.holder == bindparam("holder")
    )
)
_ANY = Statement(
    select(_want.digest)
    .where(_want.state == WANTED, _want.holder == bindparam("holder"), _want.due_at <= bindparam("now"))
    .limit(1)
)


_UNLISTED = Statement(
    select(*_COLUMNS)
    .where(
        ~exists().where(schema.instance.c.uid == _want.instance),
        or_(
            _want.wanted_at < bindparam("before"),
            and_(_want.wanted_at == bindparam("before"), _want.digest > bindparam("after")),
        ),
    )
    .order_by(desc(_want.wanted_at), _want.digest)
    .limit(bindparam("many"))
)
_TOTAL = Statement(
    select(_want.state, func.count(), func.coalesce(func.sum(_want.size), 0)).group_by(_want.state)
)
_TRIED = Statement(
    select(func.count()).where(_want.state == WANTED, _want.attempts > 0, _want.due_at > bindparam("now"))
)
_ALL_LEFT = Statement(
    select(*_COLUMNS, _want.error).order_by(desc(_want.wanted_at), _want.digest).limit(bindparam("many"))
)


class Wants:
    """What this site wants of others, and has not proved yet."""

    def __init__(self, unit: Unit) -> None:
        """The wants within a unit of work."""
        self._unit = unit

    def add(self, want: Want) -> None:
        """Want some bytes; those that are wanted already stay as they are."""
        self._unit.run(
            _ADD,
            digest=want.digest,
            instance=want.instance,
            size=want.size,
            holder=want.holder,
            urgency=want.urgency,
            wanted_at=want.wanted_at,
            due_at=0,
            attempts=0,
            state=WANTED,
            error="",
        )

    def find(self, digest: Digest) -> tuple[Want, str] | None:
        """The want for these bytes, and its state."""
        row = self._unit.run(_FIND, digest=digest).fetchone()
        return (_want_of(*row[:-1]), row[-1]) if row else None

    def states(self, digests: Sequence[Digest]) -> dict[str, str]:
        """The states of the wants for these bytes; those that are not wanted are left out."""
        query = select(_want.digest, _want.state).where(_want.digest.in_(digests))
        return {row[0]: row[1] for row in self._unit.rows(query)}

    def next(self, holder: SiteId, many: int) -> Sequence[Want]:
        """What is to be fetched from a site next: on demand first, then the newest."""
        rows = self._unit.run(_NEXT, holder=holder, now=self._unit.now, many=many).fetchall()
        return [_want_of(*row) for row in rows]

    def any_due(self, holder: SiteId) -> bool:
        """Whether there is anything to fetch from a site now."""
        return self._unit.run(_ANY, holder=holder, now=self._unit.now).fetchone() is not None

    def unlisted(self, many: int, last: Want | None = None) -> Sequence[Want]:
        """What is wanted of instances that are not catalogued here yet, the newest first, after `last`."""
        before, after = (last.wanted_at, last.digest) if last else (1 << 62, "")
        rows = self._unit.run(_UNLISTED, before=before, after=after, many=many).fetchall()
        return [_want_of(*row) for row in rows]

    def total(self) -> dict[str, tuple[int, int]]:
        """How many objects and bytes are wanted in all, by state."""
        return {state: (count, size) for state, count, size in self._unit.run(_TOTAL).fetchall()}

    def given_up_for_now(self) -> int:
        """How many were asked for everywhere in vain, and are not due again yet."""
        return int(self._unit.run(_TRIED, now=self._unit.now).fetchall()[0][0])

    def left(self, many: int) -> Sequence[tuple[Want, str]]:
        """What is still wanted, with why the last attempt failed; the newest first."""
        rows = self._unit.run(_ALL_LEFT, many=many).fetchall()
        return [(_want_of(*row[:-1]), row[-1]) for row in rows]

    def arrived(self, digest: Digest) -> None:
        """The bytes are in the store and have to be read back."""
        self._unit.run(_SET_STATE, of=digest, to=ARRIVED)

    def to_prove(self, many: int) -> Sequence[Want]:
        """What has arrived and was not read back yet, the oldest first."""
        return [_want_of(*row) for row in self._unit.run(_ARRIVED_LIST, many=many).fetchall()]

    def failed(self, digest: Digest, why: str, *, pause: int) -> None:
        """The bytes could not be had; try again after `pause` microseconds."""
        self._unit.run(_FAIL, of=digest, why=why, later=self._unit.now + pause)

    def urge(self, digest: Digest, urgency: int) -> None:
        """Want these bytes sooner than before."""
        self._unit.run(_URGE, of=digest, more=urgency)

    def ask(self, digest: Digest, holder: SiteId) -> None:
        """Ask another site for these bytes from now on."""
        self._unit.run(_MOVE, of=digest, to=holder)

    def drop(self, digest: Digest) -> None:
        """The bytes are proved, or not wanted any more."""
        self._unit.run(_DROP, of=digest)

    def lag(self, holder: SiteId) -> Lag:
        """How much of a site's is not here or not proved."""
        objects, size, oldest = self._unit.run(_LAG, holder=holder).fetchall()[0]
        return Lag(objects=objects, bytes=size, oldest_at=oldest)


def _want_of(
    digest: str, instance: str, size: int, holder: str, urgency: int, wanted_at: int, attempts: int
) -> Want:
    return Want(
        digest=Digest.trusted(digest),
        instance=InstanceUID.trusted(instance),
        size=size,
        holder=SiteId.trusted(holder),
        urgency=urgency,
        wanted_at=wanted_at,
        attempts=attempts,
    )
