"""Changing the key of the login without locking anybody out.

```
begin ── the next key is in the metadata ── finish ── the next key is in use ── retire ── the old one is gone
              │ every identity provider reads them
              ▼ (hours in a federation, else by hand)
```

Identity providers read metadata when they please, and nobody tells this site that they have: so a person says
each step, and a step that comes too early has to be insisted on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from node.audit.record import Event, deed_of
from node.catalog.catalog import Catalog
from node.domain.alert import DAY
from node.domain.clock import Clock
from node.domain.errors import Rejected
from node.domain.principal import Action, Principal
from node.identity.gate import Gate
from node.identity.saml import keys
from node.identity.saml.keys import NEXT, PREVIOUS, SpKeys

READ_BY_THEN: Final = 2 * DAY
"""After which federations have published new metadata, and identity providers have fetched them."""


class Step(StrEnum):
    """How far a change is."""

    RESTING = "resting"
    """One key, and no change under way."""
    ANNOUNCED = "announced"
    """The next key is in the metadata."""
    SWITCHED = "switched"
    """The next key is in use; the old one is still in the metadata."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How it stands with the keys of the login."""

    step: Step
    fingerprint: str
    """Of the certificate in use."""
    other: str = ""
    """Of the next or the previous one."""
    ends_at: int
    """When the certificate in use ends."""


class Rollover:
    """Changes the key of the login."""

    def __init__(self, catalog: Catalog, folder: Path, clock: Clock) -> None:
        """The change of a site's key.

        Args:
            catalog: for the audit record.
            folder: with the keys.
            clock: says the time.
        """
        self._catalog = catalog
        self._folder = folder
        self._clock = clock

    def standing(self) -> Standing:
        """How it stands.

        Raises:
            UnusableKey: a key cannot be read.
        """
        step = Step.RESTING
        if (self._folder / NEXT).exists():
            step = Step.ANNOUNCED
        elif (self._folder / PREVIOUS).exists():
            step = Step.SWITCHED
        using, *others = (key.certificate for key in SpKeys(self._folder).all())
        return Standing(
            step=step,
            fingerprint=using.fingerprint,
            other=others[0].fingerprint if others else "",
            ends_at=using.not_after,
        )

    def begin(self, principal: Principal) -> Standing:
        """Make the next key, which the metadata list from now on; once it is there, nothing is done.

        Raises:
            Rejected: the old key of the last change was not retired.
            UnusableKey: a key cannot be read.
        """
        if self.standing().step is Step.SWITCHED:
            raise Rejected("the old key of the last change is still listed; retire it first (--retire)")
        return self._do(
            principal,
            lambda: keys.prepare(self._folder, now=self._clock()),
            "next key of the login announced",
        )

    def finish(self, principal: Principal, *, insist: bool = False) -> Standing:
        """Put the next key to use.

        Raises:
            Rejected: there is none, or it is so new that identity providers may not know it yet.
            UnusableKey: a key cannot be read.
        """
        if self.standing().step is not Step.ANNOUNCED:
            raise Rejected("there is no next key; make one first, without --finish")
        made = (self._folder / NEXT).stat().st_mtime_ns // 1000
        if self._clock() - made < READ_BY_THEN and not insist:
            raise Rejected(
                "the next key was announced less than two days ago, and an identity provider that has not "
                "read that yet would refuse every login; wait, or say --insist if all of them have"
            )
        return self._do(principal, lambda: keys.promote(self._folder), "next key of the login put to use")

    def retire(self, principal: Principal) -> Standing:
        """List the old key no longer, and forget it.

        Raises:
            Rejected: there is none.
            UnusableKey: a key cannot be read.
        """
        if self.standing().step is not Step.SWITCHED:
            raise Rejected("there is no old key that could be retired")
        return self._do(principal, lambda: keys.retire(self._folder), "old key of the login retired")

    def _do(self, principal: Principal, step: Callable[[], object], what: str) -> Standing:
        Gate(self._catalog).demand(principal, Action.ADMINISTER)
        step()
        now = self.standing()
        self._catalog.perform(
            lambda unit: unit.audit.append(
                deed_of(principal, Event.CONFIGURED, what=f"{what}: {now.other or now.fingerprint}")
            )
        )
        return now
