"""A replica: one site's copy of the bytes of an instance.

```
owed ── the site has read it back and says so ──▶ verified ── the site dropped or lost it ──▶ gone
```
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from node.domain.ids import Digest, InstanceUID, SiteId


class CopyState(StrEnum):
    """What is known of a copy."""

    OWED = "owed"
    """A rule wants it there; the site has not said that it has it."""
    HELD = "held"
    """The site has received it, durably; it has not read it back yet."""
    VERIFIED = "verified"
    """The site has read it back from its disk and found the digest right."""
    GONE = "gone"
    """The site had it, and has lost or dropped it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """A mapping of the replica catalog: logical name (the instance) to target (a site's copy)."""

    instance: InstanceUID
    digest: Digest
    site: SiteId
    state: CopyState
    size: int
    at: int
    """When that became so; for a verified copy, when it was verified; microseconds since 1970."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """How much is owed in one direction."""

    objects: int = 0
    bytes: int = 0
    oldest_at: int | None = None
    """Since when the oldest is owed; microseconds since 1970."""


class Urgency:
    """Which wanted bytes come first; higher is sooner."""

    BACKFILL = 0
    NEW = 1
    ON_DEMAND = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """Bytes that this site wants and does not hold or has not proved yet."""

    digest: Digest
    instance: InstanceUID
    size: int
    holder: SiteId
    """The site that said that it has them."""
    urgency: int
    wanted_at: int
    attempts: int = 0


class Whereabouts(StrEnum):
    """What a site knows of bytes that it is asked about."""

    HELD = "held"
    """They are here and shown."""
    WANTED = "wanted"
    """They are to be fetched."""
    WITHDRAWN = "withdrawn"
    """A person withdrew the instance."""
    FOLDED = "folded"
    """They were proved equal to another form of the instance, which is kept in their place."""
    MISSING = "missing"
    """They are catalogued, but gone from the store."""
    ELSEWHERE = "elsewhere"
    """It knows that other sites have them; the rules or its terms do not ask for a copy here."""
    UNKNOWN = "unknown"
    """It has not heard of them."""
