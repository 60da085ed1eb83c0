"""The book of local accounts: made, locked, reset and removed by whoever may grant roles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from node.audit.record import Event, deed_of
from node.catalog.catalog import Catalog
from node.catalog.unit import Unit
from node.domain.account import LOCAL, SEALED_NAME, Account, AccountName, AccountState
from node.domain.errors import Forbidden, Rejected, UnknownAccount
from node.domain.grant import GrantState
from node.domain.ids import SiteId
from node.domain.principal import Action, Kind, Principal
from node.identity import passwords, totp
from node.identity.desk import Desk, signature
from node.identity.persons import of_account

LONGEST_DISPLAY = 200
"""Characters of the name of a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """What a person puts into an authenticator."""

    secret: str
    address: str
    """The same as `otpauth://totp/...`, for a code of bars."""


class AccountBook:
    """Keeps the local accounts of a site."""

    def __init__(self, catalog: Catalog, site: SiteId) -> None:
        """The accounts in this catalog."""
        self._catalog = catalog
        self._desk = Desk(catalog)
        self._site = site

    def all(self, principal: Principal) -> Sequence[Account]:
        """All accounts by name.

        Raises:
            Forbidden: the policy says no.
        """
        return self._desk.perform(principal, Action.GRANT, lambda unit, who: unit.accounts.all())

    def add(self, principal: Principal, name: AccountName, *, display: str = "") -> str:
        """Make an account, and the password that its holder changes at the first login.

        Raises:
            Forbidden: the policy says no.
            Rejected: there is one of that name, or the name is reserved or the person's is too long.
        """
        if name == SEALED_NAME:
            raise Rejected(f"`konzilium account seal` makes the account {name}; take another name")
        shown = " ".join(display.split())
        if len(shown) > LONGEST_DISPLAY or not (shown or "-").isprintable():
            raise Rejected(f"the name of a person is a line of up to {LONGEST_DISPLAY} characters")
        password = passwords.generated()
        hash_ = passwords.hashed(password)

        def change(unit: Unit, who: Principal) -> None:
            if unit.accounts.find(name):
                raise Rejected(
                    f"there is an account {name} already; `konzilium account reset` opens it again"
                )
            now = unit.now
            unit.accounts.add(Account(name=name, display=shown, hash=hash_, since_at=now, changed_at=now))
            self._record(unit, who, f"made account {name}")

        self._desk.perform(principal, Action.GRANT, change)
        return password

    def reset(self, principal: Principal, name: str, *, second_factor: bool = False) -> str:
        """Give an account a new password, to be changed at the next login, and open it if it was locked.

        Args:
            principal: who asks.
            name: of the account.
            second_factor: whether its second factor goes, too.

        Raises:
            Forbidden: the policy says no.
            UnknownAccount: there is none of that name.
            Rejected: it is the sealed one.
        """
        password = passwords.generated()
        hash_ = passwords.hashed(password)

        def change(unit: Unit, who: Principal, account: Account) -> None:
            if account.state is AccountState.SEALED:
                raise Rejected("the sealed account gets a new password with `konzilium account seal`")
            fresh = account.changed(hash_, unit.now, must_change=True)
            fresh = replace(fresh, state=AccountState.ACTIVE, totp="" if second_factor else fresh.totp)
            unit.accounts.save(fresh)
            end_sessions(unit, self._holder(account))
            self._record(unit, who, f"reset account {name}" + (" and its second factor" * second_factor))

        self._change(principal, name, change)
        return password

    def lock(self, principal: Principal, name: str) -> None:
        """Let nobody in by an account until it is reset, or sealed again; its sessions end.

        Raises:
            Forbidden: the policy says no.
            UnknownAccount: there is none of that name.
        """

        def change(unit: Unit, who: Principal, account: Account) -> None:
            if account.state is AccountState.LOCKED:
                return
            unit.accounts.save(replace(account, state=AccountState.LOCKED))
            end_sessions(unit, self._holder(account))
            self._record(unit, who, f"locked account {name}")

        self._change(principal, name, change)

    def remove(self, principal: Principal, name: str) -> None:
        """Take an account off the book, with the roles and sessions that its holder had.

        Raises:
            Forbidden: the policy says no.
            UnknownAccount: there is none of that name.
        """

        def change(unit: Unit, who: Principal, account: Account) -> None:
            unit.accounts.remove(account.name)
            holder = self._holder(account)
            for grant in unit.grants.all():
                if (grant.issuer, grant.name) == (LOCAL, holder.name) and grant.state is not GrantState.ENDED:
                    unit.grants.end(grant.id, signature(who))
                    self._record(unit, who, f"ended grant {grant.id}, {grant.role} to {grant.name}")
            end_sessions(unit, holder)
            self._record(unit, who, f"removed account {name}")

        self._change(principal, name, change)

    def seal(self, principal: Principal) -> str:
        """Make the one account for the day on which nobody else gets in, or seal it again after it was used.

        Returns:
            Its password, which nobody can read again: it goes into an envelope.

        Raises:
            Forbidden: the caller does not hold the machine.
        """
        password = passwords.generated()
        hash_ = passwords.hashed(password)

        def change(unit: Unit, who: Principal) -> None:
            if who.kind is not Kind.OPERATOR:
                raise Forbidden(who, Action.GRANT, "the account is sealed on the machine itself")
            before, now = unit.accounts.find(SEALED_NAME), unit.now
            if before:
                unit.accounts.remove(before.name)
            account = Account(
                name=AccountName(SEALED_NAME),
                display="Sealed account of the administrator",
                hash=hash_,
                state=AccountState.SEALED,
                must_change=False,
                since_at=before.since_at if before else now,
                changed_at=now,
            )
            unit.accounts.add(account)
            end_sessions(unit, self._holder(account))
            self._record(unit, who, f"sealed account {SEALED_NAME}")

        self._desk.perform(principal, Action.GRANT, change)
        return password

    def add_factor(self, principal: Principal, name: str) -> Factor:
        """Give an account a second factor, in place of one that it has; its password asks for a code then.

        Raises:
            Forbidden: the policy says no.
            UnknownAccount: there is none of that name.
        """
        secret = totp.new_secret()

        def change(unit: Unit, who: Principal, account: Account) -> None:
            unit.accounts.save(replace(account, totp=secret, totp_used=0))
            end_sessions(unit, self._holder(account))
            self._record(unit, who, f"gave account {name} a second factor")

        self._change(principal, name, change)
        return Factor(secret=secret, address=totp.address(secret, name, self._site))

    def drop_factor(self, principal: Principal, name: str) -> None:
        """Take the second factor of an account away.

        Raises:
            Forbidden: the policy says no.
            UnknownAccount: there is none of that name.
        """

        def change(unit: Unit, who: Principal, account: Account) -> None:
            unit.accounts.save(replace(account, totp="", totp_used=0))
            self._record(unit, who, f"took the second factor of account {name} away")

        self._change(principal, name, change)

    def holder(self, name: str) -> Principal:
        """The person behind an account, as grants name it."""
        return of_account(name, self._site)

    def _holder(self, account: Account) -> Principal:
        return self.holder(account.name)

    def _change(
        self, principal: Principal, name: str, change: Callable[[Unit, Principal, Account], None]
    ) -> None:
        """Change an account that there is."""

        def find(unit: Unit, who: Principal) -> None:
            account = unit.accounts.find(name)
            if account is None:
                raise UnknownAccount(name)
            change(unit, who, account)

        self._desk.perform(principal, Action.GRANT, find)

    def _record(self, unit: Unit, who: Principal, what: str) -> None:
        unit.audit.append(deed_of(who, Event.CONFIGURED, what=what))


def end_sessions(unit: Unit, holder: Principal) -> None:
    """End what the holder of an account has open: it was opened by what is not good any more."""
    for session in unit.sessions.of_person(holder.issuer, holder.name):
        unit.sessions.drop(session.id)
