"""Local accounts at the door: a name, a password and, where there is one, a second factor.

```
address waits? ─▶ account waits? ─▶ attempt is counted ─▶ password ─▶ code ─▶ nothing is held against it
     │                  │                                     │          │
     └──────────────────┴────────────── refused, in the same words ──────┘
```

Whether it succeeded is recorded by whoever asked: the session that it begins, or the association. What is
changed about an account is recorded here, and in `node.identity.account_book`.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from node.audit.record import Event, deed_of
from node.catalog.catalog import Catalog
from node.catalog.unit import Unit
from node.domain.account import SEALED_NAME, Account, AccountName, AccountState
from node.domain.errors import (
    LoginRefused,
    MalformedIdentifier,
    PasswordChange,
    PasswordRefused,
    SecondFactorNeeded,
)
from node.domain.ids import SiteId
from node.domain.principal import Principal
from node.identity import passwords, totp
from node.identity.account_book import end_sessions
from node.identity.backoff import BackOff
from node.identity.persons import of_account

PROVED: Final = 600.0
"""Seconds for which a device need not prove the same again: it opens many associations for one person."""
MANY_PROVED: Final = 1000
_WRONG: Final = (
    "the name or the password is wrong, or there were too many attempts; wait a while and try again"
)
_ABROAD: Final = "local accounts are not used at this site; log in with the account of your institution"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """What somebody shows to log in."""

    name: str
    password: str
    code: str
    address: str
    new: str = ""


class Accounts:
    """Lets the holders of local accounts in."""

    def __init__(
        self,
        catalog: Catalog,
        site: SiteId,
        *,
        local: bool,
        mfa: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """The accounts of a site.

        Args:
            catalog: keeps them.
            site: this site.
            local: whether any account may log in, not the sealed one only.
            mfa: whether every login has to prove a second factor.
            monotonic: tells seconds.
        """
        self._catalog = catalog
        self._site = site
        self._local = local
        self._mfa = mfa
        self._monotonic = monotonic
        self._addresses = BackOff(free=30, first=2.0, longest=300.0, forgiven=30.0, monotonic=monotonic)
        self._strangers = BackOff(free=4, first=10.0, longest=900.0, forgiven=3600.0, monotonic=monotonic)
        self._key = secrets.token_bytes(32)
        self._proved: dict[bytes, float] = {}

    def enter(self, name: str, password: str, code: str = "", *, new: str = "", address: str) -> Principal:
        """Let somebody in who shows an account's name and password, and its code if it has a second factor.

        Args:
            name: of the account.
            password: as it was typed.
            code: of the authenticator; empty where none was asked for yet.
            new: another password to put in its place; empty where none is wanted.
            address: where the call comes from.

        Raises:
            LoginRefused: it is not right, or has to wait; the error does not say which.
            SecondFactorNeeded: the password is right, and a code has to come with it.
            PasswordChange: it is right, and a new one has to come with it.
            PasswordRefused: the new one is not good enough; the error says what to do.
            TooBusy: too many others log in.
        """
        shown = _Shown(name=name, password=password, code=code, address=address, new=new)
        account = self._prove(shown)
        principal = self._person(account, address)
        if not new:
            return principal
        fresh = passwords.hashed(new)

        def put(unit: Unit) -> None:
            now = _same(unit, account)
            unit.accounts.save(now.changed(fresh, unit.now, must_change=False))
            end_sessions(unit, principal)
            what = "changed the password of the own account"
            unit.audit.append(deed_of(principal, Event.CONFIGURED, what=what))

        self._catalog.perform(put)
        return principal

    def named(self, name: str) -> str:
        """The person behind a name that was typed, for records; empty if there is no such account.

        What people type as a name may be their password.
        """
        with self._catalog.reading() as unit:
            account = unit.accounts.find(name.strip().lower())
        return of_account(account.name, self._site).name if account else ""

    def at_device(self, name: str, passcode: str, *, device: str, address: str) -> Principal:
        """Let somebody in who shows a name and a passcode by a device (PS3.7 D.3.3.7, type 2).

        A second factor is written behind the password, with a blank between. What a device has proved holds
        for a while, as it opens associations all the time; a new password or a lock ends that at once.

        Raises:
            LoginRefused, SecondFactorNeeded, PasswordChange, TooBusy: as for `enter`.
        """
        known = self._find(name)
        if known and known.state is AccountState.SEALED:
            raise LoginRefused("the sealed account is not for devices")
        if known and self._proved.get(self._mark(known, passcode, device, address), 0) > self._monotonic():
            return self._person(known, address)
        password, code = passcode, ""
        if known and known.totp and " " in passcode:
            password, _, code = passcode.rpartition(" ")
        account = self._prove(_Shown(name=name, password=password, code=code, address=address))
        self._remember(self._mark(account, passcode, device, address))
        return self._person(account, address)

    def _person(self, account: Account, address: str) -> Principal:
        mfa = bool(account.totp)
        person = of_account(account.name, self._site, display=account.display, mfa=mfa)
        return replace(person, address=address)

    def _prove(self, shown: _Shown) -> Account:
        """The account whose password this is, with its code."""
        if self._addresses.wait(shown.address) > 0:
            raise LoginRefused(_WRONG)
        account = self._attempt(shown)
        if not passwords.matches(account.hash, shown.password):
            self._addresses.failed(shown.address)
            raise LoginRefused(_WRONG)
        self._demand_whole(account, shown)
        try:
            return self._catalog.perform(lambda unit: _enter(unit, account, shown.code))
        except LoginRefused:
            self._addresses.failed(shown.address)
            raise

    def _demand_whole(self, account: Account, shown: _Shown) -> None:
        """See that all that is needed has come with the right password."""
        sealed = account.state is AccountState.SEALED
        if account.must_change and not shown.new:
            raise PasswordChange(account.name)
        if account.totp and not shown.code:
            raise SecondFactorNeeded("type the code that your authenticator shows")
        if self._mfa and not account.totp and not sealed:
            raise SecondFactorNeeded(
                "this account has none; an administrator sets one up with `konzilium account totp`"
            )
        if shown.new and sealed:
            raise PasswordRefused("the sealed account gets another one with `konzilium account seal` only")
        if shown.new and hmac.compare_digest(shown.new.encode(), shown.password.encode()):
            raise PasswordRefused("it has to be another one than before")
        if shown.new:
            passwords.demand_good(shown.new, about=(account.name, account.display, self._site, "konzilium"))

    def _attempt(self, shown: _Shown) -> Account:
        """Count an attempt on an account before it is judged, so that many at once are many, too."""
        known = self._find(shown.name)
        if known is None:
            self._refuse_stranger(shown)
        account = self._catalog.perform(lambda unit: _count(unit, known.name)) if known else None
        if account is None:
            self._addresses.failed(shown.address)
            raise LoginRefused(_WRONG)
        return account

    def _refuse_stranger(self, shown: _Shown) -> None:
        """Treat a name that is not known like one that is, in time and words."""
        name = shown.name.strip().lower()[:64]
        if self._strangers.wait(name) <= 0:
            self._strangers.failed(name)
            passwords.waste(shown.password)

    def _find(self, name: str) -> Account | None:
        """The account of that name, if it may log in.

        Raises:
            LoginRefused: no local account may.
        """
        try:
            known = AccountName(name.strip().lower())
        except MalformedIdentifier:
            known = AccountName.trusted("")
        if not self._local and known != SEALED_NAME:
            raise LoginRefused(_ABROAD)
        with self._catalog.reading() as unit:
            account = unit.accounts.find(known)
        if account is None or account.state is AccountState.LOCKED:
            return None
        return account if self._local or account.state is AccountState.SEALED else None

    def _mark(self, account: Account, passcode: str, device: str, address: str) -> bytes:
        """What stands for a passcode that a device has proved, until the account changes."""
        said = "\0".join((account.name, account.hash, account.totp, device, address, passcode))
        return hmac.digest(self._key, said.encode(), "sha256")

    def _remember(self, mark: bytes) -> None:
        now = self._monotonic()
        if len(self._proved) >= MANY_PROVED:
            self._proved = {one: until for one, until in list(self._proved.items()) if until > now}
        if len(self._proved) < MANY_PROVED:
            self._proved[mark] = now + PROVED


def _count(unit: Unit, name: str) -> Account | None:
    """The account with one more attempt; None if it has to wait."""
    account = unit.accounts.find(name)
    if account is None or account.state is AccountState.LOCKED or account.wait_until > unit.now:
        return None
    counted = account.attempted(unit.now)
    unit.accounts.save(counted)
    return counted


def _enter(unit: Unit, account: Account, code: str) -> Account:
    """Check the code and forgive the attempts.

    Raises:
        LoginRefused: the code is not right, or was used, or the account has changed meanwhile.
    """
    now = _same(unit, account)
    step = 0
    if now.totp:
        found = totp.step_of(now.totp, code, unit.now, used=now.totp_used)
        if found is None:
            raise LoginRefused("the code is wrong or was used before; wait for the next one")
        step = found
    entered = now.entered(unit.now, step)
    unit.accounts.save(entered)
    return entered


def _same(unit: Unit, account: Account) -> Account:
    """The account as it is now, if it is still what was proved."""
    now = unit.accounts.find(account.name)
    if now is None or (now.hash, now.state, now.totp) != (account.hash, account.state, account.totp):
        raise LoginRefused(_WRONG)
    return now
