"""The gate before every door: asks the policy, and writes down who went through and who did not."""

from __future__ import annotations

from collections.abc import Sequence

from node.audit.record import Deed, Event
from node.catalog.catalog import Catalog
from node.catalog.unit import Unit
from node.domain.errors import Forbidden
from node.domain.principal import Action, Principal
from node.policy import decide


class Gate:
    """Decisions and their records, for deeds that change nothing else."""

    def __init__(self, catalog: Catalog) -> None:
        """A gate that records in the ledger of this catalog."""
        self._catalog = catalog

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

    def record(
        self, principal: Principal, event: Event, *, what: str, studies: Sequence[str] = ("",)
    ) -> None:
        """Write a deed into the ledger, once for each study."""

        def write(unit: Unit) -> None:
            for study in studies:
                unit.audit.append(deed_of(principal, event, what=what, study=study))

        self._catalog.perform(write)


def deed_of(principal: Principal, event: Event, *, what: str, study: str = "") -> Deed:
    """What a principal did, ready for the ledger."""
    return Deed(event=event, who=str(principal), address=principal.address, study=study, what=what)
