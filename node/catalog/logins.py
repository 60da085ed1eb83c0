"""Logins that have begun, and messages that were taken, as rows: what is needed to take each answer once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import bindparam, delete, func, insert, select

from node.catalog import schema
from node.catalog.statement import Statement
from node.domain.errors import TooBusy

if TYPE_CHECKING:
    from node.catalog.unit import Unit

MOST: Final = 20_000
"""Logins that may have begun and not ended."""
MOST_TAKEN: Final = 400_000
"""Messages that are remembered at one time."""

_login, _taken = schema.login.c, schema.taken.c
_ADD = Statement(insert(schema.login))
_FIND = Statement(select(schema.login).where(_login.id == bindparam("which")))
_DROP = Statement(delete(schema.login).where(_login.id == bindparam("which")))
_EXPIRED = Statement(delete(schema.login).where(_login.until_at < bindparam("now")))
_COUNT = Statement(select(func.count()).select_from(schema.login))
_TAKE = Statement(insert(schema.taken))
_IS_TAKEN = Statement(
    select(_taken.until_at).where(_taken.issuer == bindparam("whose"), _taken.id == bindparam("which"))
)
_FORGET = Statement(delete(schema.taken).where(_taken.until_at < bindparam("now")))
_COUNT_TAKEN = Statement(select(func.count()).select_from(schema.taken))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A request to an identity provider that was not answered yet."""

    id: str
    """SHA-256 of the token that comes back with the answer."""
    browser: str
    """SHA-256 of what only the browser that began it knows."""
    issuer: str
    """The identity provider that may answer."""
    request: str
    """The ID of the request."""
    onward: str = ""
    """Where the person wanted to go."""
    options: str = ""
    """What else was asked for (JSON)."""
    until_at: int = 0


class LoginList:
    """What has begun, and what was taken."""

    def __init__(self, unit: Unit) -> None:
        """The list within a unit of work."""
        self._unit = unit

    def begin(self, pending: Pending) -> None:
        """Remember a request.

        Raises:
            TooBusy: too many wait for an answer.
        """
        self._unit.run(_EXPIRED, now=self._unit.now)
        row = self._unit.run(_COUNT).fetchone()
        if row and row[0] >= MOST:
            raise TooBusy("too many logins have begun and not ended; try again in some minutes")
        self._unit.run(
            _ADD,
            id=pending.id,
            browser=pending.browser,
            issuer=pending.issuer,
            request=pending.request,
            onward=pending.onward,
            options=pending.options,
            until_at=pending.until_at,
        )

    def find(self, which: str) -> Pending | None:
        """The request, unless its time is over."""
        row = self._unit.run(_FIND, which=which).fetchone()
        return _pending_of(row) if row and row[6] >= self._unit.now else None

    def take(self, which: str) -> bool:
        """End a request, whatever comes of it; whether it was still there."""
        return self._unit.run(_DROP, which=which).rowcount > 0

    def once(self, issuer: str, name: str, until: int) -> bool:
        """Remember a message of an identity provider until it expires; whether it is the first of its name.

        Raises:
            TooBusy: more messages are in their time than can be remembered; this one was not taken.
        """
        self._unit.run(_FORGET, now=self._unit.now)
        if self._unit.run(_IS_TAKEN, whose=issuer, which=name).fetchone():
            return False
        row = self._unit.run(_COUNT_TAKEN).fetchone()
        if row and row[0] >= MOST_TAKEN:
            raise TooBusy("more messages came than can be remembered; try again in some minutes")
        self._unit.run(_TAKE, issuer=issuer, id=name, until_at=until)
        return True


def _pending_of(row: Sequence[object]) -> Pending:
    which, browser, issuer, request, onward, options, until_at = row
    return Pending(
        id=str(which),
        browser=str(browser),
        issuer=str(issuer),
        request=str(request),
        onward=str(onward),
        options=str(options),
        until_at=int(str(until_at)),
    )
