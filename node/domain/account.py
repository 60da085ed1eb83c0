"""A local account: for a person whom no institution vouches for.

```
        add                          lock
(none) ─────▶ active ◀──────────────────────────▶ locked
        seal  ────────────────▶ sealed             reset
```

Wrong passwords in a row make an account wait, longer each time; the right one, or `reset`, ends that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Self

from node.domain.ids import Identifier

LOCAL: Final = "local"
"""Who vouches for the holders of local accounts."""
SEALED_NAME: Final = "administrator"
"""What the one sealed account is called."""
FREE_FAILURES: Final = 4
"""Wrong passwords in a row that cost nothing."""
FIRST_WAIT: Final = 10_000_000
"""Microseconds to wait after one more; each further one doubles them."""
LONGEST_WAIT: Final = 900_000_000


class AccountName(Identifier):
    """What a local account is called: lower case, as in a mail address."""

    form = re.compile(r"[a-z][a-z0-9._-]{0,62}[a-z0-9]")
    what = "name of an account (2 to 64 of a-z, 0-9, '.', '_' and '-', starting with a letter)"
    __slots__ = ()


class AccountState(StrEnum):
    """What an account is good for."""

    ACTIVE = "active"
    LOCKED = "locked"
    SEALED = "sealed"
    """For the day on which nobody else gets in; every use of it raises an alert."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A local account."""

    name: AccountName
    display: str = ""
    hash: str
    """Argon2id, as its reference implementation writes it."""
    state: AccountState = AccountState.ACTIVE
    must_change: bool = True
    """Whether the password is one that somebody else has seen."""
    totp: str = ""
    """The secret of the second factor (base 32); empty where there is none."""
    totp_used: int = 0
    """The last step of time whose code was used: none is good twice (RFC 6238 5.2)."""
    failures: int = 0
    """Attempts since the last one that succeeded, with the one that is being made."""
    wait_until: int = 0
    since_at: int
    changed_at: int = 0
    used_at: int = 0
    """When somebody logged in last; microseconds since 1970, as the others."""

    @property
    def is_opened(self) -> bool:
        """Whether the seal was broken."""
        return self.state is AccountState.SEALED and self.used_at > 0

    def attempted(self, now: int) -> Self:
        """With one more attempt, counted before it is judged."""
        failures = self.failures + 1
        return replace(self, failures=failures, wait_until=now + wait_after(failures))

    def entered(self, now: int, step: int) -> Self:
        """After an attempt that was right, with the code of that step, if any."""
        used = max(step, self.totp_used)
        return replace(self, failures=0, wait_until=0, used_at=now, totp_used=used)

    def changed(self, hash_: str, now: int, *, must_change: bool) -> Self:
        """With another password, and nothing held against it."""
        return replace(self, hash=hash_, must_change=must_change, changed_at=now, failures=0, wait_until=0)


def wait_after(failures: int) -> int:
    """Microseconds to wait after so many failures in a row."""
    if failures <= FREE_FAILURES:
        return 0
    return min(LONGEST_WAIT, FIRST_WAIT << min(failures - FREE_FAILURES - 1, 16))
