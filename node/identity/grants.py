"""Grants of roles: given by persons who may, never to oneself; some of them only hold when two agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from node.audit.record import Event, deed_of
from node.catalog.catalog import Catalog
from node.catalog.unit import Unit
from node.domain.errors import Forbidden, Rejected, UnknownGrant, UnknownRole
from node.domain.grant import ANYBODY, Grant, GrantState
from node.domain.principal import Action, Principal
from node.identity.desk import Desk, signature
from node.identity.persons import LONGEST_ISSUER, LONGEST_NAME
from node.policy.rules import MODALITY, folded

LONGEST: Final = 500
"""Characters of a reason, or of a value that an attribute has to have."""


class Grants:
    """Which person has which role at this site."""

    def __init__(self, catalog: Catalog) -> None:
        """The grants in this catalog."""
        self._desk = Desk(catalog)
        self._catalog = catalog

    def give(self, principal: Principal, grant: Grant) -> Grant:
        """Give a role, or ask for it where the policy wants two persons; one that is there is left as it is.

        Args:
            principal: who gives it.
            grant: the role, to whom, on what condition and until when.

        Returns:
            The grant as it stands: `waiting` until somebody else approves it, where that is needed.

        Raises:
            Forbidden: the policy says no, or it would be for the caller.
            UnknownRole: the policy knows no such role.
            Rejected: a name is none, or it is for everybody without an attribute.
        """
        asked = _checked(grant)

        def change(unit: Unit, who: Principal) -> Grant:
            _demand_another(who, asked, "nobody gives a role to himself or herself")
            policy = unit.policies.current()
            if asked.role not in policy.roles or asked.role == MODALITY:
                raise UnknownRole(asked.role)
            if asked.until and asked.until <= unit.now:
                raise Rejected("the grant would have ended before it began; name a later day")
            state = GrantState.WAITING if asked.role in policy.dual else GrantState.ACTIVE
            new = replace(asked, by=signature(who), state=state)
            same = [one for one in unit.grants.all() if _says_the_same(one, new)]
            if same:
                return same[0]
            added = unit.grants.add(new)
            _record(unit, who, f"gave grant {added.id}, {told(added)} ({added.state})", added.reason)
            return added

        return self._desk.perform(principal, Action.GRANT, change)

    def approve(self, principal: Principal, number: int) -> Grant:
        """Stand for a grant besides the one who gave it; it holds from then on.

        Raises:
            Forbidden: the policy says no, or the caller has given it, or would get it.
            UnknownGrant: there is none of that number.
            Rejected: it has ended.
        """

        def change(unit: Unit, who: Principal) -> Grant:
            grant = _find(unit, number)
            if signature(who) == grant.by:
                raise Forbidden(who, Action.GRANT, "another person than the one who gave it has to approve")
            _demand_another(who, grant, "nobody approves a role of his or her own")
            if grant.state is GrantState.ENDED:
                raise Rejected(f"grant {number} has ended; give it anew")
            if grant.is_seconded:
                return grant
            unit.grants.approve(number, signature(who))
            _record(unit, who, f"approved grant {number}, {told(grant)}")
            return _find(unit, number)

        return self._desk.perform(principal, Action.GRANT, change)

    def end(self, principal: Principal, number: int, reason: str = "") -> Grant:
        """End a grant: it does not hold at the next call any more.

        Raises:
            Forbidden: the policy says no.
            UnknownGrant: there is none of that number.
        """

        def change(unit: Unit, who: Principal) -> Grant:
            grant = _find(unit, number)
            if grant.state is GrantState.ENDED:
                return grant
            unit.grants.end(number, signature(who))
            _record(unit, who, f"ended grant {number}, {told(grant)}", reason)
            return _find(unit, number)

        return self._desk.perform(principal, Action.GRANT, change)

    def all(self, principal: Principal, *, ended: bool = False) -> Sequence[Grant]:
        """The grants that hold or wait, the oldest first; those that have ended, too, if `ended`.

        Raises:
            Forbidden: the policy says no.
        """

        def change(unit: Unit, who: Principal) -> Sequence[Grant]:
            dual = unit.policies.current().dual
            found = [one for one in unit.grants.all() if ended or is_current(one, unit.now)]
            return [_as_it_counts(one, dual) for one in found]

        return self._desk.perform(principal, Action.GRANT, change)


def is_current(grant: Grant, now: int) -> bool:
    """Whether a grant holds, or waits to."""
    return grant.state is not GrantState.ENDED and (not grant.until or now < grant.until)


def _as_it_counts(grant: Grant, dual: frozenset[str]) -> Grant:
    """A grant of before the policy wanted two persons for the role waits for the second."""
    waits = grant.state is GrantState.ACTIVE and grant.role in dual and not grant.is_seconded
    return replace(grant, state=GrantState.WAITING) if waits else grant


def told(grant: Grant) -> str:
    """A grant in words: the role, to whom, on what condition."""
    to = "everybody" if grant.name == ANYBODY else grant.name
    words = f"{grant.role} to {to} of {grant.issuer}"
    if grant.attribute:
        words += f" with {grant.attribute[0]} {grant.attribute[1]}"
    if grant.referring:
        words += f", referring as {grant.referring}"
    return words


def _checked(grant: Grant) -> Grant:
    """A grant whose names can be names, written as logins write them.

    Raises:
        Rejected: one cannot.
    """
    name, issuer = grant.name.strip(), grant.issuer.strip()
    if not issuer or len(issuer) > LONGEST_ISSUER or not issuer.isprintable():
        raise Rejected(
            "a grant needs who vouches for the person: the entity id of an identity provider, "
            "`local`, or `x509:` and the name of an authority"
        )
    if not name or len(name) > LONGEST_NAME or not name.isprintable() or " " in name:
        raise Rejected(
            "a grant needs the name of the person as the identity provider says it, "
            "for example jana@hospital.example"
        )
    if name == ANYBODY and grant.attribute is None:
        raise Rejected("a grant to everybody needs an attribute that tells who is meant")
    if grant.attribute is not None and not all(_is_text(one) for one in grant.attribute):
        raise Rejected(
            "an attribute is a name and a value, for example eduPersonEntitlement=urn:example:ward"
        )
    if not _is_text(grant.reason or "-") or not _is_text(grant.referring or "-"):
        raise Rejected(f"a reason or a name is a line of up to {LONGEST} characters")
    if grant.referring and not folded(grant.referring).strip("^ "):
        raise Rejected("the name of a referring physician has letters, for example NOVAK^PETR")
    return replace(grant, name=name.lower() if "@" in name else name, issuer=issuer)


def _is_text(text: str) -> bool:
    return 0 < len(text) <= LONGEST and text.isprintable()


def _demand_another(who: Principal, grant: Grant, why: str) -> None:
    """See that the one who decides is not among those who would get the role.

    Raises:
        Forbidden: he or she is.
    """
    if who.issuer != grant.issuer or not who.issuer:
        return
    if who.name == grant.name or (grant.name == ANYBODY and grant.is_for(who.attributes)):
        raise Forbidden(who, Action.GRANT, why)


def _says_the_same(one: Grant, new: Grant) -> bool:
    """Whether a grant that is there makes another one needless."""
    return one.state is not GrantState.ENDED and all(
        getattr(one, key) == getattr(new, key)
        for key in ("issuer", "name", "role", "attribute", "referring", "until")
    )


def _find(unit: Unit, number: int) -> Grant:
    grant = unit.grants.find(number)
    if grant is None:
        raise UnknownGrant(number)
    return grant


def _record(unit: Unit, who: Principal, what: str, reason: str = "") -> None:
    unit.audit.append(deed_of(who, Event.CONFIGURED, what=what, reason=reason))
