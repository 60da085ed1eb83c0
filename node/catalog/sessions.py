"""Sessions as rows: who is logged in with which browser, and until when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, insert, select, update

from node.catalog import schema
from node.catalog.statement import Statement

if TYPE_CHECKING:
    from node.catalog.unit import Unit

_session = schema.session.c
_ADD = Statement(insert(schema.session))
_FIND = Statement(select(schema.session).where(_session.id == bindparam("which")))
_OF_BROWSER = Statement(select(schema.session).where(_session.browser == bindparam("which")))
_OF_PERSON = Statement(
    select(schema.session).where(_session.issuer == bindparam("whose"), _session.name == bindparam("who"))
)
_OF_NAME_ID = Statement(
    select(schema.session).where(_session.issuer == bindparam("whose"), _session.name_id == bindparam("who"))
)
_ENDED = Statement(select(schema.session).where(_session.until_at <= bindparam("now")))
_IDLE = Statement(select(schema.session).where(_session.seen_at <= bindparam("before")))
_SEEN = Statement(
    update(schema.session).where(_session.id == bindparam("which")).values(seen_at=bindparam("now"))
)
_DROP = Statement(delete(schema.session).where(_session.id == bindparam("which")))
_DROP_OF = Statement(delete(schema.session).where(_session.issuer == bindparam("whose")))


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """One person in one browser."""

    id: str
    """SHA-256 of what the cookie holds, hexadecimal: whoever reads the catalog cannot take a session over."""
    issuer: str
    name: str
    principal: str
    """The person, as `node.identity.persons` writes one."""
    name_id: str
    """What the identity provider calls the person (SAML Core §2.2.3), for a logout."""
    session_index: str
    """What it calls its session (SAML Core §2.7.2)."""
    browser: str
    """SHA-256 of what the login cookie of the browser holds."""
    options: str
    """JSON of the rest that a logout needs."""
    since_at: int
    seen_at: int
    until_at: int
    """Microseconds since 1970."""


class SessionList:
    """The sessions that are open."""

    def __init__(self, unit: Unit) -> None:
        """The sessions within a unit of work."""
        self._unit = unit

    def add(self, row: SessionRow) -> None:
        """Keep a new session."""
        self._unit.run(_ADD, **{name: getattr(row, name) for name in SessionRow.__slots__})

    def find(self, session_id: str) -> SessionRow | None:
        """The session of that id, if it was not ended."""
        row = self._unit.run(_FIND, which=session_id).fetchone()
        return SessionRow(**dict(zip(_NAMES, row, strict=True))) if row else None

    def of_browser(self, browser: str) -> Sequence[SessionRow]:
        """The sessions that one browser has; usually one."""
        return self._all(_OF_BROWSER, which=browser)

    def of_person(self, issuer: str, name: str) -> Sequence[SessionRow]:
        """The sessions of one person."""
        return self._all(_OF_PERSON, whose=issuer, who=name)

    def of_name_id(self, issuer: str, name_id: str) -> Sequence[SessionRow]:
        """The sessions of whom an identity provider calls so."""
        return self._all(_OF_NAME_ID, whose=issuer, who=name_id)

    def over(self, now: int, idle_since: int) -> Sequence[SessionRow]:
        """The sessions whose time is over, or in which nothing was done since `idle_since`."""
        both = [*self._all(_ENDED, now=now), *self._all(_IDLE, before=idle_since)]
        return list({row.id: row for row in both}.values())

    def seen(self, session_id: str) -> None:
        """Something was done in it just now."""
        self._unit.run(_SEEN, which=session_id, now=self._unit.now)

    def drop(self, session_id: str) -> None:
        """End a session."""
        self._unit.run(_DROP, which=session_id)

    def drop_of(self, issuer: str) -> int:
        """End the sessions of everybody whom an identity provider vouched for; how many they were."""
        return self._unit.run(_DROP_OF, whose=issuer).rowcount

    def _all(self, statement: Statement, **values: Any) -> list[SessionRow]:
        rows = self._unit.run(statement, **values).fetchall()
        return [SessionRow(**dict(zip(_NAMES, row, strict=True))) for row in rows]


_NAMES = tuple(column.name for column in schema.session.columns)
