"""The gate before every door: says what a caller may do here now, and writes down who was let through or not.

```
principal ──▶ the roles granted here ──▶ the policy in force ──▶ on which study? ──▶ yes │ no, and the reason
```

What a person may do is looked up for each call, so that a grant that was taken back opens nothing more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from node.audit.record import Event, deed_of
from node.catalog.catalog import Catalog
from node.catalog.resources import of_study
from node.catalog.unit import Unit
from node.domain.decision import Decision, Resource
from node.domain.errors import Forbidden, ReadOnly
from node.domain.ids import StudyUID
from node.domain.principal import Action, Kind, Principal
from node.domain.role import SiteRole
from node.policy import decide
from node.policy.rules import Policy

FRESH: Final = 1.0
"""Seconds for which the policy, and that a site takes something, is believed to hold still."""


class Sight:
    """What a caller may do to which studies, as one unit of work sees them."""

    def __init__(self, unit: Unit, principal: Principal, action: Action, policy: Policy) -> None:
        """What is in the sight of a caller.

        Args:
            unit: the unit of work.
            principal: who asks, with the roles that hold.
            action: what for.
            policy: the one in force.
        """
        self._unit = unit
        self._principal = principal
        self._action = action
        self._policy = policy
        self._known: dict[str, Decision] = {}

    def of(self, study: str) -> Decision:
        """The decision about a study; one that came for several patients is allowed if it is for each."""
        if study not in self._known:
            resources = of_study(self._unit, StudyUID.trusted(study))
            self._known[study] = self._decide(resources)
        return self._known[study]

    def allows(self, study: str) -> bool:
        """Whether it is allowed for a study."""
        return self.of(study).allowed

    def refused(self, studies: Iterable[str]) -> dict[str, Decision]:
        """Those of the studies for which it is not allowed, with the decision about each."""
        return {study: it for study in dict.fromkeys(studies) if not (it := self.of(study)).allowed}

    def _decide(self, resources: Sequence[Resource]) -> Decision:
        asked: Sequence[Resource | None] = resources or (None,)
        decisions = [decide.decide(self._principal, self._action, one, policy=self._policy) for one in asked]
        return next((one for one in decisions if not one.allowed), decisions[0])


class Gate:
    """Decisions and their records, for deeds that change nothing else."""

    def __init__(self, catalog: Catalog, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """A gate that records in the ledger of this catalog; `monotonic` tells seconds."""
        self._catalog = catalog
        self._monotonic = monotonic
        self._takes_until = float("-inf")
        self._policy: tuple[float, Policy] = float("-inf"), decide.default()

    def known(self, principal: Principal) -> Principal:
        """The caller with the roles that were granted here and hold now, for a person."""
        if principal.kind is not Kind.PERSON:
            return principal
        with self._catalog.reading() as unit:
            return known(unit, principal)

    def demand(self, principal: Principal, action: Action, resource: Resource | None = None) -> Principal:
        """Let the caller pass or stop it; a refusal is recorded.

        Args:
            principal: who asks.
            action: what for.
            resource: on which study; None asks whether there may be one.

        Returns:
            The caller with the roles that held, for the records of what follows.

        Raises:
            Forbidden: the policy says no.
        """
        caller = self.known(principal)
        decision = decide.decide(caller, action, resource, policy=self.policy())
        if not decision.allowed:
            raise self.refuse(caller, action, {resource.study if resource else "": decision})
        return caller

    def demand_writing(self, principal: Principal, action: Action) -> Principal:
        """The same for what writes: a backup takes nothing.

        That spares the sender a transfer in vain; what holds is `demand_taking` within the unit of work.

        Raises:
            Forbidden: the policy says no.
            ReadOnly: this site is a backup.
        """
        caller = self.demand(principal, action)
        now = self._monotonic()
        if now >= self._takes_until:
            with self._catalog.reading() as unit:
                demand_taking(unit)
            self._takes_until = now + FRESH
        return caller

    def sight(self, unit: Unit, caller: Principal, action: Action) -> Sight | None:
        """What the caller may do to which studies; None where that is the same for all that are shown."""
        policy = unit.policies.current() if caller.kind is Kind.PERSON else self.policy()
        if decide.is_for_all(caller, action, policy=policy):
            return None
        return Sight(unit, caller, action, policy)

    def demand_studies(
        self, caller: Principal, action: Action, studies: Callable[[Unit], Iterable[str]]
    ) -> None:
        """Let a caller pass whom `demand` has let pass, or stop it for one of the studies it is about.

        Args:
            caller: as `demand` returned it.
            action: what for.
            studies: finds the studies; it is not asked where the answer cannot depend on them.

        Raises:
            Forbidden: the policy says no about one of them; that is recorded.
        """
        refused = self._refused(caller, action, studies)
        if refused:
            raise self.refuse(caller, action, refused)

    def leave_out(self, caller: Principal, action: Action, studies: Collection[str]) -> Collection[str]:
        """Those of the studies that a caller whom `demand` has let pass may not have; that is recorded.

        Raises:
            Forbidden: they are all that there are.
        """
        refused = self._refused(caller, action, lambda _: studies)
        if refused:
            error = self.refuse(caller, action, refused)
            if refused.keys() >= set(studies):
                raise error
        return refused.keys()

    def _refused(
        self, caller: Principal, action: Action, studies: Callable[[Unit], Iterable[str]]
    ) -> Mapping[str, Decision]:
        """The decisions about those studies for which it is not allowed."""
        if caller.kind is not Kind.PERSON and decide.is_for_all(caller, action, policy=self.policy()):
            return {}
        with self._catalog.reading() as unit:
            sight = self.sight(unit, caller, action)
            return sight.refused(studies(unit)) if sight else {}

    def why(self, caller: Principal, action: Action, study: str = "") -> Decision:
        """The decision as it is now, of which nothing is recorded.

        Args:
            caller: with the roles that hold.
            action: what for.
            study: on which study; without one, whether there may be one.
        """
        policy = self.policy()
        with self._catalog.reading() as unit:
            return Sight(unit, caller, action, policy).of(study)

    def policy(self) -> Policy:
        """The policy in force, as it was a moment ago."""
        until, policy = self._policy
        now = self._monotonic()
        if now >= until:
            with self._catalog.reading() as unit:
                policy = unit.policies.current()
            self._policy = now + FRESH, policy
        return policy

    def refuse(self, caller: Principal, action: Action, decisions: Mapping[str, Decision]) -> Forbidden:
        """Record that an action was refused, for each study; the error that tells the caller."""

        def write(unit: Unit) -> None:
            for study, decision in decisions.items():
                unit.audit.append(
                    deed_of(
                        caller,
                        Event.REFUSED,
                        what=action,
                        study=study,
                        reason=decision.reason,
                        policy=decision.version if caller.kind is Kind.PERSON else "",
                    )
                )

        self._catalog.perform(write)
        error = decide.refusal(caller, action, next(iter(decisions.values())))
        error.is_recorded = True
        return error

    def record(
        self,
        principal: Principal,
        event: Event,
        *,
        what: str,
        studies: Sequence[str] = ("",),
        reason: str = "",
    ) -> None:
        """Write a deed into the ledger, once for each study."""

        def write(unit: Unit) -> None:
            for study in studies:
                unit.audit.append(deed_of(principal, event, what=what, study=study, reason=reason))

        self._catalog.perform(write)


def known(unit: Unit, principal: Principal) -> Principal:
    """A caller with what was granted here and holds now: roles, names in referrals, open emergencies.

    Raises:
        BadPolicy: the policy that was activated is not understood.
    """
    if principal.kind is not Kind.PERSON:
        return principal
    policy = unit.policies.current()
    if unit.accounts.is_locked(principal):
        return replace(principal, roles=frozenset(), names=frozenset(), policy=policy.version)
    holding = unit.grants.holding(principal.issuer, principal.name, principal.attributes, policy)
    return replace(
        principal,
        roles=holding.roles,
        names=holding.names,
        emergencies=unit.emergencies.open_for(principal.issuer, principal.name),
        policy=policy.version,
    )


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
