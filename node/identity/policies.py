"""The policy of a site: letting a changed one decide, and why it decides as it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from node.audit.record import Event, deed_of
from node.catalog.catalog import Catalog
from node.catalog.policies import Activation
from node.catalog.resources import of_study
from node.catalog.unit import Unit
from node.domain.decision import Decision, Resource
from node.domain.errors import BadPolicy, Rejected, UnknownDevice, UnknownRole, UnknownStudy
from node.domain.ids import SiteId, StudyUID
from node.domain.principal import Action, Kind, Principal
from node.identity.desk import Desk, signature
from node.identity.gate import known
from node.identity.simulation import Simulation, simulated
from node.policy.decide import decide
from node.policy.rules import MODALITY, Policy, read

LONGEST: Final = 500
"""Characters of a reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whom a question is about; where nobody is named, a person of nothing but roles."""

    issuer: str = ""
    name: str = ""
    """A person, or an AE title where `is_device`."""
    is_device: bool = False
    roles: frozenset[str] = frozenset()
    """For a person that is only supposed: the roles."""
    attributes: tuple[tuple[str, str], ...] = ()
    mfa: bool = False
    purpose: str = ""
    via: SiteId | None = None
    """The member whose node would bring the call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a caller may do something, or may not."""

    principal: Principal
    """As known now, with the roles that hold."""
    answers: Sequence[tuple[Resource | None, Decision]]
    """One for each patient that the study came for; one without a resource where no study was named."""

    @property
    def allowed(self) -> bool:
        """Whether it may."""
        return all(decision.allowed for _, decision in self.answers)


class Policies:
    """The policy of this site."""

    def __init__(self, catalog: Catalog) -> None:
        """The policies in this catalog."""
        self._desk = Desk(catalog)
        self._catalog = catalog

    def current(self) -> Policy:
        """The one that decides.

        Raises:
            BadPolicy: this program does not understand it.
        """
        with self._catalog.reading() as unit:
            return unit.policies.current()

    def text(self) -> str:
        """The same, as it was written."""
        with self._catalog.reading() as unit:
            return unit.policies.text()

    def history(self) -> Sequence[Activation]:
        """All that were activated, the latest first."""
        with self._catalog.reading() as unit:
            return unit.policies.history()

    def activate(self, principal: Principal, text: str, reason: str) -> Policy:
        """Let a policy decide from the next call on; one that decides already is left as it is.

        Raises:
            Forbidden: the policy that decides now says no.
            BadPolicy: it says something that is not understood, or its version was used for another one.
            Rejected: there is no reason.
        """
        new, why = read(text), " ".join(reason.split())
        if not 0 < len(why) <= LONGEST or not why.isprintable():
            raise Rejected(f"say in up to {LONGEST} characters why the policy changes; the record keeps it")

        def change(unit: Unit, who: Principal) -> Policy:
            if text == unit.policies.text():
                return new
            if any(one != text for one in unit.policies.called(new.version)):
                raise BadPolicy(
                    f"the version {new.version!r} was in force here with another text; give this one its own"
                )
            number = unit.policies.put(text, signature(who), why)
            what = f"activated policy {new.version}, number {number}"
            unit.audit.append(deed_of(who, Event.CONFIGURED, what=what, reason=why))
            return new

        return self._desk.perform(principal, Action.GRANT, change)

    def simulate(self, principal: Principal, text: str) -> Simulation:
        """What a policy would alter if it were activated; changes nothing.

        Raises:
            Forbidden: the policy that decides now says no.
            BadPolicy: it says something that is not understood.
        """
        new = read(text)
        self._desk.perform(principal, Action.GRANT, lambda unit, who: None)
        with self._catalog.reading() as unit:
            return simulated(unit, new)

    def why(
        self, principal: Principal, about: Subject, action: Action, study: StudyUID | None = None
    ) -> Explanation:
        """Why a caller may do something now, or may not: the decision of each door, with all its reasons.

        Args:
            principal: who wants to know; has to be one who grants roles.
            about: whom it is about.
            action: what for.
            study: on which study; None asks whether there may be one.

        Raises:
            Forbidden: the policy says no.
            UnknownStudy, UnknownDevice, UnknownRole: there is none such here.
        """
        self._desk.perform(principal, Action.GRANT, lambda unit, who: None)
        with self._catalog.reading() as unit:
            policy = unit.policies.current()
            who = _caller(unit, about, policy)
            resources: Sequence[Resource | None] = of_study(unit, study) if study else (None,)
            if not resources:
                raise UnknownStudy(study)
            answers = [(one, decide(who, action, one, policy=policy)) for one in resources]
        return Explanation(principal=who, answers=answers)


def _caller(unit: Unit, about: Subject, policy: Policy) -> Principal:
    """The principal that a door would see.

    Raises:
        UnknownDevice, UnknownRole: there is none such here.
        Rejected: the name is that of several persons, or of nobody.
    """
    if about.is_device:
        device = unit.devices.find(about.name)
        if device is None:
            raise UnknownDevice(about.name)
        return Principal(kind=Kind.DEVICE, name=about.name, site=unit.origin, may=device.may, via=about.via)
    person = Principal(
        kind=Kind.PERSON,
        name=about.name or "somebody",
        site=unit.origin,
        issuer=about.issuer or ("supposed" if about.roles else _issuer(unit, about.name)),
        attributes=_gathered(about.attributes),
        mfa=about.mfa,
        purpose=about.purpose,
        via=about.via,
    )
    if not about.roles:
        return known(unit, person)
    unknown = sorted(about.roles - policy.roles.keys()) or sorted(about.roles & {MODALITY})
    if unknown:
        raise UnknownRole(unknown[0])
    return replace(person, roles=about.roles, policy=policy.version)


def _issuer(unit: Unit, name: str) -> str:
    """Who vouches for a person of that name, as far as grants tell.

    Raises:
        Rejected: nobody of that name was granted anything, or several were.
    """
    issuers = sorted({one.issuer for one in unit.grants.all() if one.name == name})
    if len(issuers) != 1:
        there = (
            f"there is one of each of {', '.join(issuers)}" if issuers else "nobody of that name has a role"
        )
        raise Rejected(f"say who vouches for {name}: {there}")
    return issuers[0]


def _gathered(attributes: Sequence[tuple[str, str]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Attributes as a principal carries them."""
    values: dict[str, list[str]] = {}
    for name, value in attributes:
        values.setdefault(name, []).append(value)
    return tuple((name, tuple(values[name])) for name in sorted(values))
