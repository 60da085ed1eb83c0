"""Emergencies as rows: what was opened without a right to it, until when, and what others thought of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, desc, func, insert, select, update

from node.catalog import schema
from node.catalog.statement import Statement
from node.domain.emergency import Emergency, Verdict

if TYPE_CHECKING:
    from node.catalog.unit import Unit

_emergency = schema.emergency.c
_WRITTEN = [column for column in _emergency if column.name != "id"]
_ADD = Statement(insert(schema.emergency).values({c.name: bindparam(c.name) for c in _WRITTEN}))
_FIND = Statement(select(schema.emergency).where(_emergency.id == bindparam("which")))
_OPEN = Statement(
    select(_emergency.study).where(
        _emergency.issuer == bindparam("given_by"),
        _emergency.name == bindparam("called"),
        _emergency.until_at > bindparam("moment"),
    )
)
_FIND_OPEN = Statement(
    select(schema.emergency)
    .where(
        _emergency.issuer == bindparam("given_by"),
        _emergency.name == bindparam("called"),
        _emergency.until_at > bindparam("moment"),
        _emergency.study == bindparam("of"),
    )
    .order_by(desc(_emergency.id))
    .limit(1)
)
_ALL = Statement(select(schema.emergency).order_by(desc(_emergency.id)).limit(bindparam("many")))
_WAITING = Statement(
    select(schema.emergency).where(_emergency.reviewed_at == 0).order_by(_emergency.at, _emergency.id)
)
_REVIEW = Statement(
    update(schema.emergency)
    .where(_emergency.id == bindparam("which"))
    .values(
        reviewed_at=bindparam("now"),
        reviewed_by=bindparam("whom"),
        verdict=bindparam("found"),
        note=bindparam("said"),
        until_at=func.min(_emergency.until_at, bindparam("close_at")),
    )
)

_NEVER = 2**62
"""A moment that no emergency lasts until."""


class Emergencies:
    """What was opened in an emergency at this site."""

    def __init__(self, unit: Unit) -> None:
        """The emergencies within a unit of work."""
        self._unit = unit

    def open_for(self, issuer: str, name: str, now: int | None = None) -> frozenset[str]:
        """The studies that are open so for a person; at the moment of the unit, unless another is named."""
        moment = self._unit.now if now is None else now
        rows = self._unit.run(_OPEN, given_by=issuer, called=name, moment=moment).fetchall()
        return frozenset(row[0] for row in rows)

    def add(self, emergency: Emergency) -> Emergency:
        """Write down that a study was opened just now; with its number."""
        given = {
            "issuer": emergency.issuer,
            "name": emergency.name,
            "study": emergency.study,
            "reason": emergency.reason,
            "at": self._unit.now,
            "until_at": emergency.until,
            "reviewed_at": 0,
            "reviewed_by": "",
            "verdict": "",
            "note": "",
        }
        number = self._unit.run(_ADD, **given).lastrowid
        return _emergency_of((number, *given.values()))

    def find(self, number: int) -> Emergency | None:
        """The one of that number."""
        row = self._unit.run(_FIND, which=number).fetchone()
        return _emergency_of(row) if row else None

    def find_open(self, issuer: str, name: str, study: str) -> Emergency | None:
        """The one by which a study is open for a person now."""
        row = self._unit.run(
            _FIND_OPEN, given_by=issuer, called=name, moment=self._unit.now, of=study
        ).fetchone()
        return _emergency_of(row) if row else None

    def all(self, many: int = 1000) -> Sequence[Emergency]:
        """All of them, the newest first."""
        return [_emergency_of(row) for row in self._unit.run(_ALL, many=many).fetchall()]

    def waiting(self) -> Sequence[Emergency]:
        """Those that nobody has reviewed yet, the oldest first."""
        return [_emergency_of(row) for row in self._unit.run(_WAITING).fetchall()]

    def reviewed(self, number: int, *, by: str, verdict: Verdict, note: str) -> None:
        """A second person has judged it; what was wrong is closed at once."""
        now = self._unit.now
        close_at = now if verdict is Verdict.UNJUSTIFIED else _NEVER
        self._unit.run(_REVIEW, which=number, whom=by, found=verdict, said=note, now=now, close_at=close_at)


def _emergency_of(row: Sequence[Any]) -> Emergency:
    number, issuer, name, study, reason, at, until, reviewed_at, reviewed_by, verdict, note = row
    return Emergency(
        id=number,
        issuer=issuer,
        name=name,
        study=study,
        reason=reason,
        at=at,
        until=until,
        reviewed_at=reviewed_at,
        reviewed_by=reviewed_by,
        verdict=Verdict(verdict) if verdict else None,
        note=note,
    )
