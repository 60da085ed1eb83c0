"""The gate before every door: asks the policy, and writes down who went through and who did not."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from node.audit.record import Deed, Event
from node.catalog.catalog import Catalog
from node.catalog.unit import Unit
from node.domain.errors import Forbidden, ReadOnly
from node.domain.principal import Action, Principal
from node.domain.role import SiteRole
from node.policy import decide

FRESH: Final = 1.0
"""Seconds for which a site that takes something is believed to do so still; the unit of work looks again."""


class Gate:
    """Decisions and their records, for deeds that change nothing else."""

    def __init__(self, catalog: Catalog, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """A gate that records in the ledger of this catalog; `monotonic` tells seconds."""
        self._catalog = catalog
        self._monotonic = monotonic
        self._takes_until = float("-inf")

    def demand(self, principal: Principal, action: Action) -> None:
        """Let the caller pass or stop it; a refusal is recorded.

        Raises:
            Forbidden: the policy says no.
        """
        try:
            decide.demand(principal, action)
        except Forbidden:
            self.record(principal, Event.REFUSED, what=action)
            raise

    def demand_writing(self, principal: Principal, action: Action) -> None:
        """The same for what writes: a backup takes nothing.

        That spares the sender a transfer in vain; what holds is `demand_taking` within the unit of work.

        Raises:
            Forbidden: the policy says no.
            ReadOnly: this site is a backup.
        """
        self.demand(principal, action)
        now = self._monotonic()
        if now >= self._takes_until:
            with self._catalog.reading() as unit:
                demand_taking(unit)
            self._takes_until = now + FRESH

    def record(
        self, principal: Principal, event: Event, *, what: str, studies: Sequence[str] = ("",)
    ) -> None:
        """Write a deed into the ledger, once for each study."""

        def write(unit: Unit) -> None:
            for study in studies:
                unit.audit.append(deed_of(principal, event, what=what, study=study))

        self._catalog.perform(write)


def demand_taking(unit: Unit) -> None:
    """See that this site takes what devices and persons write, now.

    Raises:
        ReadOnly: it is a backup.
    """
    here = unit.roles.here()
    if not here.role.takes:
        raise ReadOnly(unit.origin, _elsewhere(unit, here))


def _elsewhere(unit: Unit, here: SiteRole) -> str:
    """Which site takes stores in place of this one, as far as that is known."""
    passed = {here.site}
    while here.by is not None and here.by not in passed:
        here = unit.roles.of(here.by)
        passed.add(here.site)
        if here.role.takes:
            return f"send to {here.site}, which has taken its place"
    return "send to an archive; `konzilium role` shows which sites are"


def deed_of(principal: Principal, event: Event, *, what: str, study: str = "") -> Deed:
    """What a principal did, ready for the ledger."""
    return Deed(event=event, who=str(principal), address=principal.address, study=study, what=what)
