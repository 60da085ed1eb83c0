"""What a changed policy would alter here: for everybody with a role, and on studies of the archive."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from node.catalog.resources import of_study
from node.catalog.unit import Unit
from node.domain.decision import Resource
from node.domain.grant import ANYBODY, Grant
from node.domain.principal import Action, Kind, Principal
from node.identity.grants import is_current
from node.policy.rules import Policy
from node.policy.simulate import Difference, Holder, any_device, differences, on_studies

SAMPLE: Final = 200
"""Studies of the archive that are looked at: those that came last."""
ON_STUDIES: Final = (Action.QUERY, Action.RETRIEVE, Action.AMEND)
"""What is asked about them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What would become of the studies of the archive for some callers."""

    who: str
    many: int
    action: Action
    opened: int
    closed: int
    example: str
    """One of the studies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """What a changed policy would alter."""

    version: str
    grants: int
    """How many were looked at."""
    differences: Sequence[Difference]
    studies: int
    """How many were looked at."""
    effects: Sequence[Effect]

    @property
    def alters(self) -> bool:
        """Whether it would alter anything."""
        return bool(self.differences or self.effects)


def simulated(unit: Unit, new: Policy) -> Simulation:
    """What would be different if `new` decided in place of the policy that does."""
    now = unit.policies.current()
    grants = [one for one in unit.grants.all() if is_current(one, unit.now)]
    holders = [any_device(unit.origin), *_holders(unit, grants, now, new)]
    studies = [of_study(unit, uid) for uid in unit.policies.sample(SAMPLE)]
    return Simulation(
        version=new.version,
        grants=len(grants),
        differences=list(differences(now, new, holders)),
        studies=len(studies),
        effects=list(_effects(now, new, holders, [one for several in studies for one in several])),
    )


def _effects(
    now: Policy, new: Policy, holders: Sequence[Holder], studies: Sequence[Resource]
) -> Iterator[Effect]:
    """What would become of these studies."""
    for holder in holders:
        for action in ON_STUDIES:
            opened, closed = on_studies(now, new, holder, action, studies)
            if opened or closed:
                yield Effect(
                    who=holder.called,
                    many=holder.many,
                    action=action,
                    opened=len(opened),
                    closed=len(closed),
                    example=(closed or opened)[0],
                )


def _holders(unit: Unit, grants: Sequence[Grant], now: Policy, new: Policy) -> Iterator[Holder]:
    """Everybody who was granted something, put together where they are alike.

    A person is taken to have the attributes that his or her grants ask for.
    """
    alike: dict[tuple[frozenset[str], ...], list[tuple[str, Principal, Principal]]] = {}
    for issuer, name, said in sorted({_named(grant) for grant in grants}):
        before, after = (_held(unit, issuer, name, said, grants, policy) for policy in (now, new))
        if before.roles or after.roles:
            key = (before.roles, after.roles, before.names | after.names)
            alike.setdefault(key, []).append((name, before, after))
    for (roles, would, _), found in alike.items():
        yield Holder(
            called=_called(roles, would, [name for name, _, _ in found]),
            many=len(found),
            before=found[0][1],
            after=found[0][2],
        )


def _named(grant: Grant) -> tuple[str, str, tuple[str, str]]:
    """Who is meant by a grant; those to everybody are told apart by what they ask for."""
    return grant.issuer, grant.name, (grant.attribute or ("", "")) if grant.name == ANYBODY else ("", "")


def _held(
    unit: Unit, issuer: str, name: str, said: tuple[str, str], grants: Sequence[Grant], policy: Policy
) -> Principal:
    """The person as a policy would see him or her."""
    own = [one.attribute for one in grants if (one.issuer, one.name) == (issuer, name) and one.attribute]
    asked = [said] if name == ANYBODY else own
    attributes = tuple((key, tuple(v for k, v in asked if k == key)) for key in sorted({k for k, _ in asked}))
    holding = unit.grants.holding(issuer, name, attributes, policy)
    return Principal(
        kind=Kind.PERSON,
        name=name,
        site=unit.origin,
        issuer=issuer,
        attributes=attributes,
        roles=holding.roles,
        names=holding.names,
    )


def _called(roles: frozenset[str], would: frozenset[str], names: Sequence[str]) -> str:
    """Whom a line is about: the roles, and one of the persons."""
    before, after = (" and ".join(sorted(some)) or "no role" for some in (roles, would))
    words = before if roles == would else f"{before}, then {after},"
    return f"{words} ({'everybody' if names[0] == ANYBODY else names[0]})"
