"""The one decision that every door asks for before it opens."""

from __future__ import annotations

from node.domain.errors import Forbidden
from node.domain.principal import Action, Decision, Kind, Principal


def decide(principal: Principal, action: Action) -> Decision:
    """Whether `principal` may do `action`, and why: denied unless something allows it."""
    if principal.kind is Kind.OPERATOR and principal.via is None:
        return Decision(allowed=True, reason="an operator on the machine itself holds the site folder")
    said = "the device list" if principal.via is None else f"what {principal.via} was given"
    if action in principal.may:
        return Decision(allowed=True, reason=f"{said} allows it to {action}")
    return Decision(allowed=False, reason=f"{said} does not allow it to {action}")


def demand(principal: Principal, action: Action) -> None:
    """Let the caller pass or stop it.

    Raises:
        Forbidden: the decision was no; the error says why.
    """
    decision = decide(principal, action)
    if not decision.allowed:
        raise Forbidden(principal, action, decision.reason)
