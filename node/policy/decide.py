"""The one decision that every door asks for before it opens: pure, with its reasons.

```
nobody allows ──▶ no        a rule allows, none denies ──▶ yes        a rule denies ──▶ no
                                                                            │
                                                     the glass was broken ──┴──▶ yes, and somebody reviews it
```
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from importlib.resources import files
from typing import Final

from node.domain.decision import Decision, Resource
from node.domain.errors import Forbidden
from node.domain.principal import Action, Kind, Principal
from node.policy.rules import APART, MODALITY, Effect, Policy, PolicyRule, read

OPENED: Final = frozenset({Action.QUERY, Action.RETRIEVE})
"""What an emergency access opens."""
SECOND_PERSON: Final = frozenset({Action.APPROVE, Action.REVIEW, Action.GRANT})
"""What nobody does for a request of their own."""


@lru_cache(maxsize=1)
def default_text() -> str:
    """The policy that a site has until it activates another one."""
    return files("node.policy").joinpath("default.toml").read_text("utf-8")


@lru_cache(maxsize=1)
def default() -> Policy:
    """The same, read."""
    return read(default_text())


def decide(
    principal: Principal, action: Action, resource: Resource | None = None, *, policy: Policy | None = None
) -> Decision:
    """Whether `principal` may do `action`, and why: denied unless something allows it.

    Args:
        principal: who asks, with the roles that hold now.
        action: what for.
        resource: on which study; None asks whether there may be one on which it is allowed.
        policy: the rules; those that every site begins with, if None.
    """
    policy = policy or default()
    if principal.kind is Kind.OPERATOR and principal.via is None:
        return Decision(
            allowed=True,
            reason="an operator on the machine itself holds the site folder",
            version=policy.version,
        )
    if principal.kind is Kind.PERSON:
        return _of_person(principal, action, resource, policy)
    given = _given(principal, action, policy)
    if given.allowed and principal.kind is Kind.DEVICE and principal.via is None:
        return _by_rules(replace(principal, roles=frozenset({MODALITY})), action, resource, policy)
    return given


def demand(
    principal: Principal, action: Action, resource: Resource | None = None, *, policy: Policy | None = None
) -> Decision:
    """Let the caller pass or stop it.

    Raises:
        Forbidden: the decision was no; the error says why.
    """
    decision = decide(principal, action, resource, policy=policy)
    if not decision.allowed:
        raise refusal(principal, action, decision)
    return decision


def refusal(principal: Principal, action: Action, decision: Decision) -> Forbidden:
    """The error that tells a caller of a decision against it."""
    error = Forbidden(principal, action, decision.told)
    error.step_up, error.emergency = decision.step_up, decision.emergency
    return error


def is_for_all(principal: Principal, action: Action, *, policy: Policy | None = None) -> bool:
    """Whether the answer cannot depend on the study, so that none has to be looked at."""
    policy = policy or default()
    if principal.kind is Kind.PERSON:
        return False
    if principal.kind is not Kind.DEVICE or principal.via is not None:
        return True
    device = replace(principal, roles=frozenset({MODALITY}))
    about = [rule for rule in policy.rules if rule.is_about(device, action)]
    return any(rule.is_for_all for rule in about) and all(rule.effect is Effect.ALLOW for rule in about)


def _given(principal: Principal, action: Action, policy: Policy) -> Decision:
    """What the device list, or the agreement with a member, says of a caller."""
    said = "the device list" if principal.via is None else f"what {principal.via} was given"
    allowed = action in principal.may
    reason = f"{said} {'allows' if allowed else 'does not allow'} it to {action}"
    return Decision(allowed=allowed, reason=reason, version=policy.version)


def _of_person(principal: Principal, action: Action, resource: Resource | None, policy: Policy) -> Decision:
    """What the rules say of a person, at a device that may do it, too, if there is one."""
    if principal.device and action not in principal.may:
        reason = f"the device list does not allow {principal.device} to {action}"
        return Decision(allowed=False, reason=reason, version=policy.version)
    if not principal.roles:
        reason = "no role was granted here; an administrator of this site grants one with `konzilium grant`"
        return Decision(allowed=False, reason=reason, version=policy.version)
    me = f"{principal.issuer} {principal.name}"
    if action in SECOND_PERSON and resource is not None and resource.requested_by == me:
        reason = "nobody decides about a request of their own; another person has to"
        return Decision(allowed=False, reason=reason, version=policy.version)
    decision = _by_rules(principal, action, resource, policy)
    if decision.allowed or action not in OPENED:
        return decision
    return _in_emergency(principal, resource, policy, decision)


def _in_emergency(
    principal: Principal, resource: Resource | None, policy: Policy, decision: Decision
) -> Decision:
    """The answer where the glass was broken for the study, or may be."""
    glass = policy.glass
    if not glass.roles & principal.roles or (resource is not None and resource.standing not in glass.on):
        return decision
    is_open = bool(principal.emergencies) if resource is None else resource.study in principal.emergencies
    if not is_open:
        return replace(decision, emergency=True)
    reason = "an emergency access is open; it will be reviewed"
    reasons = (*decision.reasons, reason)
    return replace(decision, allowed=True, reason=reason, rule="emergency", reasons=reasons, emergency=True)


def _by_rules(principal: Principal, action: Action, resource: Resource | None, policy: Policy) -> Decision:
    """Every rule that is about it is asked: a single no outweighs every yes."""
    reasons: list[str] = []
    allowing = denying = stepping = None
    for rule in policy.rules:
        if not rule.is_about(principal, action):
            continue
        missed = _missed(rule, principal, None if action in APART else resource)
        if missed:
            reasons.append(f"{rule.name}: does not apply, as {missed}")
        elif rule.mfa and rule.effect is Effect.ALLOW and not principal.mfa:
            stepping = stepping or rule
            reasons.append(f"{rule.name}: asks for a second factor, which was not proved")
        elif rule.effect is Effect.DENY:
            denying = denying or rule
            reasons.append(f"{rule.name}: denies it")
        else:
            allowing = allowing or rule
            reasons.append(f"{rule.name}: allows it")
    settled = denying or allowing
    return Decision(
        allowed=allowing is not None and denying is None,
        reason=_reason(principal, action, allowing, denying, stepping, reasons),
        rule=settled.name if settled else "",
        version=policy.version,
        reasons=tuple(reasons),
        about_study=resource is not None,
        step_up=stepping is not None and settled is None,
    )


def _missed(rule: PolicyRule, principal: Principal, resource: Resource | None) -> str:
    """Why a rule does not apply; where no resource is named, a rule that allows something does."""
    if resource is not None:
        return rule.misses(principal, resource)
    return "it is about certain studies" if rule.effect is Effect.DENY and rule.asks_for_resource else ""


def _reason(
    principal: Principal,
    action: Action,
    allowing: PolicyRule | None,
    denying: PolicyRule | None,
    stepping: PolicyRule | None,
    reasons: list[str],
) -> str:
    """The reason that settled it, in a sentence."""
    if denying is not None:
        return f"the rule “{denying.name}” denies it"
    if allowing is not None:
        return f"the rule “{allowing.name}” allows it"
    if stepping is not None:
        return f"the rule “{stepping.name}” asks for a login with a second factor"
    if reasons:
        return f"no rule allows it ({reasons[-1]})"
    return f"no rule lets {', '.join(sorted(principal.roles))} {action}"
