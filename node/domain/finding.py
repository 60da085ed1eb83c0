"""A finding: something that is wrong with a copy, what showed it, and what came of it.

```
open ──▶ repaired    from a copy that was just verified, or from the journal
  │ ├──▶ settled     looked at again and found in order, or there is nothing to repair any more
  │ └──▶ lost        no member has a whole copy now: told to all; repaired as soon as one has
```
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from node.domain.ids import SiteId


class Trouble(StrEnum):
    """What can be wrong."""

    MISSING = "missing"
    """The bytes are catalogued, and not in the store."""
    CORRUPT = "corrupt"
    """The bytes have another digest than their name says."""
    TRUNCATED = "truncated"
    """The bytes are fewer than were stored."""
    UNLISTED = "unlisted"
    """The bytes are in the store, and in no row of the catalog."""
    UNDER_REPLICATED = "under-replicated"
    """A site ought to hold a copy, and has none that is proved."""
    CONFLICTING = "conflicting"
    """Other bytes are kept under the same SOP Instance UID."""
    STALE = "stale"
    """What the catalog says is not what the facts, or the other site, say now."""


DAMAGE = frozenset({Trouble.MISSING, Trouble.CORRUPT, Trouble.TRUNCATED})
"""What is wrong with bytes, and mended with those of another copy."""


class FindingState(StrEnum):
    """Where a finding stands."""

    OPEN = "open"
    LOST = "lost"
    REPAIRED = "repaired"
    SETTLED = "settled"


UNSETTLED = (FindingState.OPEN, FindingState.LOST)
"""What is still to be dealt with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong."""

    kind: Trouble
    digest: str
    """Of the bytes; empty where it is about an instance or study as such."""
    site: SiteId
    """Whose copy."""
    instance: str = ""
    """SOP Instance UID, or the Study Instance UID that a stale row is about."""
    size: int = 0
    """Bytes that there ought to be."""
    evidence: str = ""
    """What showed it, in words, without anything about the patient."""
    found_at: int = 0
    seen_at: int = 0
    """Microseconds since 1970: when it was found first, and seen last."""
    state: FindingState = FindingState.OPEN
    settled_at: int = 0
    outcome: str = ""
    """What came of it: from where it was repaired, or why it was not."""

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from all others: kind, digest (or instance) and site."""
        return self.kind, self.digest or self.instance, self.site
