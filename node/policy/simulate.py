"""What a changed policy would alter: both are asked the same, and where they differ it is told.

All combinations would be too many to read. So each standing is asked about plainly, and then with one thing
changed that some rule speaks of; what differs plainly is not told again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from node.domain.decision import Resource, Sensitivity, Standing
from node.domain.ids import SiteId
from node.domain.principal import DEVICE_ACTIONS, Action, Kind, Principal
from node.policy.decide import decide
from node.policy.rules import Policy

_ELSEWHERE = SiteId("elsewhere")
"""Stands for any other site."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Callers that are alike: what they are with the one policy, and with the other."""

    called: str
    many: int = 1
    before: Principal
    after: Principal


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that the policies decide differently."""

    who: str
    many: int
    """How many persons that is; 0 for devices."""
    action: Action
    standing: Standing
    about: str
    """What the data and the call are besides, in words; empty for nothing special."""
    before: bool
    after: bool
    reason: str
    """Why it would be as it would be."""


Verdict = tuple[bool, bool, str]
"""Before, after, and the reason of the latter."""


def differences(before: Policy, after: Policy, holders: Sequence[Holder]) -> Iterator[Difference]:
    """Where the policies differ for these callers, on data of every standing."""
    for holder in holders:
        for action in Action:
            yield from _of_action(before, after, holder, action)


def on_studies(
    before: Policy, after: Policy, holder: Holder, action: Action, studies: Sequence[Resource]
) -> tuple[Sequence[str], Sequence[str]]:
    """Which of these studies would be opened, and which closed."""
    asked = [(one.study, _ask(before, after, holder, action, one)) for one in studies]
    opened = [study for study, (was, would, _) in asked if would and not was]
    closed = [study for study, (was, would, _) in asked if was and not would]
    return opened, closed


def _of_action(before: Policy, after: Policy, holder: Holder, action: Action) -> Iterator[Difference]:
    """Plain data of each standing first, then what differs from them in one thing."""
    for standing in Standing:
        base = Resource(standing=standing, site=_origin(holder, standing))
        told: set[tuple[bool, bool]] = set()
        for words, who, resource in _cases(before, after, holder, base):
            was, would, reason = _ask(before, after, who, action, resource)
            if was == would or (was, would) in told:
                continue
            told.add((was, would))
            yield Difference(
                who=holder.called,
                many=holder.many,
                action=action,
                standing=standing,
                about=words,
                before=was,
                after=would,
                reason=reason,
            )


def _ask(before: Policy, after: Policy, holder: Holder, action: Action, resource: Resource) -> Verdict:
    was = decide(holder.before, action, resource, policy=before)
    would = decide(holder.after, action, resource, policy=after)
    return was.allowed, would.allowed, would.reason


def _origin(holder: Holder, standing: Standing) -> SiteId:
    """The site that such data come from."""
    return holder.before.site if standing is Standing.OWN else _ELSEWHERE


def _cases(
    before: Policy, after: Policy, holder: Holder, base: Resource
) -> Iterator[tuple[str, Holder, Resource]]:
    """What is asked: the plain case, and those with one thing changed."""
    yield "", holder, base
    for words, resource in _resources(before, after, holder, base):
        yield words, holder, resource
    for words, changed in _callers(before, after):
        who = replace(holder, before=changed(holder.before), after=changed(holder.after))
        yield words, who, base
        for more, resource in _resources(before, after, holder, base):
            yield f"{more} {words}", who, resource


def _resources(
    before: Policy, after: Policy, holder: Holder, base: Resource
) -> Iterator[tuple[str, Resource]]:
    """The data with one thing changed that a rule speaks of."""
    for mark in sorted(set(Sensitivity) - {Sensitivity.USUAL}):
        yield f"marked {mark}", replace(base, sensitivity=mark)
    for name in sorted(holder.before.names | holder.after.names)[:1]:
        yield "referred by the person", replace(base, referring=name)
    for word in _spoken(before, after, "modalities"):
        yield f"of modality {word}", replace(base, modalities=frozenset({word}))
    for word in _spoken(before, after, "issuers"):
        yield f"of patients of {word}", replace(base, issuer=word)
    for word in _spoken(before, after, "sites"):
        yield f"from {word}", replace(base, site=SiteId.trusted(word))
    for word in _spoken(before, after, "consent"):
        yield f"with consent to {word}", replace(base, consent=frozenset({word}))
    for word in _spoken(before, after, "refused"):
        yield f"with {word} refused", replace(base, refused=frozenset({word}))


def _callers(before: Policy, after: Policy) -> Iterator[tuple[str, Callable[[Principal], Principal]]]:
    """The caller with one thing changed that a rule speaks of."""
    rules = (*before.rules, *after.rules)
    if any(rule.mfa for rule in rules):
        yield "with a second factor", lambda who: replace(who, mfa=True)
    if any(rule.elsewhere is not None for rule in rules):
        yield "asked from another site", lambda who: replace(who, via=_ELSEWHERE)
    for word in _spoken(before, after, "purposes"):
        yield f"for the purpose {word}", partial(_asking_for, word)


def _asking_for(purpose: str, who: Principal) -> Principal:
    return replace(who, purpose=purpose)


def _spoken(before: Policy, after: Policy, key: str) -> Sequence[str]:
    """The words that the rules of either policy name in a condition."""
    return sorted({word for rule in (*before.rules, *after.rules) for word in getattr(rule, key)})


def any_device(site: SiteId) -> Holder:
    """Any device of this site."""
    one = Principal(kind=Kind.DEVICE, name="any", site=site, may=DEVICE_ACTIONS)
    return Holder(called="any device", many=0, before=one, after=one)
