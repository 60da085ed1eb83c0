"""When the bytes of this site were read back last, and what each round of looking covered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, func, insert, or_, select

from node.catalog import schema
from node.catalog.statement import Statement
from node.domain.ids import Digest, SiteId
from node.journal.entry import Fact

if TYPE_CHECKING:
    from node.catalog.unit import Unit

_proof, _round, _journal = schema.proof.c, schema.round_.c, schema.journal.c
_PUT = Statement(insert(schema.proof).prefix_with("OR REPLACE", dialect="sqlite"))
_ADD = Statement(insert(schema.proof).prefix_with("OR IGNORE", dialect="sqlite"))
_FORGET = Statement(delete(schema.proof).where(_proof.digest == bindparam("of")))
_KNOWN = Statement(
    select(_proof.digest).where(_proof.digest >= bindparam("first"), _proof.digest < bindparam("end"))
)
_FIND = Statement(select(_proof.proved_at).where(_proof.digest == bindparam("of")))
_DUE = Statement(select(func.count()).select_from(schema.proof).where(_proof.proved_at < bindparam("before")))
_OLDEST = Statement(
    select(_proof.digest, _proof.size)
    .where(_proof.proved_at < bindparam("before"))
    .order_by(_proof.proved_at, _proof.digest)
    .limit(bindparam("many"))
)
_FIRST = Statement(select(func.min(_proof.proved_at)))
_TOTAL = Statement(select(func.count(), func.coalesce(func.sum(_proof.size), 0)))
_SINCE = Statement(
    select(func.count(), func.coalesce(func.sum(_proof.size), 0)).where(
        _proof.proved_at >= bindparam("moment")
    )
)
_TOLD = Statement(
    select(_journal.epoch, _journal.seq)
    .where(
        _journal.origin == bindparam("of"),
        or_(_journal.kind == Fact.COPIES, _journal.kind == Fact.INSTANCE),
        _journal.payload.contains(bindparam("named")),
    )
    .order_by(_journal.epoch.desc(), _journal.seq.desc())
    .limit(1)
)
_PUT_ROUND = Statement(insert(schema.round_).prefix_with("OR REPLACE", dialect="sqlite"))
_ROUND = Statement(
    select(_round.begun_at, _round.ended_at, _round.objects, _round.bytes, _round.found).where(
        _round.kind == bindparam("of_kind")
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One pass over the store."""

    begun_at: int
    ended_at: int = 0
    """Microseconds since 1970; 0 while it lasts."""
    objects: int = 0
    bytes: int = 0
    found: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How much of the store was read back, and when."""

    objects: int
    bytes: int
    recent_objects: int
    recent_bytes: int
    """Of them, read back (or written) since the moment that was asked about."""
    oldest_at: int | None
    """When those that were read longest ago were."""


class Proofs:
    """What was read back at this site."""

    def __init__(self, unit: Unit) -> None:
        """The proofs within a unit of work."""
        self._unit = unit

    def put(self, digest: Digest, size: int) -> None:
        """These bytes have been read back just now."""
        self._unit.run(_PUT, digest=digest, size=size, proved_at=self._unit.now)

    def arrived(self, arrivals: Iterable[tuple[Digest, int, int]]) -> None:
        """Know bytes (digest, size, when they came) that are not known yet: they were right when written."""
        for digest, size, at in arrivals:
            self._unit.run(_ADD, digest=digest, size=size, proved_at=at)

    def known(self, prefix: str) -> set[str]:
        """The digests that begin so and are known."""
        return {row[0] for row in self._unit.run(_KNOWN, first=prefix, end=prefix + "g").fetchall()}

    def forget(self, digest: str) -> None:
        """These bytes are not here any more."""
        self._unit.run(_FORGET, of=digest)

    def find(self, digest: Digest) -> int | None:
        """When these bytes were read back last (or written); None where they are not known here."""
        row = self._unit.run(_FIND, of=digest).fetchone()
        return int(row[0]) if row else None

    def told(self, site: SiteId, digest: Digest) -> tuple[int, int] | None:
        """Epoch and number of the last fact by which a site told of its copy; looks through its journal."""
        row = self._unit.run(_TOLD, of=site, named=digest).fetchone()
        return (row[0], row[1]) if row else None

    def due(self, before: int) -> int:
        """How many copies were read back last before that moment."""
        return int(self._unit.run(_DUE, before=before).fetchall()[0][0])

    def oldest(self, many: int, *, before: int) -> Sequence[tuple[Digest, int]]:
        """Digest and size of what was read back longest ago, and before that moment."""
        rows = self._unit.run(_OLDEST, before=before, many=many).fetchall()
        return [(Digest.trusted(digest), size) for digest, size in rows]

    def coverage(self, since: int) -> Coverage:
        """How much was read back since that moment."""
        objects, size = self._unit.run(_TOTAL).fetchall()[0]
        recent, read = self._unit.run(_SINCE, moment=since).fetchall()[0]
        oldest = self._unit.run(_FIRST).fetchall()[0][0]
        return Coverage(
            objects=objects, bytes=size, recent_objects=recent, recent_bytes=read, oldest_at=oldest
        )

    def round(self, kind: str) -> Round | None:
        """The last round of that kind."""
        row = self._unit.run(_ROUND, of_kind=kind).fetchone()
        if row is None:
            return None
        begun, ended, objects, size, found = row
        return Round(begun_at=begun, ended_at=ended, objects=objects, bytes=size, found=found)

    def save_round(self, kind: str, one: Round) -> None:
        """Note how far a round is."""
        self._unit.run(
            _PUT_ROUND,
            kind=kind,
            begun_at=one.begun_at,
            ended_at=one.ended_at,
            objects=one.objects,
            bytes=one.bytes,
            found=one.found,
        )
