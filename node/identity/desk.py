"""The desk where roles, policies and emergencies are decided, each with its record in one unit of work."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from node.audit.record import Event, deed_of
from node.catalog.catalog import Catalog
from node.catalog.unit import Unit
from node.domain.decision import Resource
from node.domain.errors import Forbidden
from node.domain.principal import Action, Kind, Principal
from node.identity.gate import known
from node.policy.decide import default, demand

T = TypeVar("T")


class Desk:
    """Changes that one person makes about others: each with the decision and the record in one unit."""

    def __init__(self, catalog: Catalog) -> None:
        """A desk before this catalog."""
        self._catalog = catalog

    def perform(
        self,
        principal: Principal,
        action: Action,
        change: Callable[[Unit, Principal], T],
        *,
        about: Callable[[Unit], Resource | None] = lambda unit: None,
    ) -> T:
        """Carry out a change if the caller may; a refusal is recorded.

        Args:
            principal: who asks.
            action: what the policy has to allow.
            change: gets the caller as known now; refuses, if it does, before it writes anything.
            about: what it is about, for the policy.

        Raises:
            Forbidden: the policy, or the change, says no.
        """

        def settle(unit: Unit, who: Principal) -> T:
            # Whoever holds the machine has to be able to replace a policy that is not understood any more.
            policy = default() if who.kind is Kind.OPERATOR else unit.policies.current()
            demand(who, action, about(unit), policy=policy)
            return change(unit, who)

        return self.settle(principal, action, settle)

    def settle(self, principal: Principal, action: Action, change: Callable[[Unit, Principal], T]) -> T:
        """Carry out a change that decides itself whether the caller may; a refusal is recorded.

        Args:
            principal: who asks.
            action: what for, as the record names it.
            change: gets the caller as known now; refuses, if it does, before it writes anything.

        Raises:
            Forbidden: the change says no.
        """

        def work(unit: Unit) -> T | Forbidden:
            who = known(unit, principal) if principal.kind is Kind.PERSON else principal
            try:
                return change(unit, who)
            except Forbidden as refusal:
                reason = str(refusal.args[-1])
                unit.audit.append(deed_of(who, Event.REFUSED, what=action, reason=reason))
                return refusal

        done = self._catalog.perform(work)
        if isinstance(done, Forbidden):
            raise done
        return done


def signature(principal: Principal) -> str:
    """How a caller is written where it stands for something: as the policy compares it."""
    if principal.kind is Kind.PERSON:
        return f"{principal.issuer} {principal.name}"
    return str(principal)
