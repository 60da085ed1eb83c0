"""Gauges as rows: measures by name and subject, sampled now and then; and notes, of which the last stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, insert, select

from node.catalog import schema
from node.catalog.statement import Statement

if TYPE_CHECKING:
    from node.catalog.unit import Unit

_gauge, _rhythm = schema.gauge.c, schema.rhythm.c
_NOTE = 0
"""The moment of a note."""
_PUT = Statement(insert(schema.gauge).prefix_with("OR REPLACE", dialect="sqlite"))
_NAMED = (_gauge.name == bindparam("name"), _gauge.subject == bindparam("subject"))
_SERIES = Statement(
    select(_gauge.at, _gauge.value)
    .where(*_NAMED, _gauge.at >= bindparam("since"), _gauge.at > _NOTE)
    .order_by(_gauge.at)
)
_LAST = Statement(select(_gauge.at).where(*_NAMED, _gauge.at > _NOTE).order_by(_gauge.at.desc()).limit(1))
_FIND = Statement(select(_gauge.value).where(*_NAMED, _gauge.at == _NOTE))
_NOTED = Statement(
    select(_gauge.subject, _gauge.value)
    .where(_gauge.name == bindparam("name"), _gauge.at == _NOTE)
    .order_by(_gauge.subject)
)
_PRUNE = Statement(
    delete(schema.gauge).where(
        _gauge.name == bindparam("of_name"), _gauge.at > _NOTE, _gauge.at < bindparam("before")
    )
)
_LEARNED = Statement(select(_rhythm.device, _rhythm.learned).order_by(_rhythm.device))
_LEARN = Statement(insert(schema.rhythm).prefix_with("OR REPLACE", dialect="sqlite"))


class Gauges:
    """What was measured at this site."""

    def __init__(self, unit: Unit) -> None:
        """The measures within a unit of work."""
        self._unit = unit

    def sample(self, name: str, subject: str, value: int) -> None:
        """Keep what was measured now."""
        self._unit.run(_PUT, name=name, subject=subject, at=self._unit.now, value=value)

    def series(self, name: str, subject: str, since: int) -> Sequence[tuple[int, int]]:
        """The samples (when, value) since that moment, the oldest first."""
        rows = self._unit.run(_SERIES, name=name, subject=subject, since=since).fetchall()
        return [(at, value) for at, value in rows]

    def sampled_at(self, name: str, subject: str) -> int:
        """When the last sample was taken; 0 for never."""
        row = self._unit.run(_LAST, name=name, subject=subject).fetchone()
        return int(row[0]) if row else 0

    def prune(self, name: str, before: int) -> None:
        """Forget samples that are older."""
        self._unit.run(_PRUNE, of_name=name, before=before)

    def note(self, name: str, subject: str, value: int) -> None:
        """Keep one value in place of the last."""
        self._unit.run(_PUT, name=name, subject=subject, at=_NOTE, value=value)

    def noted(self, name: str, subject: str = "") -> int:
        """The value that was noted last; 0 for none."""
        row = self._unit.run(_FIND, name=name, subject=subject).fetchone()
        return int(row[0]) if row else 0

    def notes(self, name: str) -> dict[str, int]:
        """The values of all subjects that were noted last."""
        return dict(self._unit.run(_NOTED, name=name).fetchall())

    def rhythms(self) -> dict[str, str]:
        """What was learned of when devices send, as text, by the name of the device."""
        return dict(self._unit.run(_LEARNED).fetchall())

    def learn(self, device: str, learned: str) -> None:
        """Keep what was learned of a device."""
        self._unit.run(_LEARN, device=device, learned=learned)
