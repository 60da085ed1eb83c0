"""Policies as rows: every one that was activated here, with who did; the latest decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from sqlalchemy import bindparam, desc, func, insert, select

from node.catalog import schema
from node.catalog.statement import Statement
from node.domain.ids import StudyUID
from node.policy.decide import default, default_text
from node.policy.rules import Policy, read

if TYPE_CHECKING:
    from node.catalog.unit import Unit

_policy = schema.policy.c
_WRITTEN = [column for column in _policy if column.name != "id"]
_ADD = Statement(insert(schema.policy).values({c.name: bindparam(c.name) for c in _WRITTEN}))
_LATEST = Statement(select(_policy.body).order_by(desc(_policy.id)).limit(1))
_ALL = Statement(
    select(_policy.id, _policy.version, _policy.at, _policy.said_by, _policy.reason).order_by(
        desc(_policy.id)
    )
)
_CALLED = Statement(select(_policy.body).where(_policy.version == bindparam("named")))
_LAST_STUDIES = Statement(
    select(schema.study.c.uid)
    .group_by(schema.study.c.uid)
    .order_by(desc(func.max(schema.study.c.id)))
    .limit(bindparam("many"))
)
_KEPT: Final = 32
"""Policies that are kept read: those of the sites in this process, and a few that are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """When a policy began to decide, and by whose word."""

    id: int
    version: str
    at: int
    by: str
    reason: str


class Policies:
    """The policies of this site."""

    def __init__(self, unit: Unit) -> None:
        """The policies within a unit of work."""
        self._unit = unit

    def current(self) -> Policy:
        """The one that decides.

        Raises:
            BadPolicy: this program does not understand the one that was activated; nothing is decided
                by another one in its place.
        """
        row = self._unit.run(_LATEST).fetchone()
        return _read(row[0]) if row else default()

    def text(self) -> str:
        """The same, as it was written."""
        row = self._unit.run(_LATEST).fetchone()
        return str(row[0]) if row else default_text()

    def called(self, version: str) -> Sequence[str]:
        """The texts that were in force here under that version."""
        texts = [str(row[0]) for row in self._unit.run(_CALLED, named=version).fetchall()]
        return [*texts, default_text()] if version == default().version else texts

    def put(self, text: str, by: str, reason: str = "") -> int:
        """Let a policy decide from now on; with its number.

        Raises:
            BadPolicy: it says something that is not understood.
        """
        version = _read(text).version
        return self._unit.run(
            _ADD, version=version, body=text, at=self._unit.now, said_by=by, reason=reason
        ).lastrowid

    def history(self) -> Sequence[Activation]:
        """All that were activated, the latest first."""
        return [
            Activation(id=number, version=version, at=at, by=by, reason=reason)
            for number, version, at, by, reason in self._unit.run(_ALL).fetchall()
        ]

    def sample(self, many: int) -> Sequence[StudyUID]:
        """The studies that came last, to try another policy on."""
        return [StudyUID.trusted(row[0]) for row in self._unit.run(_LAST_STUDIES, many=many).fetchall()]


@lru_cache(maxsize=_KEPT)
def _read(text: str) -> Policy:
    """A policy, read once."""
    return read(text)
