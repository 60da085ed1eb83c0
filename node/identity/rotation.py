"""The change of this site's key, with an overlap: nobody is cut off, whenever they hear of it.

```
settled ── begin ──▶ announced ── every member has read it ──▶ switched ── some minutes ──▶ settled
                     the next certificate is           the old certificate is
                     listed beside the one in use      listed beside the new one
```
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from node.catalog.catalog import Catalog
from node.catalog.unit import Unit
from node.domain.errors import Rejected
from node.domain.ids import SiteId
from node.domain.principal import Action, Principal
from node.identity import keys
from node.identity.gate import Gate
from node.identity.home import Home
from node.identity.statements import record
from node.journal.entry import Entry

OVERLAP: Final = 600 * 1_000_000
"""Microseconds for which the old certificate stays listed after the switch, so that every process sees it."""


class Step(StrEnum):
    """How far a change of keys is."""

    SETTLED = "settled"
    ANNOUNCED = "announced"
    SWITCHED = "switched"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A change of keys as `konzilium peers` shows it."""

    step: Step
    fingerprint: str
    """Of the certificate in use."""
    days_left: int
    """Until that certificate expires."""
    other: str = ""
    """The fingerprint of the next certificate, or of the previous one."""
    announced_at: int = 0
    """When the others were told of this site last; microseconds since 1970, 0 for never."""
    unaware: tuple[SiteId, ...] = ()
    """Active members that have not read the latest announcement."""


class Rotation:
    """Changes the key of this site."""

    def __init__(self, catalog: Catalog, home: Home) -> None:
        """The keys of one site.

        Args:
            catalog: of this site.
            home: this site.
        """
        self._catalog = catalog
        self._home = home

    def begin(self, principal: Principal) -> Progress:
        """Make the next key and tell the others of it; again, if that is done, it changes nothing.

        Raises:
            Forbidden: the principal may not decide about the federation.
            Rejected: the change before this one is not over.
            UnusableKey: a key cannot be used.
        """
        Gate(self._catalog).demand(principal, Action.FEDERATE)
        step = self._step()
        if step is Step.SWITCHED:
            raise Rejected("the change of keys before this one is not over yet; try again in some minutes")

        def prepare(unit: Unit) -> Progress:
            made = keys.prepare(self._home.key_folder, now=unit.now)
            self._home.announce(unit)
            if step is Step.SETTLED:
                record(unit, principal, f"next key {made.fingerprint} announced")
            return self._progress(unit)

        return self._catalog.perform(prepare)

    def finish(self, principal: Principal, *, insist: bool = False) -> Progress:
        """Put the next key to use.

        Args:
            principal: who wants it.
            insist: even if members have not heard of it: they will have to be invited again.

        Raises:
            Forbidden: the principal may not decide about the federation.
            Rejected: no next key was announced, or members have not heard of it.
            UnusableKey: a key cannot be used.
        """
        Gate(self._catalog).demand(principal, Action.FEDERATE)
        now = self.progress()
        if now.step is Step.SWITCHED:
            return now
        if now.step is Step.SETTLED:
            raise Rejected("no next key was announced; begin with `konzilium rotate`")
        if now.unaware and not insist:
            raise Rejected(f"the next key is not known yet to {', '.join(now.unaware)}")
        return self._switch(principal)

    def progress(self) -> Progress:
        """How far it is."""
        with self._catalog.reading() as unit:
            return self._progress(unit)

    def tend(self, principal: Principal) -> Progress:
        """Take the next step if it is time for it: switch when all have heard, retire the old key later.

        Raises:
            UnusableKey: a key cannot be used.
        """
        now = self.progress()
        if now.step is Step.ANNOUNCED and not now.unaware:
            return self._switch(principal)
        if now.step is Step.SWITCHED:
            return self._retire(principal)
        return now

    def _switch(self, principal: Principal) -> Progress:
        def switch(unit: Unit) -> Progress:
            if self._step() is Step.ANNOUNCED:
                made = keys.promote(self._home.key_folder)
                record(unit, principal, f"key {made.fingerprint} in use")
            self._home.announce(unit)
            return self._progress(unit)

        return self._catalog.perform(switch)

    def _retire(self, principal: Principal) -> Progress:
        def retire(unit: Unit) -> Progress:
            self._home.announce(unit)
            told = self._home.announcement(unit)
            if told is not None and unit.now - told.at >= OVERLAP:
                keys.retire(self._home.key_folder)
                record(unit, principal, "the previous key is not good any more")
                self._home.announce(unit)
            return self._progress(unit)

        return self._catalog.perform(retire)

    def _step(self) -> Step:
        listed = self._home.certificates()
        if len(listed) == 1:
            return Step.SETTLED
        prepared = (self._home.key_folder / keys.NEXT_CERTIFICATE).exists()
        return Step.ANNOUNCED if prepared else Step.SWITCHED

    def _progress(self, unit: Unit) -> Progress:
        listed, told = self._home.certificates(), self._home.announcement(unit)
        return Progress(
            step=self._step(),
            fingerprint=listed[0].fingerprint,
            days_left=listed[0].days_left(unit.now),
            other=listed[1].fingerprint if len(listed) > 1 else "",
            announced_at=told.at if told else 0,
            unaware=tuple(self._unaware(unit, told)) if told else (),
        )

    def _unaware(self, unit: Unit, told: Entry) -> Sequence[SiteId]:
        """Active members that have not read this site's journal up to its latest announcement."""
        epoch = str(told.epoch)
        return [
            member.site
            for member in unit.members.active()
            if unit.members.heads(member.site).get("reached", {}).get(epoch, 0) < told.seq
        ]
