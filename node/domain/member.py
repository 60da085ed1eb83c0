"""A member: another site of the federation, as this one sees it.

```
invited ── join ──▶ waiting ── confirm ──▶ active ◀── resume ──┐
introduced by a member ────────────────────▶ │ ── suspend ──▶ suspended
                                             └─── revoke ───▶ revoked     leave ──▶ left
```
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from node.domain.ids import SiteId
from node.domain.rule import NOTHING, Terms


class Standing(StrEnum):
    """Where a member stands with this site."""

    WAITING = "waiting"
    """It used an invitation; somebody here has to confirm it."""
    ACTIVE = "active"
    SUSPENDED = "suspended"
    """Nothing goes either way until somebody resumes; nothing is forgotten."""
    REVOKED = "revoked"
    """Its keys are not trusted any more."""
    LEFT = "left"
    """It said goodbye; it may join again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """Another site: who it is, how it proves that, and on which terms we exchange."""

    site: SiteId
    descriptor: str
    """Its own signed metadata (SAML EntityDescriptor)."""
    certificates: tuple[str, ...]
    """PEM of the certificates that it may show now: two during a change of keys."""
    fingerprints: tuple[str, ...]
    """SHA-256 of each (DER, hexadecimal)."""
    version: int
    """Of the metadata; higher is newer."""
    url: str | None
    """Where it can be called; None where it only calls."""
    ae_title: str
    standing: Standing
    introduced_by: SiteId
    """The site whose word brought it here; this site, if somebody here confirmed it."""
    reason: str = ""
    """Why it stands so, in the words of whoever decided."""
    export: Terms = NOTHING
    """What this site gives it."""
    accept: Terms = NOTHING
    """What this site takes from it."""
    gives: Terms = NOTHING
    """What it says it gives us, as far as it told."""
    takes: Terms = NOTHING
    """What it says it takes from us, as far as it told."""

    @property
    def is_active(self) -> bool:
        """Whether anything may go to or come from it."""
        return self.standing is Standing.ACTIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """How it went with a member lately; state of this site alone, not part of the federation's facts."""

    site: SiteId
    heard_at: int = 0
    """When it called us or answered last; microseconds since 1970, 0 for never."""
    head: int = 0
    """The end of its journal, as it told last."""
    epoch: int = 1
    terms: int = 0
    """The number of the terms under which we have read its journal."""
    error: str = ""
    """Why the last attempt failed; empty after a success."""
    failed_at: int = 0
    skew: int = 0
    """How far its clock is ahead of ours, as the last heartbeat showed, in microseconds."""
    rtt: int = 0
    """How long that heartbeat took, in microseconds; 0 where we have not called it."""
