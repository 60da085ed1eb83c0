"""Sessions of the portal: begun by a login, known by a secret that only the browser holds, ended in time.

```
login ──▶ open ── used ──▶ open        a login with more (a second factor) begins a new one,
           │                           and ends every other one of that browser
           ├── idle for too long ───────────▶ over
           ├── the longest time has passed ─▶ over
           ├── the identity provider's own session ends (SAML Core §2.7.2, SessionNotOnOrAfter) ─▶ over
           └── the person, or the provider, says so (SAML Profiles §4.4) ─▶ over
```
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from node.audit.record import Deed, Event, deed_of
from node.catalog.catalog import Catalog
from node.catalog.sessions import SessionRow
from node.catalog.unit import Unit
from node.domain.principal import Principal
from node.identity.persons import read_principal, written

SECOND: Final = 1_000_000
TOUCH: Final = 30 * SECOND
"""How long a use of a session need not be written down, since the last was."""
MANY: Final = 20
"""Sessions that one person can have at the same time; one more ends the one that was used longest ago."""
LONGEST_TOKEN: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Vouched:
    """What a logout needs to know of how somebody logged in."""

    provider: str = ""
    """The entity ID of the identity provider; empty for other ways to log in."""
    name_id: str = ""
    """What it calls the person."""
    session_index: str = ""
    leaving: str = ""
    """What `node.identity.saml.login.Logins.leave` needs."""
    until: int = 0
    """When its own session ends; microseconds since 1970, 0 if it does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A person who is logged in."""

    id: str
    principal: Principal
    vouched: Vouched
    since_at: int
    until_at: int
    """When it ends in any case; microseconds since 1970."""


class Sessions:
    """Begins, finds and ends sessions, and writes down who came and went."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        idle: float,
        longest: float,
        random: Callable[[], str] = lambda: secrets.token_urlsafe(32),
    ) -> None:
        """The sessions of a site.

        Args:
            catalog: keeps them, and the audit record.
            idle: seconds without use after which one is over.
            longest: seconds after which one is over in any case.
            random: makes secrets.
        """
        self._catalog = catalog
        self._idle = int(idle * SECOND)
        self._longest = int(longest * SECOND)
        self._random = random

    def begin(
        self, principal: Principal, vouched: Vouched, *, browser: str = "", how: str = ""
    ) -> tuple[str, Session]:
        """Let a person in; what the same browser had before is over, so that no session is ever kept.

        Args:
            principal: who; what was granted is not kept, it is looked up for each call.
            vouched: what the logout needs.
            browser: the secret of the login cookie.
            how: the way of the login, for the audit record; empty where the login was recorded already.

        Returns:
            The secret for the cookie, and the session.
        """
        token = self._random()
        person = replace(principal, roles=frozenset(), names=frozenset(), emergencies=frozenset())

        def write(unit: Unit) -> Session:
            row = self._row(unit, token, person, vouched, browser)
            if row.browser:
                for before in unit.sessions.of_browser(row.browser):
                    unit.sessions.drop(before.id)
            _make_room(unit, row)
            unit.sessions.add(row)
            if how:
                proved = "with" if person.mfa else "without"
                unit.audit.append(deed_of(person, Event.LOGIN, what=f"{how}, {proved} a second factor"))
            return _session(row)

        return token, self._catalog.perform(write)

    def refused(self, *, who: str, issuer: str, address: str, how: str, reason: str) -> None:
        """Write down that a login did not succeed.

        Args:
            who: the name that was tried, if there was one.
            issuer: who was to vouch for it.
            address: of the browser.
            how: the way of the login.
            reason: why, for the record alone.
        """

        def write(unit: Unit) -> None:
            unit.audit.append(
                Deed(
                    event=Event.LOGIN,
                    who=f"person:{who or '?'}@{unit.origin}",
                    address=address,
                    what=how,
                    issuer=issuer,
                    reason=reason,
                    refused=True,
                )
            )

        self._catalog.perform(write)

    def find(self, token: str, *, address: str = "") -> Session | None:
        """The open session whose secret this is; finding it is a use of it.

        Args:
            token: what the cookie held.
            address: where the call comes from now.
        """
        if not token or len(token) > LONGEST_TOKEN:
            return None
        with self._catalog.reading() as unit:
            row = unit.sessions.find(digest_of(token))
            now = unit.now
        if row is None:
            return None
        if row.until_at <= now or row.seen_at + self._idle <= now:
            self._catalog.perform(lambda unit: self._end(unit, row, "its time was over"))
            return None
        if row.seen_at + min(TOUCH, self._idle // 4) <= now:
            self._catalog.perform(lambda unit: unit.sessions.seen(row.id))
        session = _session(row)
        return replace(session, principal=replace(session.principal, address=address))

    def end(self, session: Session) -> None:
        """The person leaves."""

        def write(unit: Unit) -> None:
            row = unit.sessions.find(session.id)
            if row is not None:
                self._end(unit, row, "by the person")

        self._catalog.perform(write)

    def end_named(self, issuer: str, name_id: str, session_indexes: Sequence[str] = ()) -> int:
        """Whoever vouched says that somebody left (SAML Profiles §4.4.4); how many sessions were ended.

        Args:
            issuer: the identity provider.
            name_id: what it calls the person.
            session_indexes: the sessions that are meant; all of the person, if empty (SAML Core §3.7.1).
        """

        def write(unit: Unit) -> int:
            rows = [
                row
                for row in unit.sessions.of_name_id(issuer, name_id)
                if not session_indexes or row.session_index in ("", *session_indexes)
            ]
            for row in rows:
                self._end(unit, row, "by the identity provider")
            return len(rows)

        return self._catalog.perform(write)

    def sweep(self) -> int:
        """End those whose time is over; how many there were."""

        def write(unit: Unit) -> int:
            rows = unit.sessions.over(unit.now, unit.now - self._idle)
            for row in rows:
                self._end(unit, row, "its time was over")
            return len(rows)

        return self._catalog.perform(write)

    def _row(self, unit: Unit, token: str, person: Principal, vouched: Vouched, browser: str) -> SessionRow:
        ends = unit.now + self._longest
        return SessionRow(
            id=digest_of(token),
            issuer=person.issuer,
            name=person.name,
            principal=written(person),
            name_id=vouched.name_id,
            session_index=vouched.session_index,
            browser=digest_of(browser) if browser else "",
            options=json.dumps([vouched.provider, vouched.leaving, vouched.until]),
            since_at=unit.now,
            seen_at=unit.now,
            until_at=min(ends, vouched.until) if vouched.until else ends,
        )

    def _end(self, unit: Unit, row: SessionRow, why: str) -> None:
        if unit.sessions.find(row.id) is None:
            return
        unit.sessions.drop(row.id)
        unit.audit.append(deed_of(read_principal(row.principal), Event.LOGOUT, what="portal", reason=why))


def digest_of(secret: str) -> str:
    """What is kept of a secret that a browser holds: SHA-256, hexadecimal."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def form_token(secret: str, purpose: str = "form") -> str:
    """What a form has to bring with it: only pages made for the browser that holds the secret know it."""
    return hmac.new(secret.encode("utf-8", "replace"), purpose.encode(), hashlib.sha256).hexdigest()


def _make_room(unit: Unit, row: SessionRow) -> None:
    """End the sessions of a person that were used longest ago, if there are too many."""
    open_now: Sequence[SessionRow] = unit.sessions.of_person(row.issuer, row.name)
    for before in sorted(open_now, key=lambda one: one.seen_at)[: max(0, len(open_now) - MANY + 1)]:
        unit.sessions.drop(before.id)


def _session(row: SessionRow) -> Session:
    provider, leaving, until = json.loads(row.options)
    return Session(
        id=row.id,
        principal=read_principal(row.principal),
        vouched=Vouched(
            provider=provider,
            name_id=row.name_id,
            session_index=row.session_index,
            leaving=leaving,
            until=until,
        ),
        since_at=row.since_at,
        until_at=row.until_at,
    )
