"""Emergency access: open what is closed to oneself, with a reason, for an hour; another person judges it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from node.audit.record import Event, deed_of
from node.catalog.catalog import Catalog
from node.catalog.resources import of_study
from node.catalog.unit import Unit
from node.domain.alert import SECOND
from node.domain.decision import Resource, Standing
from node.domain.emergency import Emergency, Verdict
from node.domain.errors import Forbidden, Rejected, UnknownEmergency, UnknownStudy
from node.domain.ids import SiteId, StudyUID
from node.domain.principal import Action, Kind, Principal
from node.identity.desk import Desk, signature
from node.policy.decide import decide
from node.policy.rules import Policy

SHORTEST: Final = 10
LONGEST: Final = 500
"""Characters of a reason."""
MOST_OPEN: Final = 20
"""Studies that one person has open so at a time."""


class Emergencies:
    """What persons open in an emergency at this site."""

    def __init__(self, catalog: Catalog) -> None:
        """The emergencies in this catalog."""
        self._desk = Desk(catalog)

    def break_glass(
        self, principal: Principal, study: StudyUID, reason: str, *, at: SiteId | None = None
    ) -> Emergency:
        """Open a study that is closed to the caller; one that is open so already stays as it is.

        Args:
            principal: the person.
            study: what has to be seen now.
            reason: why; whoever reviews it reads this.
            at: the site where it is, for one that is not catalogued here.

        Raises:
            Forbidden: the policy leaves this person no such way.
            Rejected: there is no reason, or none is needed.
            UnknownStudy: it is not here, and no other site was named.
        """
        why = _reason(reason)

        def change(unit: Unit, who: Principal) -> Emergency:
            policy = unit.policies.current()
            _demand_glass(who, policy)
            resources = of_study(unit, study) or _elsewhere(study, at)
            before = unit.emergencies.find_open(who.issuer, who.name, study)
            if before is not None:
                return before
            _demand_closed(who, resources, policy)
            until = unit.now + policy.glass.minutes * 60 * SECOND
            opened = unit.emergencies.add(
                Emergency(issuer=who.issuer, name=who.name, study=study, reason=why, until=until)
            )
            what = f"opened for {policy.glass.minutes} minutes, emergency access {opened.id}"
            for one in resources:
                unit.audit.append(
                    deed_of(who, Event.EMERGENCY, what=what, study=study, patient=one.patient, reason=why)
                )
            return opened

        return self._desk.settle(principal, Action.RETRIEVE, change)

    def review(self, principal: Principal, number: int, verdict: Verdict, note: str = "") -> Emergency:
        """Judge whether it was right; what was wrong is closed at once, and the record names both.

        Raises:
            Forbidden: the policy says no, or it was the caller.
            UnknownEmergency: there is none of that number.
            Rejected: somebody has judged it otherwise, or the note is too long.
        """
        if len(note) > LONGEST or not note.replace("\n", " ").isprintable():
            raise Rejected(f"a note has up to {LONGEST} characters")

        def change(unit: Unit, who: Principal) -> Emergency:
            found = _find(unit, number)
            if found.is_reviewed:
                if found.verdict is verdict and found.reviewed_by == signature(who):
                    return found
                raise Rejected(f"emergency access {number} was reviewed already: {found.verdict}")
            unit.emergencies.reviewed(number, by=signature(who), verdict=verdict, note=note)
            what = f"found emergency access {number} of {found.holder} {verdict}"
            unit.audit.append(deed_of(who, Event.REVIEWED, what=what, study=found.study, reason=note))
            return _find(unit, number)

        return self._desk.perform(principal, Action.REVIEW, change, about=lambda unit: _deed(unit, number))

    def waiting(self, principal: Principal) -> Sequence[Emergency]:
        """Those that nobody has reviewed yet, the oldest first.

        Raises:
            Forbidden: the policy says no.
        """
        return self._desk.perform(principal, Action.REVIEW, lambda unit, _: unit.emergencies.waiting())

    def all(self, principal: Principal) -> Sequence[Emergency]:
        """The latest thousand, the newest first.

        Raises:
            Forbidden: the policy says no.
        """
        return self._desk.perform(principal, Action.REVIEW, lambda unit, _: unit.emergencies.all())


def _reason(text: str) -> str:
    """A reason that somebody can judge by.

    Raises:
        Rejected: it is none.
    """
    reason = " ".join(text.split())
    if not SHORTEST <= len(reason) <= LONGEST or not reason.isprintable():
        raise Rejected(f"emergency access needs a reason of {SHORTEST} to {LONGEST} characters")
    return reason


def _demand_glass(who: Principal, policy: Policy) -> None:
    """See that the policy leaves this person the way at all.

    Raises:
        Forbidden: it does not, or too many are open.
    """
    if who.kind is not Kind.PERSON or not who.roles & policy.glass.roles:
        roles = ", ".join(sorted(policy.glass.roles)) or "nobody"
        raise Forbidden(who, Action.RETRIEVE, f"in an emergency the policy lets in: {roles}")
    if len(who.emergencies) >= MOST_OPEN:
        raise Forbidden(who, Action.RETRIEVE, f"{MOST_OPEN} emergency accesses are open at once already")


def _elsewhere(study: StudyUID, at: SiteId | None) -> Sequence[Resource]:
    """A study of which this site knows no more than where it is.

    Raises:
        UnknownStudy: not even that.
    """
    if at is None:
        raise UnknownStudy(study)
    return (Resource(standing=Standing.FOREIGN, site=at, study=study),)


def _demand_closed(who: Principal, resources: Sequence[Resource], policy: Policy) -> None:
    """See that the study is closed to the person, and would be open in an emergency.

    Raises:
        Forbidden: it stays closed in any case.
        Rejected: it is open anyway.
    """
    decisions = [decide(who, Action.RETRIEVE, one, policy=policy) for one in resources]
    closed = [one for one in decisions if not one.allowed]
    if not closed:
        raise Rejected("the study is open to you without that")
    stays = [one for one in closed if not one.emergency]
    if stays:
        raise Forbidden(who, Action.RETRIEVE, stays[0].reason)


def _find(unit: Unit, number: int) -> Emergency:
    found = unit.emergencies.find(number)
    if found is None:
        raise UnknownEmergency(number)
    return found


def _deed(unit: Unit, number: int) -> Resource:
    """What is judged: not the images, but what a person did."""
    found = _find(unit, number)
    return Resource(standing=Standing.OWN, site=unit.origin, study=found.study, requested_by=found.holder)
