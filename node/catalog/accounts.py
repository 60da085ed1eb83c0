"""Local accounts as rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, insert, select, update

from node.catalog import schema
from node.catalog.statement import Statement
from node.domain.account import LOCAL, Account, AccountName, AccountState
from node.domain.principal import Principal

if TYPE_CHECKING:
    from node.catalog.unit import Unit

_account = schema.account.c
_LIST = Statement(select(schema.account).order_by(_account.name))
_FIND = Statement(select(schema.account).where(_account.name == bindparam("which")))
_SEALED = Statement(
    select(schema.account).where(_account.state == bindparam("state")).order_by(_account.name)
)
_ADD = Statement(insert(schema.account))
_CHANGE = Statement(
    update(schema.account)
    .where(_account.name == bindparam("which"))
    .values({column.name: bindparam(column.name) for column in _account if column.name != "name"})
)
_REMOVE = Statement(delete(schema.account).where(_account.name == bindparam("which")))


class AccountList:
    """Accounts by name."""

    def __init__(self, unit: Unit) -> None:
        """The accounts within a unit of work."""
        self._unit = unit

    def all(self) -> Sequence[Account]:
        """All accounts by name."""
        return [_account_of(row) for row in self._unit.run(_LIST).fetchall()]

    def sealed(self) -> Sequence[Account]:
        """The sealed one, if there is one."""
        return [_account_of(row) for row in self._unit.run(_SEALED, state=AccountState.SEALED).fetchall()]

    def find(self, name: str) -> Account | None:
        """The account of that name."""
        row = self._unit.run(_FIND, which=name).fetchone()
        return _account_of(row) if row else None

    def is_locked(self, person: Principal) -> bool:
        """Whether somebody came in by an account that was locked meanwhile."""
        if person.issuer != LOCAL or person.via is not None:
            return False
        name, _, site = person.name.rpartition("@")
        account = self.find(name) if site == self._unit.origin else None
        return account is not None and account.state is AccountState.LOCKED

    def add(self, account: Account) -> None:
        """Add an account that is not there."""
        self._unit.run(_ADD, **_row(account))

    def save(self, account: Account) -> None:
        """Keep what has changed of an account."""
        row = _row(account)
        self._unit.run(_CHANGE, which=row.pop("name"), **row)

    def remove(self, name: str) -> None:
        """Forget an account."""
        self._unit.run(_REMOVE, which=name)


def _row(account: Account) -> dict[str, Any]:
    return {**asdict(account), "must_change": int(account.must_change)}


def _account_of(row: Sequence[Any]) -> Account:
    name, display, hash_, state, must_change, totp, totp_used, failures, wait_until, since, changed, used = (
        row
    )
    return Account(
        name=AccountName.trusted(name),
        display=display,
        hash=hash_,
        state=AccountState(state),
        must_change=bool(must_change),
        totp=totp,
        totp_used=totp_used,
        failures=failures,
        wait_until=wait_until,
        since_at=since,
        changed_at=changed,
        used_at=used,
    )
